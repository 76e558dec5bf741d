"""Faulty models: no run passes (``docs/sabotages.md``)."""

from __future__ import annotations

import numpy as np
import pytest
from support.gate_repository import WEIGHTS
from support.sabotages import SABOTAGES

from robustness.plan import PROPERTIES

MODELS = {
    "nan_embedding": ("my_models:nan", "as NaN or infinite, the first 'phantom"),
    "infinite_embedding": ("my_sabotage:infinite", "as NaN or infinite"),
    "wrong_shape": ("my_models:shape", "the contract is torch.float32 of shape"),
    "wrong_dtype": ("my_models:double", "as torch.float64 of shape"),
    "unnormalised": ("my_sabotage:unnormalised", "[embedding_malformed]"),
    "constant_embedding": (
        "my_models:constant",
        "all scores are identical on clean images (collapsed embeddings)",
    ),
    "constant_reports": ("my_sabotage:same_reports", "[scores_constant]"),
    "nan_scores": ("my_sabotage:nan_scores", "[model_failed]"),
    "no_text": ("my_sabotage:reader", "[no_text]"),
    "loader_missing": ("my_models:missing", "module 'my_models' has no function 'missing'"),
    "loader_returns_nothing": ("my_models:nothing", "returned NoneType, not a DualEncoder"),
    "loader_crashes": ("my_models:crash", "a bug in the loader"),
    "weights_missing": ("my_models:absent", "get them from example.org"),
}
"""Loader of each faulty model, and a part of the message."""

REPLAY = "--robustness-replay=square:0:black:0"
"""Option that tries one occlusion, so that nothing is shrunk."""


@pytest.mark.parametrize(("model", "message"), MODELS.values(), ids=MODELS)
def test_a_model(sabotaged, model, message):
    assert message in sabotaged.caught(model=model)
    verdicts = {cell["verdict"] for cell in sabotaged.repository.results()["measurements"]}
    assert "pass" not in verdicts or sabotaged.sabotage.code == "scores_constant"


def test_constant_embedding_and_no_demand(sabotaged):
    sabotaged.edit("hit@5 >= 0.6", "hit@5 >= 0")
    sabotaged.edit("hit@5 >= 0.4", "hit@5 >= 0")
    text = sabotaged.caught(model="my_models:constant")
    assert "all scores are identical on clean images (collapsed embeddings)" in text


def test_neighbours(sabotaged):
    text = sabotaged.caught(REPLAY, model="my_models:neighbours")
    assert "embedding changes by 0." in text
    assert "with the batch around it" in text


def test_shuffled_gallery(sabotaged):
    sabotaged.caught(REPLAY, model="my_sabotage:shuffled")
    broken = {p["property"] for p in sabotaged.repository.results()["properties"] if p["message"]}
    assert "independence" in broken


def test_false_fingerprint(sabotaged):
    """Its cases pass with the other model's embeddings; the store audit detects it."""
    text = sabotaged.caught(model="phantom,my_sabotage:liar")
    assert "fingerprint collision (another model reports the same one), stale store" in text
    results = sabotaged.repository.results()
    assert {cell["verdict"] for cell in results["measurements"]} == {"pass"}


def test_remembered_batch(sabotaged):
    """Every level is measured on clean images; properties use smaller batches."""
    store = f"--robustness-store={sabotaged.path / 'own'}"
    text = sabotaged.caught(store, model="my_sabotage:remembers")
    assert "of images under square:0.3:black:0 do not match Remembers" in text
    results = sabotaged.repository.results()
    assert {cell["verdict"] for cell in results["measurements"]} == {"pass"}
    assert all(cell["metrics"]["retention(mrr)"]["value"] == 1 for cell in results["measurements"])


CHANGES = {
    "code_changed": lambda sabotaged: (sabotaged.path / "my_code.py").write_text("TURNS = 10\n"),
    "settings_changed": lambda sabotaged: (sabotaged.path / "settings.txt").write_text("10"),
    "option_changed": lambda sabotaged: sabotaged.edit("turns: 0", "turns: 10"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change(sabotaged, monkeypatch, change):
    """A second run does not load an unchanged model; a changed one is loaded and compared."""
    monkeypatch.setattr("robustness.model_cache.entry.MIN_AGE_S", -60.0)
    folder = sabotaged.path
    (folder / "my_code.py").write_text("TURNS = 0\n")
    (folder / "settings.txt").write_text("0")
    (folder / "model.safetensors").write_bytes(WEIGHTS.read_bytes())
    sabotaged.edit(
        "robustness.models.phantom:load",
        "'my_sabotage:turned', weights: model.safetensors,"
        " options: {settings: settings.txt, turns: 0}",
    )
    store = f"--robustness-store={folder / 'own'}"
    for loads in (1, 0):
        assert sabotaged.run(store).ret == 0
        assert sabotaged.repository.results()["timing"]["model_loads"] == loads
    change(sabotaged)
    assert "embeddings of images do not match Turned" in sabotaged.caught(store)


def test_fails_once(sabotaged):
    """Its cases pass, and the property passes on its second try."""
    text = sabotaged.caught(model="my_sabotage:fails_once")
    assert "RuntimeError: out of memory, for a moment" in text
    results = sabotaged.repository.results()
    verdicts = {p["property"]: p["verdict"] for p in results["properties"]}
    assert verdicts == dict.fromkeys(PROPERTIES, "pass") | {"bound": "fail"}
    assert {cell["verdict"] for cell in results["measurements"]} == {"pass"}


def test_exits_once(sabotaged):
    assert "SystemExit: gone for a moment" in sabotaged.caught(model="my_sabotage:exits_once")
    results = sabotaged.repository.results()
    assert {cell["verdict"] for cell in results["measurements"]} == {"pass"}


def test_weights_truncated(sabotaged):
    (sabotaged.path / "cut.safetensors").write_bytes(WEIGHTS.read_bytes()[:5000])
    sabotaged.caught("--robustness-weights=phantom=cut.safetensors")


def test_weights_misnamed(sabotaged):
    sabotaged.edit(
        "models:\n", "models:\n  other: {loader: robustness.models.phantom:load, optional: true}\n"
    )
    sabotaged.caught("--robustness-weights=other=misspelt.safetensors")


def test_weights_withdrawn(sabotaged):
    sabotaged.edit("robustness.models.phantom:load}", "my_sabotage:withdrawn, optional: true}")
    text = sabotaged.caught(f"--robustness-store={sabotaged.path / 'own'}")
    assert "phantom was measured in part, and its weights are reported as absent" in text


def test_all_weights_missing(sabotaged):
    sabotaged.edit(
        "phantom: {loader: robustness.models.phantom:load}",
        "a: {loader: my_models:absent, optional: true}",
    )
    assert "nothing was measured" in sabotaged.caught()


def test_reference_missing(sabotaged):
    other = "  other: {loader: my_models:absent, optional: true, on_request: true}"
    sabotaged.edit("occlusion:", f"{other}\nocclusion:")
    sabotaged.edit("hit@5 >= 0.4", "hit@5 no worse than other")
    assert "weights of 'absent' are not here" in sabotaged.caught()


def test_no_positives(sabotaged, monkeypatch):
    from robustness.run import subject as measure

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
