"""The candidate is picked from what was measured."""

import pytest

from evals.choice import _Measured, pick

FULL = _Measured("specialist", 0.800, 269_000_000, 40.0)
FORMATS = [
    _Measured("bnb-nf4", 0.795, 112_000_000, 90.0),
    _Measured("gguf-q8_0", 0.799, 145_000_000, 30.0),
    _Measured("gguf-q4_0", 0.780, 92_000_000, 20.0),
    _Measured("gguf-q4_k_m", 0.790, 105_000_000, 25.0),
]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("smallest within 1 point", "gguf-q4_k_m"),  # exactly a point is within it
        ("smallest within 0.5 points", "bnb-nf4"),
        ("smallest within 5 points", "gguf-q4_0"),
        ("fastest under 200 MB", "gguf-q4_0"),
        ("fastest within 0.2 points", "gguf-q8_0"),
    ],
)
def test_the_best_that_meets_the_condition(wanted: str, chosen: str) -> None:
    choice = pick(wanted, "accuracy", FULL, FORMATS)
    assert choice.contestant == chosen
    assert choice.sentence.startswith(f"{chosen}: {wanted} (")


def test_the_nearest_is_judged_where_none_does_and_the_sentence_says_so() -> None:
    nearest = pick("smallest within 0.05 points", "accuracy", FULL, FORMATS)
    assert nearest.contestant == "gguf-q8_0"
    assert nearest.sentence == "gguf-q8_0: no format is smallest within 0.05 points, and this one comes nearest"
    assert pick("fastest under 50 MB", "accuracy", FULL, FORMATS).contestant == "gguf-q4_0"
