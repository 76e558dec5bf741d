"""Tests of invalid CLIP checkpoints and options: each is refused in one line."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from support.clip_cases import ARCHITECTURE, save, small_case

from robustness.encoder import load
from robustness.errors import UsageError, WeightsError, WeightsNotFoundError

LOADER = "robustness.models.clip:load"


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return small_case(LOADER, tmp_path_factory.mktemp("clip") / "plain.pt")


class Hostile:
    def __reduce__(self):
        return (os.system, ("touch executed",))


def bad(tmp_path: Path, kind: str, weights) -> Path:
    """Write an invalid checkpoint and return its path."""
    path = tmp_path / f"{kind}.pt"
    if kind == "directory":
        path.mkdir()
    elif kind == "truncated":
        whole = save(weights, path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "text":
        path.write_text("404: not found")
    elif kind == "hostile":
        path.write_bytes(pickle.dumps({"logit_scale": Hostile()}, protocol=2))
    elif kind == "missing":
        save({key: value for key, value in weights.items() if key != "visual.proj"}, path)
    elif kind == "unexpected":
        save({**weights, "visual.head": weights["logit_scale"]}, path)
    elif kind == "other size":
        save({**weights, "visual.proj": weights["visual.proj"][:, :16]}, path)
    elif kind == "other model":
        save({"text_model.embeddings.weight": weights["ln_final.bias"]}, path)
    elif kind == "not finite":
        save({**weights, "ln_final.bias": weights["ln_final.bias"] / 0}, path)
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("directory", "directory"),
        ("truncated", "truncated|complete"),
        ("text", "not a"),
        ("hostile", "system"),
        ("missing", "missing.*visual.proj"),
        ("unexpected", "unexpected.*visual.head"),
        ("other size", r"visual.proj \[64, 16\], not \[64, 32\]"),
        ("other model", "another model"),
        ("not finite", "ln_final.bias.* not finite"),
    ],
)
def test_bad_checkpoint(case, kind, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = bad(tmp_path, kind, case.weights)
    with pytest.raises(WeightsError, match=reason) as caught:
        load(LOADER, weights=path, architecture=ARCHITECTURE)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_the_published_size_is_the_default(case):
    with pytest.raises(WeightsError, match="missing keys"):
        load(LOADER, weights=case.checkpoint)


def test_missing_weights(monkeypatch, tmp_path):
    monkeypatch.delenv("ROBUSTNESS_WEIGHTS", raising=False)
    # The hub's client reads its environment once, when it is imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsNotFoundError) as caught:
        load(LOADER)
    for part in ("ViT-B-32.pt", "https://", "MIT", "ROBUSTNESS_WEIGHTS", "hub"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsNotFoundError, match="absent.pt"):
        load(LOADER, weights=tmp_path / "absent.pt")


def test_unknown_options():
    with pytest.raises(UsageError, match="takes no option 'tokeniser'; it takes architecture"):
        load(LOADER, tokeniser="vocab.txt")
    with pytest.raises(UsageError, match="no architecture 'ViT-Z'"):
        load(LOADER, architecture="ViT-Z")
