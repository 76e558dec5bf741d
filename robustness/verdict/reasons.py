"""Verdicts and machine-readable reason codes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from robustness.errors import Code


class Verdict(StrEnum):
    """The verdict on a measurement, a property, a comparison or a run."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    NOT_MEASURED = "not_measured"


Reason = Code
"""The code of a judgement is called its reason."""

FINDINGS = frozenset(
    {
        Reason.BOUND_MISSED,
        Reason.NOT_FINITE,
        Reason.PROPERTY_BROKEN,
        Reason.REGRESSION,
        Reason.INFERIORITY_NOT_EXCLUDED,
    }
)
"""Reasons that are genuine findings about a model, as opposed to measurement errors.

``not_finite`` is one: a model at chance has no retention.
"""

RECORD_FAULTS = frozenset(
    {
        Reason.RECORD_MISSING,
        Reason.RECORD_MALFORMED,
        Reason.LEVEL_MISSING,
        Reason.MEASUREMENT_MISSING,
        Reason.QUERIES_MISSING,
        Reason.METRIC_MISSING,
        Reason.RANKS_MISSING,
        Reason.RANKS_CONTRADICT,
        Reason.BOUND_DROPPED,
        Reason.FALSE_PASS,
        Reason.FALSE_EXCUSE,
    }
)
"""Faults of a case's record; the case itself does not report them."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and its reason.

    Attributes:
        verdict: Pass, fail, or not measured.
        reason: The code.
        message: One line for the user; empty if all is well.
    """

    verdict: Verdict
    reason: Reason
    message: str = ""

    @property
    def failed(self) -> bool:
        """True if the verdict is ``fail``."""
        return self.verdict is Verdict.FAIL


PASSED = Judgement(Verdict.PASS, Reason.OK)
