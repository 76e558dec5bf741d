"""The gate's cases: one a model, pattern and level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from robustness.reasons import Verdict
from robustness.report import describe_case
from robustness.results import judgement_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from robustness.gate import Gate
    from robustness.plan import Case
    from robustness.results import Record


@pytest.mark.robustness
def test_occlusion(
    robustness_case: Case, robustness_gate: Gate, robustness_record: Callable[[Record], None]
) -> None:
    """Retrieval with this share of every image hidden is what the thresholds require."""
    record = robustness_gate.run(robustness_case)
    robustness_record(record)
    judgements = [judgement_of(cell) for cell in record["cells"]]
    if any(judgement.verdict is Verdict.FAIL for judgement in judgements):
        pytest.fail(describe_case(robustness_gate.plan, robustness_case, record), pytrace=False)
    unmeasured = [j.message for j in judgements if j.verdict is Verdict.NOT_MEASURED]
    if unmeasured:
        pytest.skip(unmeasured[0])
