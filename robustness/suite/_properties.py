"""Property cases: Hypothesis searches for the occlusion that breaks a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from robustness.reasons import Verdict
from robustness.report import describe_property
from robustness.results import judgement_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from robustness.gate import Gate
    from robustness.results import Record


@pytest.mark.robustness
def test_property(
    robustness_model: str,
    robustness_property: str,
    robustness_gate: Gate,
    robustness_record: Callable[[Record], None],
) -> None:
    """One property of :data:`robustness.search.PROPERTIES` holds under every occlusion tried."""
    from robustness.search import search

    record = search(robustness_gate, robustness_model, robustness_property)
    robustness_record({"property": record})
    judgement = judgement_of(record)
    if judgement.verdict is Verdict.FAIL:
        pytest.fail(describe_property(robustness_gate.plan, record), pytrace=False)
    if judgement.verdict is Verdict.NOT_MEASURED:
        pytest.skip(judgement.message)
