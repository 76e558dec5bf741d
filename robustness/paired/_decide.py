"""What a run's comparisons mean: a regression, no worse than a margin, or too few queries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from robustness.paired._compare import NORMAL, PairedComparison
from robustness.paired._signflip import holm
from robustness.thresholds import ALPHA, MARGIN, NON_INFERIORITY_ALPHA

POWER = 0.8


def adjust(comparisons: Sequence[PairedComparison]) -> tuple[PairedComparison, ...]:
    """The comparisons of all the cases of a run, with their p-values adjusted by Holm."""
    adjusted = holm([found.p for found in comparisons])
    return tuple(
        replace(found, adjusted_p=float(p)) for found, p in zip(comparisons, adjusted, strict=True)
    )


def regressed(found: PairedComparison, *, alpha: float = ALPHA, margin: float = MARGIN) -> bool:
    """Whether the candidate is worse, beyond chance and by more than the margin.

    Args:
        found: A comparison that :func:`adjust` has seen.
        alpha: The level of the family of all the run's cases.
        margin: The drop of hit@10 that may be, as a fraction.

    Raises:
        ValueError: The p-value is not adjusted, alpha is not between 0 and 0.5, or the margin
            is not from 0 to below 1.
    """
    if found.adjusted_p is None:
        raise ValueError("the p-value is not adjusted; adjust() takes all the cases of a run")
    _require(alpha, margin)
    return found.adjusted_p <= alpha and found.drop > margin


def non_inferior(
    found: PairedComparison,
    *,
    cases: int,
    alpha: float = NON_INFERIORITY_ALPHA,
    margin: float = MARGIN,
) -> bool:
    """Whether a drop as large as the margin is excluded.

    The upper limits of all the cases hold together with confidence ``1 - alpha``: each is
    one-sided at ``alpha / cases`` (Bonferroni).

    Args:
        found: A comparison.
        cases: How many the run has.
        alpha: The level of the family of all the run's cases.
        margin: The drop of hit@10 that may not be, as a fraction.

    Raises:
        ValueError: As for :func:`regressed`, or there is no case.
    """
    _require(alpha, margin, cases)
    return upper_limit(found, cases=cases, alpha=alpha) < margin


def upper_limit(
    found: PairedComparison, *, cases: int, alpha: float = NON_INFERIORITY_ALPHA
) -> float:
    """The drop that a case does not exceed, at a level that holds for all the cases at once."""
    return found.upper_limit(alpha / cases)


def smallest_drop(
    found: PairedComparison,
    *,
    cases: int,
    alpha: float = ALPHA,
    margin: float = MARGIN,
    power: float = POWER,
) -> float:
    """The drop of hit@10 that a comparison like this one would have called a regression.

    A candidate whose hit@10 is truly d lower in one case fails where both events occur:

    - The test rejects at the first step of Holm, ``alpha / cases``.
    - The observed drop exceeds the margin.

    How far log ranks rise for a drop d is not known before it is there. It is taken that a
    share c of the patients falls by ``fall``, which costs half of the hits: ``c = 2 d /
    hit``. The mean log rank rises by ``c fall``, and each that falls adds a square to the
    variance: ``s^2 = flip_standard_error^2 + sum_squared_weights c fall^2``. Of the hits at least a share d was
    lost: ``e^2 = se^2 + sum_squared_weights d``. Both statistics are near normal, so the events have
    probability ``Phi(c fall / s - z(1 - alpha / cases))`` and ``Phi((d - margin) / e)``.
    (That all log ranks rise alike is far too hopeful: it triples the first argument.)

    The events go together, so the probability of both is at least their product (Slepian
    1962); the smallest d whose product is the power is returned. It speaks of candidates
    that differ from the baseline as much as this one.

    Args:
        found: A comparison.
        cases: How many the run has.
        alpha: The level of the family of all the run's cases.
        margin: The drop of hit@10 that may be, as a fraction.
        power: The probability with which the drop is to be seen.

    Returns:
        A fraction; inf where no drop would have been seen.

    Raises:
        ValueError: As for :func:`non_inferior`, or the power is not between 0 and 1.
    """
    _require(alpha, margin, cases)
    if not 0 < power < 1:
        raise ValueError(f"power is {power}; it is between 0 and 1")
    # One cluster shows nothing, and a baseline without hits has none to lose.
    if math.isinf(found.standard_error) or not (found.fall and found.hit):
        return math.inf
    critical = -NORMAL.inv_cdf(alpha / cases)

    def seen(drop: float) -> float:
        share = min(2 * drop / found.hit, 1.0)
        error = math.sqrt(found.flip_standard_error**2 + found.sum_squared_weights * share * found.fall**2)
        rejects = NORMAL.cdf(share * found.fall / error - critical)
        spread = math.sqrt(found.standard_error**2 + found.sum_squared_weights * drop)
        exceeds = NORMAL.cdf((drop - margin) / spread)
        return rejects * exceeds

    low, high = 0.0, found.hit
    if seen(high) < power:
        return math.inf
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if seen(middle) >= power else (middle, high)
    return high


def _require(alpha: float, margin: float, cases: int = 1) -> None:
    if not 0 < alpha < 0.5:  # noqa: PLR2004 - beyond it a limit is no limit
        raise ValueError(f"alpha is {alpha}; it is between 0 and 0.5")
    if not 0 <= margin < 1:
        raise ValueError(f"margin is {margin}; it is a fraction from 0 to below 1")
    if cases < 1:
        raise ValueError(f"there are {cases} cases; there is at least one")
