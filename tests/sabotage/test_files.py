"""Faulty thresholds files, evaluation sets, stores and baselines: no run passes."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from support.gate_repository import comparable

from robustness import evalset
from robustness.embedding import Store
from robustness.regression import baseline_file

# --- the thresholds file ---------------------------------------------------------------

EDITS = {
    "no_bound": ("  - {level: 0.3, require: [hit@5 >= 0.4]}\n", ""),
    "unknown_value": ("hit@5 >= 0.4", "retention(hit@100) >= 0.4"),
    "few_items": ("phantom:16", "phantom:5"),
    "no_yaml": ("version: 1", "version: ["),
    "clean_level": ("[0, 0.3]", "[0.3]"),
    "percent_bound": ("hit@5 >= 0.6", "hit@5 >= 60"),
    "percent_level": ("[0, 0.3]", "[0, 30]"),
    "nan_bound": ("hit@5 >= 0.6", "hit@5 >= nan"),
    "duplicate_key": ("  levels: [0, 0.3]", "  levels: [0, 0.3]\n  levels: [0]"),
    "unknown_key": ("level: 0.3, require", "levl: 0.3, require"),
    "missing_key": ("properties: {bound: hit@10 >= 0.1, ", "properties: {"),
    "unknown_metric": ("hit@5 >= 0.6", "hit@6 >= 0.6"),
    "unknown_selector": ("level: 0.3,", "level: 0.4,"),
    "unused_bound": ("bounds:\n", "bounds:\n  - {require: [hit@5 >= 0.9]}\n"),
    "unread_bound": ("hit@5 >= 0.6", "hit@5 > 0.6"),
    "unknown_set": ("phantom:16", "fantom:16"),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit(sabotaged, edit):
    sabotaged.edit(*edit)
    sabotaged.caught()


def test_no_thresholds(sabotaged):
    """The report of an earlier run is removed."""
    report = sabotaged.path / ".robustness" / "report"
    report.mkdir(parents=True)
    (report / "results.json").write_text(json.dumps({"verdict": "pass"}))
    (sabotaged.path / "thresholds.yaml").unlink()
    sabotaged.caught()


def test_unknown_model(sabotaged):
    sabotaged.caught("--robustness-models=fantom")


# --- the evaluation set ----------------------------------------------------------------


def manifest(folder, rewrite=lambda reports: reports, count=16):
    """Write a table of phantoms, with reports changed by ``rewrite``, and return the option."""
    loaded = evalset.load(f"phantom:{count}")
    reports = rewrite([(pair.report.findings, "") for pair in loaded.pairs])
    with (folder / "set.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "findings", "comparison"])
        for i, (pair, report) in enumerate(zip(loaded.pairs, reports, strict=True)):
            Image.fromarray(loaded.decode(pair)).save(folder / f"{i}.png")
            rows.writerow([f"{i}.png", *report])
    return f"--robustness-evalset=manifest:{folder / 'set.csv'}"


def test_no_pairs(sabotaged):
    spec = manifest(sabotaged.path, lambda reports: [("", "")] * len(reports), count=3)
    sabotaged.caught(spec)


def test_swapped_reports(sabotaged):
    spec = manifest(sabotaged.path)
    assert sabotaged.run(spec).ret == 0
    spec = manifest(sabotaged.path, lambda reports: reports[7:] + reports[:7])
    assert "missed by" in sabotaged.caught(spec)


def test_folder_changed(sabotaged):
    other = sabotaged.path / "other"
    other.mkdir()
    manifest(other, lambda reports: reports[7:] + reports[:7])
    (sabotaged.path / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.fixture(autouse=True)\n"
        "def elsewhere(monkeypatch, request):\n"
        "    monkeypatch.chdir(request.config.rootpath / 'other')\n"
    )
    manifest(sabotaged.path)
    sabotaged.caught("--robustness-evalset=manifest:set.csv")


def test_image_replaced(sabotaged):
    spec = manifest(sabotaged.path, count=8)
    store = f"--robustness-store={sabotaged.path / 'own'}"
    text = sabotaged.caught(spec, store, model="my_sabotage:writer")
    assert "3.png changed while the gate ran" in text
    assert not list((sabotaged.path / "own").glob("*/*.images"))


def test_empty_report(sabotaged):
    """One of 16 images has no comparison section, the only one that the model reads."""
    sabotaged.edit("hit@5 >= 0.6", "hit@5 >= 0")
    sabotaged.edit("hit@5 >= 0.4", "hit@5 >= 0")
    sabotaged.edit("bound: hit@10 >= 0.1", "bound: hit@10 >= 0")
    spec = manifest(
        sabotaged.path, lambda all_: [(f, f * (i != 5)) for i, (f, _) in enumerate(all_)]
    )
    text = sabotaged.caught(spec, model="my_sabotage:reader")
    assert "excluded for my_sabotage:reader: 1 (no text under the model's text policy)" in text


# --- the store -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Store and baseline of the first run that makes them."""
    return {"folder": tmp_path_factory.mktemp("made")}


