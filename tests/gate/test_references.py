"""Bounds relative to chance and to other models."""

from __future__ import annotations

import pytest
from support.gate_repository import assert_no_traceback, said

OTHER = "  other: {{loader: my_models:{kind}, on_request: true}}\nocclusion:"


def with_other(changed, kind, bound):
    changed.edit("occlusion:", OTHER.format(kind=kind))
    changed.edit("[hit@10 >= 0.4,", f"[{bound},")
    return changed


def bound_of(results, text):
    return [b for case in results["measurements"] for b in case["bounds"] if b["text"] == text]


def test_no_worse_than_a_model_at_chance(changed):
    outcome = with_other(changed, "constant", "hit@10 no worse than other").gate()
    assert outcome.ret == 0
    found = bound_of(changed.results(), "hit@10 >= other")
    assert len(found) == 8
    chance = changed.results()["measurements"][0]["chance"]["hit@10"]
    assert all(abs(bound["limit"] - chance) < 0.02 for bound in found)


def test_better_than_itself_by_a_point_is_missed(changed):
    """The other model has the same weights, so the limit is above the model's own value."""
    changed.edit("occlusion:", "  twin: {loader: robustness.models.phantom:load}\nocclusion:")
    changed.edit("[hit@10 >= 0.4,", "[hit@10 >= twin + 0.01, hit@10 >= 0,")
    outcome = changed.gate("--robustness-models=phantom")
    assert outcome.ret == 1
    assert "bound >= twin + 0.01 = 0." in said(outcome)
    assert "missed by 0.010 [bound_missed]" in said(outcome)


def test_times_chance(changed):
    outcome = with_other(changed, "constant", "hit@10 >= 2 * chance").gate()
    assert outcome.ret == 0
    results = changed.results()
    for case in results["measurements"]:
        for bound in case["bounds"]:
            if bound["text"] == "hit@10 >= 2 * chance":
                assert bound["limit"] == pytest.approx(2 * case["chance"]["hit@10"])
                assert bound["reference"] == "chance"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", "phantom cannot be compared with other: weights of 'absent' are not here"),
        ("nan", "phantom cannot be compared with other: Changed embeds 1 of 48 images as NaN"),
        (
            "missing",
            "phantom cannot be compared with other: model loader 'my_models:missing': module",
        ),
    ],
)
def test_a_reference_that_cannot_be_measured_fails(changed, kind, message):
    outcome = with_other(changed, kind, "hit@10 no worse than other").gate()
    assert outcome.ret == 1
    text = said(outcome)
    assert message in text
    assert_no_traceback(text)
    results = changed.results()
    assert (results["verdict"], results["reason"]) == ("fail", "reference_failed")
    failed = [case for case in results["measurements"] if case["verdict"] == "fail"]
    assert {case["level"] for case in failed} == {0.3}


def test_a_reference_that_reads_other_sections_fails(changed):
    """It excludes other images, so the two models are not comparable."""
    (changed.path / "my_reader.py").write_text(
        """
from dataclasses import replace
from my_models import Changed, load_phantom
class Reader(Changed):
    pass
def load(weights=None, device="cpu"):
    encoder = Reader(load_phantom(None, device), "reader")
    encoder.text_policy = replace(encoder.text_policy, sections=("comparison",))
    return encoder
"""
    )
    changed.edit("occlusion:", "  other: {loader: my_reader:load, on_request: true}\nocclusion:")
    changed.edit("[hit@10 >= 0.4,", "[hit@10 no worse than other, hit@10 >= 0,")
    outcome = changed.gate()
    assert outcome.ret == 1
    assert changed.results()["reason"] == "reference_failed"
    assert "phantom cannot be compared with other: " in said(outcome)
