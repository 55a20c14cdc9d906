"""Which values to try next, and which trial to give up: Optuna, asked anew each time.

Both answers depend on the trials so far and the seed alone, so that a search that was killed and goes on
tries what an uninterrupted one would have tried.
"""

import warnings
from collections.abc import Sequence

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from supply_chain.recipe.search import Choices, Scalar, Search, is_whole, value_at, with_values
from supply_chain.recipe.train import Loop
from supply_chain.records import ValidationPoint
from supply_chain.trials import Tried

Space = dict[str, BaseDistribution]


def space_of(search: Search, train: Loop) -> Space:
    """The ranges as Optuna's distributions."""
    space: Space = {}
    for key, given in search.ranges.items():
        if isinstance(given, Choices):
            values = [value_at(with_values(train, {key: choice}), key) for choice in given.choices]
            space[key] = CategoricalDistribution(list(dict.fromkeys(values)))
        elif is_whole(train, key):
            space[key] = IntDistribution(int(given.low), int(given.high), given.log, int(given.step or 1))
        else:
            space[key] = FloatDistribution(given.low, given.high, given.log, given.step)
    return space


def propose(search: Search, train: Loop, tried: Sequence[Tried], seed: int) -> dict[str, Scalar]:
    """The next trial's values: the recipe's own if they lie within the ranges, then drawn ones."""
    space = space_of(search, train)
    own = {key: value_at(train, key) for key in space}
    if not tried and all(_holds(distribution, own[key]) for key, distribution in space.items()):
        return own
    return dict(_study(search, space, tried, seed).ask(space).params)


def hopeless(search: Search, train: Loop, tried: Sequence[Tried], running: Tried) -> bool:
    """Whether `running` falls behind the median of the finished trials after as many measurements."""
    if search.pruning == "none" or not running.measured:
        return False
    space = space_of(search, train)
    study = _study(search, space, tried, 0)
    study.enqueue_trial(dict(running.values))
    trial = study.ask(space)
    for place, point in enumerate(running.measured):
        trial.report(point.value, place)
    return trial.should_prune()


def _study(search: Search, space: Space, tried: Sequence[Tried], seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(n_startup_trials=search.startup, seed=seed + len(tried), multivariate=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=search.startup)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    study.add_trials([_told(t, space) for t in tried])
    return study


def _told(tried: Tried, space: Space) -> optuna.trial.FrozenTrial:
    """A trial that failed is told as given up before its first measurement, which TPE takes for the worst."""
    done = tried.outcome == "finished"
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.COMPLETE if done else optuna.trial.TrialState.PRUNED,
        value=tried.best if done else None,
        params=dict(tried.values),
        distributions=space,
        intermediate_values=_by_place(tried.measured),
    )


def _by_place(points: Sequence[ValidationPoint]) -> dict[int, float]:
    """Measurements by their place, since trials with other batch sizes are measured after other steps."""
    return {place: point.value for place, point in enumerate(points)}


def _holds(distribution: BaseDistribution, value: Scalar) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return isinstance(value, int | float) and distribution.low <= value <= distribution.high
