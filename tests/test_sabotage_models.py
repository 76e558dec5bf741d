"""Models that measure nothing, and none of them passes: see ``docs/sabotages.md``."""

from __future__ import annotations

import numpy as np
import pytest
from gate_repository import WEIGHTS
from sabotage import SABOTAGES

from robustness.properties import PROPERTIES

MODELS = {
    "nan_embedding": "my_models:nan",
    "infinite_embedding": "my_sabotage:infinite",
    "wrong_shape": "my_models:shape",
    "wrong_dtype": "my_models:double",
    "unnormalised": "my_sabotage:unnormalised",
    "constant_embedding": "my_models:constant",
    "constant_reports": "my_sabotage:same_reports",
    "nan_scores": "my_sabotage:nan_scores",
    "no_text": "my_sabotage:reader",
    "loader_missing": "my_models:no_such_function",
    "loader_returns_nothing": "my_models:nothing",
    "loader_crashes": "my_models:crash",
    "weights_missing": "my_models:absent",
}

REPLAY = "--robustness-replay=square:0:black:0"
"""Tries one occlusion, so that nothing is shrunk."""


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_model(sabotaged, model):
    sabotaged.caught(model=model)
    verdicts = {cell["verdict"] for cell in sabotaged.repository.results()["cases"]}
    assert "pass" not in verdicts or sabotaged.sabotage.code == "scores_constant"


def test_constant_embedding_and_no_demand(sabotaged):
    sabotaged.edit("hit@5 >= 0.6", "hit@5 >= 0")
    sabotaged.edit("hit@5 >= 0.4", "hit@5 >= 0")
    text = sabotaged.caught(model="my_models:constant")
    assert "every candidate of every query has the same score" in text


def test_neighbours(sabotaged):
    text = sabotaged.caught(REPLAY, model="my_models:neighbours")
    assert "embedding moves by 0." in text
    assert "with the batch around it" in text


def test_shuffled_gallery(sabotaged):
    sabotaged.caught(REPLAY, model="my_sabotage:shuffled")
    broken = {p["property"] for p in sabotaged.repository.results()["properties"] if p["message"]}
    assert "independence" in broken


def test_false_fingerprint(sabotaged):
    """Its cases pass, being the other model's: that the store is asked again catches it."""
    text = sabotaged.caught(model="phantom,my_sabotage:liar")
    assert "another model claims its fingerprint, or the store is stale" in text
    results = sabotaged.repository.results()
    assert {cell["verdict"] for cell in results["cases"]} == {"pass"}


def test_fails_once(sabotaged):
    """Its cases pass, and so does the property when it is tried again."""
    text = sabotaged.caught(model="my_sabotage:fails_once")
    assert "RuntimeError: out of memory, for a moment" in text
    results = sabotaged.repository.results()
    verdicts = {p["property"]: p["verdict"] for p in results["properties"]}
    assert verdicts == dict.fromkeys(PROPERTIES, "pass") | {"bound": "fail"}
    assert {cell["verdict"] for cell in results["cases"]} == {"pass"}


def test_weights_truncated(sabotaged):
    (sabotaged.path / "cut.safetensors").write_bytes(WEIGHTS.read_bytes()[:5000])
    sabotaged.caught("--robustness-weights=phantom=cut.safetensors")


def test_all_weights_missing(sabotaged):
    sabotaged.edit("phantom: {loader: models.phantom:load}", "a: {loader: my_models:absent,"
                   " optional: true}")  # fmt: skip
    assert "nothing was measured" in sabotaged.caught()


def test_reference_missing(sabotaged):
    other = "  other: {loader: my_models:absent, optional: true, on_request: true}"
    sabotaged.edit("occlusion:", f"{other}\nocclusion:")
    sabotaged.edit("hit@5 >= 0.4", "hit@5 no worse than other")
    assert "weights of 'absent' are not here" in sabotaged.caught()


def test_no_positives(sabotaged, monkeypatch):
    from robustness import measure

    def match(texts, studies, policy):
        found = real(texts, studies, policy)
        reports = [np.asarray(right) for right in found.reports_of_image]
        reports[3] = reports[3][:0]
        object.__setattr__(found, "reports_of_image", reports)
        return found

    real = measure.match
    monkeypatch.setattr(measure, "match", match)
    assert "query 3 has no positive" in sabotaged.caught()


def test_every_model_is_in_the_table():
    assert SABOTAGES.keys() >= MODELS.keys()
