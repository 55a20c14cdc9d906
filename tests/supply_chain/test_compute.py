"""The fastest setting is found by running the step itself."""

import time
from collections import Counter

from supply_chain.compute import fastest
from supply_chain.records import Compute

ONE = Compute(device="cpu", dtype="float32", attention="eager", threads=1)
OTHER = ONE.model_copy(update={"dtype": "bfloat16"})


def test_the_setting_with_the_fastest_step_wins() -> None:
    dozes = {"float32": 0.05, "bfloat16": 0.0}
    assert fastest((ONE, OTHER), lambda c: lambda: time.sleep(dozes[c.dtype])) == OTHER
    assert fastest((OTHER, ONE), lambda c: lambda: time.sleep(dozes[c.dtype])) == OTHER


def test_each_setting_warms_up_and_one_disturbed_step_does_not_decide() -> None:
    ran = Counter[str]()

    def step(compute: Compute) -> None:
        ran[compute.dtype] += 1
        slow = compute.dtype == "float32" or ran["bfloat16"] in (1, 3)  # the warm-up, and a disturbance
        time.sleep(0.05 if slow else 0.0)

    assert fastest((ONE, OTHER), lambda c: lambda: step(c)) == OTHER
    assert ran == {"float32": 4, "bfloat16": 4}


def test_a_single_setting_costs_no_step() -> None:
    assert fastest([ONE], lambda c: lambda: 1 / 0) == ONE
