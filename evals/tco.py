"""What a month costs with the specialist and without it, and from which volume on it pays for itself.

Every price is a named assumption of the recipe's `kpis`; each is moved by a quarter to see what hangs on it.
Mistakes are left out: their price stands in the scorecard.
"""

import math
from dataclasses import dataclass, fields, replace

from evals.records import Sensitivity, Tco
from supply_chain.pricing import passed_on_usd
from supply_chain.recipe.evaluate import Kpis

GENERALIST_PRICE = "Generalist, $ for 1,000 requests"
_MOVED, _CENT = 0.25, 0.01
_WORDS = {
    "decisions_a_month": "Decisions a month",
    "generalist_usd_for_1000": GENERALIST_PRICE,
    "training_usd": "One training, $",
    "trainings_a_year": "Trainings a year",
    "hosting_usd_a_month": "Hosting, $ a month",
    "review_hours_a_month": "Experts' hours a month",
    "review_usd_an_hour": "Experts' hour, $",
    "compute_usd_an_hour": "Machine while it decides, $ an hour",
    "seconds_a_decision": "Seconds a decision",
    "share_passed_on": "Share passed on",
    "usd_for_one_passed_on": "One answer passed on, $",
}


@dataclass(frozen=True)
class Prices:
    """US dollars, and the figures they are multiplied with."""

    decisions_a_month: float
    generalist_usd_for_1000: float
    training_usd: float
    trainings_a_year: float
    hosting_usd_a_month: float
    review_hours_a_month: float
    review_usd_an_hour: float
    compute_usd_an_hour: float
    seconds_a_decision: float
    share_passed_on: float
    usd_for_one_passed_on: float

    @property
    def fixed_usd(self) -> float:
        """A month's cost that does not depend on the volume."""
        training = self.training_usd * self.trainings_a_year / 12
        return training + self.hosting_usd_a_month + self.review_hours_a_month * self.review_usd_an_hour

    @property
    def usd_per_1k(self) -> float:
        """What 1,000 decisions cost besides: the machine's time, and those that are passed on."""
        compute = self.seconds_a_decision / 3600 * self.compute_usd_an_hour
        return 1000 * (compute + self.share_passed_on * self.usd_for_one_passed_on)

    @property
    def month_usd(self) -> float:
        """A month with the specialist."""
        return self.fixed_usd + self.usd_per_1k * self.decisions_a_month / 1000

    @property
    def saving_usd(self) -> float:
        """A month with the generalist minus one with the specialist."""
        return self.generalist_usd_for_1000 * self.decisions_a_month / 1000 - self.month_usd

    @property
    def break_even_volume(self) -> int | None:
        """The least decisions a month at which the specialist is no dearer; None where no volume is enough."""
        gain = self.generalist_usd_for_1000 - self.usd_per_1k
        if gain <= 0:
            return 0 if self.fixed_usd == 0 and gain == 0 else None
        return math.ceil(1000 * self.fixed_usd / gain - 1e-9)


def tco(
    kpis: Kpis, seconds_per_decision: float, share_passed_on: float, measured_per_1k: float | None = None
) -> Tco | None:
    """Total cost against the generalist's; None where it has no price.

    `measured_per_1k`, what it was really paid, comes before the price that the recipe states.
    """
    generalist = kpis.generalist_usd_per_1k if measured_per_1k is None else measured_per_1k
    if generalist is None:
        return None
    prices = Prices(
        decisions_a_month=kpis.volume_per_month,
        generalist_usd_for_1000=generalist,
        training_usd=kpis.training_usd,
        trainings_a_year=kpis.trainings_per_year,
        hosting_usd_a_month=kpis.hosting_usd_per_month,
        review_hours_a_month=kpis.review_hours_per_month,
        review_usd_an_hour=kpis.review_usd_per_hour,
        compute_usd_an_hour=kpis.compute_usd_per_hour,
        seconds_a_decision=seconds_per_decision,
        share_passed_on=share_passed_on,
        usd_for_one_passed_on=passed_on_usd(kpis, measured_per_1k) or 0.0,
    )
    return Tco(
        fixed_usd_per_month=prices.fixed_usd,
        usd_per_1k=prices.usd_per_1k,
        usd_per_month=prices.month_usd,
        saving_usd_per_month=prices.saving_usd,
        break_even_volume=prices.break_even_volume,
        assumptions={_WORDS[field.name]: getattr(prices, field.name) for field in fields(prices)},
        sensitivity=_tornado(prices),
    )


def _tornado(prices: Prices) -> list[Sensitivity]:
    """The month's saving when each assumption is a quarter less or more, the most decisive first."""
    found = []
    for field in fields(prices):
        value = getattr(prices, field.name)
        less, more = (replace(prices, **{field.name: value * factor}).saving_usd for factor in (1 - _MOVED, 1 + _MOVED))
        found.append(Sensitivity(assumption=_WORDS[field.name], less=less, more=more))
    moving = [s for s in found if abs(s.more - s.less) >= _CENT]
    return sorted(moving, key=lambda s: -abs(s.more - s.less))