@pytest.fixture
def own(sabotaged, made, monkeypatch):
    """Filled store, and the keys and arrays of its entries of all images."""
    folder, keys = sabotaged.path / "own", made.setdefault("keys", [])
    if keys:
        shutil.copytree(made["folder"] / "own", folder)
        return folder, keys
    fetch = Store.fetch

    def listen(self, key, compute):
        arrays = fetch(self, key, compute)
        if key.get("of") == "images" and len(arrays["embeddings"]) > 8:
            keys.append((key, arrays))
        return arrays

    with monkeypatch.context() as patched:
        patched.setattr(Store, "fetch", listen)
        assert sabotaged.run(f"--robustness-store={folder}").ret == 0
    made["results"] = comparable(sabotaged.repository.results())
    shutil.copytree(folder, made["folder"] / "own")
    return folder, keys


def change_entry(own, change, of="square:0:"):
    """Replace the arrays of an occlusion's entry through the store."""
    folder, keys = own
    before = {path: path.read_bytes() for path in folder.glob("*/*.arrays")}
    key, arrays = next(found for found in keys if found[0]["occlusion"][1].startswith(of))
    other = Store(folder)
    path = other._path(key)
    assert path in before
    path.unlink()
    other.fetch(key, lambda: {name: change(array) for name, array in arrays.items()})
    assert path.read_bytes() != before[path]
    return f"--robustness-store={folder}"


def test_damaged_entry(sabotaged, own, made):
    entry = min(own[0].glob("*/*.arrays"))
    entry.write_bytes(entry.read_bytes()[:-1])
    text = sabotaged.caught(f"--robustness-store={own[0]}")
    assert "store: damaged entries recomputed: 1" in text
    assert comparable(sabotaged.repository.results()) == made["results"]


def test_copied_entry(sabotaged, own, made):
    folder, keys = own
    paths = sorted({Store(folder)._path(key) for key, _ in keys})
    assert len(paths) > 1
    paths[0].write_bytes(paths[1].read_bytes())
    text = sabotaged.caught(f"--robustness-store={folder}")
    assert "store: damaged entries recomputed: 1" in text
    assert comparable(sabotaged.repository.results()) == made["results"]


def test_short_entry(sabotaged, own):
    store = change_entry(own, lambda array: array[:-1])
    assert "not float32 [16, " in sabotaged.caught(store)


def test_stale_entry(sabotaged, own):
    store = change_entry(own, lambda array: array + np.float32(1e-3))
    assert "embeddings of images do not match PhantomEncoder" in sabotaged.caught(store)


def test_stale_level(sabotaged, own):
    store = change_entry(own, lambda array: array + np.float32(1e-3), of="square:0.3:")
    assert "embeddings of images under square:0.3:black:0 do not match" in sabotaged.caught(store)


# --- baselines -------------------------------------------------------------------------


@pytest.fixture
def kept(sabotaged, made):
    """Baseline of an earlier run."""
    path = sabotaged.path / ".robustness" / "baselines" / "0001_main.safetensors"
    if "baseline" in made:
        path.parent.mkdir(parents=True)
        path.write_bytes(made["baseline"])
        return path
    assert sabotaged.run("--robustness-save=main").ret == 0
    for left in sabotaged.path.glob(".robustness/report/*"):
        left.unlink()
    made["baseline"] = path.read_bytes()
    return path


def test_other_baseline(sabotaged, kept):
    text = sabotaged.caught("--robustness-compare=main", "--robustness-evalset=phantom:16:1")
    assert "images and reports is" in text


def test_undecidable(sabotaged, kept):
    """With two cases and 16 patients, the smallest adjusted p-value is 3e-5."""
    text = sabotaged.caught("--robustness-compare=main")
    assert "too few to show any drop in 2 comparisons at level 1e-05; 18 are needed" in text


def test_no_baseline(sabotaged):
    sabotaged.caught("--robustness-compare=main")


def test_garbage_baseline(sabotaged):
    (sabotaged.path / "garbage").write_bytes(b"\x80garbage" * 99)
    sabotaged.caught("--robustness-compare=garbage")


def test_truncated_baseline(sabotaged, kept):
    kept.write_bytes(kept.read_bytes()[:-8])
    sabotaged.caught("--robustness-compare=main")


def test_flipped_baseline(sabotaged, kept):
    content = bytearray(kept.read_bytes())
    content[-3] ^= 1
    kept.write_bytes(content)
    sabotaged.caught("--robustness-compare=main")


def test_nan_baseline(sabotaged, kept, monkeypatch):
    """Its checksum is correct."""
    run = baseline_file.load(kept)
    for own in run.models.values():
        for counts in own.ranks.values():
            greater = counts.greater.astype(float)
            greater[2] = np.nan
            object.__setattr__(counts, "greater", greater)
    kept.unlink()
    baseline_file.save(run, kept.parent, "main")
    sabotaged.caught("--robustness-compare=main")
