"""What a target cannot say about a manifest: one sentence for each thing that would otherwise vanish silently."""

from collections.abc import Callable, Iterator
from typing import Literal, get_args

from registry.routing import Model, ModelRoute, RoutingManifest
from registry.terms import ANY, NOBODY
from supply_chain.recipe.route import Cause

Topic = Literal[
    "keywords", "utterances", "classifier", "confidence", "zones", "sensitivity", "fallbacks", "hops", "weights",
    "context", "answers", "decoding",
]  # fmt: skip
CAUSES: tuple[Cause, ...] = ("error", "timeout", "context_overflow", "policy")
"""Those that a proxy could see; low confidence is a topic of its own."""


def losses(manifest: RoutingManifest, target: str, carries: set[Topic], causes: set[Cause] | None = None) -> list[str]:
    """What `target` does not carry, but for the topics that it does and the causes that it falls back for."""
    found: list[str] = []
    for topic in get_args(Topic):
        if topic == "fallbacks":
            found += _fallbacks(manifest, target, causes or set())
        elif topic not in carries:
            found += _SENTENCES[topic](manifest, target)
    return found


def _keywords(manifest: RoutingManifest, target: str) -> Iterator[str]:
    if any(route.keywords for route in manifest.routes):
        yield f"{target} does not route by keywords: callers name the task as model"


def _utterances(manifest: RoutingManifest, target: str) -> Iterator[str]:
    if any(route.utterances for route in manifest.routes):
        yield f"{target} does not route by utterances: callers name the task as model"


def _classifier(manifest: RoutingManifest, target: str) -> Iterator[str]:
    if manifest.router is not None:
        yield f"{target} cannot run the learned router: callers name the task as model"


def _confidence(manifest: RoutingManifest, target: str) -> Iterator[str]:
    for route in manifest.routes:
        if route.min_confidence is not None:
            yield f"{route.task}: an answer below confidence {route.min_confidence:g} is passed on as it is"


def _zones(manifest: RoutingManifest, target: str) -> Iterator[str]:
    for route in manifest.routes:
        if route.zone != ANY:
            yield f"{route.task}: nothing keeps a request that did not come by this route out of zone {route.zone}"


def _sensitivity(manifest: RoutingManifest, target: str) -> Iterator[str]:
    accepts = manifest.fallback.accepts
    yield f"{target} does not know how sensitive a text is: whoever calls keeps what is above {accepts} from others"


def _fallbacks(manifest: RoutingManifest, target: str, causes: set[Cause]) -> Iterator[str]:
    for route in manifest.routes:
        gone = [c for c in CAUSES if c not in causes and route.fallbacks[c] != NOBODY]
        if gone:
            yield f"{route.task}: nobody answers instead on {', '.join(gone)}; the caller gets the error"


def _hops(manifest: RoutingManifest, target: str) -> Iterator[str]:
    for route in manifest.routes:
        if route.max_hops > 1:
            yield f"{route.task}: one fallback at most, max_hops is {route.max_hops}"


def _weights(manifest: RoutingManifest, target: str) -> Iterator[str]:
    for route in manifest.routes:
        if len(route.candidates) > 1:
            shares = ", ".join(f"{c.model} {c.weight:g}" for c in route.candidates)
            yield f"{route.task}: requests are not shared out ({shares}); {chief(route)} answers all of them"


def _context(manifest: RoutingManifest, target: str) -> Iterator[str]:
    for model in manifest.models:
        yield f"{model.name}: nothing keeps a text of more than {model.context_tokens} tokens away"


def _answers(manifest: RoutingManifest, target: str) -> Iterator[str]:
    for model in manifest.models:
        if model.decoding is not None and model.decoding.answers == "ranked":
            yield (
                f"{model.name}: it was measured by ranking its labels; {target} lets it write them, and gives no "
                "calibrated confidence"
            )


def _decoding(manifest: RoutingManifest, target: str) -> Iterator[str]:
    for model in manifest.models:
        if model.decoding is not None:
            told = model.decoding
            set_by_caller = [f"temperature {told.temperature:g}"]
            set_by_caller += [f"top_p {told.top_p:g}"] if told.top_p < 1 else []
            set_by_caller += [f"repetition_penalty {told.repetition_penalty:g}"] if told.repetition_penalty > 1 else []
            yield f"{model.name}: callers set {', '.join(set_by_caller)} themselves, as it was measured"


def chief(route: ModelRoute) -> str:
    """The candidate with the largest share."""
    return max(route.candidates, key=lambda c: c.weight).model


def tasks_of(manifest: RoutingManifest) -> dict[str, list[str]]:
    """The tasks that each model is the chief of."""
    found: dict[str, list[str]] = {model.name: [] for model in manifest.models}
    for route in manifest.routes:
        found[chief(route)].append(route.task)
    return found


def left_out(model: Model, why: str) -> str:
    """A model that the target cannot serve."""
    return f"{model.name}: left out, {why}"


_SENTENCES: dict[str, Callable[[RoutingManifest, str], Iterator[str]]] = {
    "keywords": _keywords,
    "utterances": _utterances,
    "classifier": _classifier,
    "confidence": _confidence,
    "zones": _zones,
    "sensitivity": _sensitivity,
    "hops": _hops,
    "weights": _weights,
    "context": _context,
    "answers": _answers,
    "decoding": _decoding,
}
