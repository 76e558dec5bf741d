"""The gate on sets that come as tables: what it measures, and what it imports for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from gate_repository import said
from markupsafe import escape
from PIL import Image as PilImage
from table_files import as_text, tar_of, write_rows

from robustness import evalset

NO_REPORT = "no findings, no impression and no undivided report"
EMPTY = "row with every cell that is read empty"


def test_the_gate_measures_the_same_images_in_any_form(repository, monkeypatch):
    """The built-in set, written to files, has the numbers it has without them."""
    for before, after in (
        ("[square, grid]", "[grid]"),
        ("[black, grey]", "[black]"),
        ("subset: 16, examples: 4", "subset: 8, examples: 1"),
    ):
        repository.edit(before, after)
    assert repository.gate().ret == 0
    expected = repository.results()
    phantom = evalset.load("phantom:48")

    rows = [["image", "findings", "impression", "study", "labels"]]
    samples = []
    for i, pair in enumerate(phantom.pairs):
        file = repository.path / f"{i}.png"
        PilImage.fromarray(phantom.decode(pair)).save(file)
        report = {"findings": pair.report.findings, "impression": pair.report.impression}
        labels = sorted(pair.labels)
        rows.append([file.name, *report.values(), pair.study_id, as_text(labels)])
        said_of_it = report | {"study": pair.study_id, "labels": labels}
        samples.append((pair.image_id, {"png": file.read_bytes(), "json": said_of_it}))
    table = write_rows(repository.path / "set.csv", *rows, *(["0.png", *[""] * 4], [""] * 5))
    tar_of(repository.path / "0.tar", samples[:30])
    tar_of(repository.path / "1.tar", [*samples[30:], ("x", {"png": b"", "txt": " "})])

    def measured(spec):
        outcome = repository.gate(f"--robustness-evalset={spec}")
        assert outcome.ret == 0, said(outcome)
        results = repository.results()
        about = results["protocol"]["evalset"]
        assert (about["spec"], about["images"], about["studies"]) == (spec, 48, 48)
        assert {cell["evalset"] for cell in results["cases"]} == {spec}
        return results["cases"], about["excluded"]

    with monkeypatch.context() as without:
        for module in ("pyarrow", "datasets", "webdataset", "braceexpand", "pandas"):
            without.setitem(sys.modules, module, None)  # CSV needs none of them
        cases, excluded = measured(f"manifest:{table}")
    assert excluded == {NO_REPORT: 1, EMPTY: 1}
    # Masks are keyed by the image's id, which is the file's name here.
    assert metrics(cases, {0}) == metrics(expected["cases"], {0})

    with monkeypatch.context() as without:
        for module in ("pyarrow", "datasets", "pandas"):
            without.setitem(sys.modules, module, None)
        cases, excluded = measured(f"webdataset:{repository.path}/{{0..1}}.tar")
    assert excluded == {NO_REPORT: 1}
    assert metrics(cases, {0, 0.3}) == metrics(expected["cases"], {0, 0.3})


def metrics(cases, levels):
    found = {
        (c["pattern"], c["fill"], c["level"], c["direction"]): c["metrics"]
        for c in cases
        if c["level"] in levels
    }
    assert len(found) == 2 * len(levels)
    return found


def test_a_run_says_which_columns_it_seems_to_have_missed(small):
    """Where patients are not read, intervals and comparisons would count images."""
    header = ["image", "finding", "impression", "patient_id", "age"]
    rows = []
    phantom = evalset.load("phantom:24")
    for i, pair in enumerate(phantom.pairs):
        PilImage.fromarray(phantom.decode(pair)).save(small.path / f"{i}.png")
        rows.append([f"{i}.png", pair.report.findings, pair.report.findings, i // 2, 60])
    table = write_rows(small.path / "set.csv", header, *rows)
    line = (
        "columns not read: 'finding' (did you mean 'findings'?), 'patient_id' (did you mean"
        " 'patient'?); rename one, or name it by an option, such as findings=finding"
    )
    page = small.path / ".robustness" / "report" / "report.html"

    outcome = small.gate(f"--robustness-evalset=manifest:{table}")
    about = small.results()["protocol"]["evalset"]
    assert about["misnamed"] == {"finding": "findings", "patient_id": "patient"}
    assert about["patients"] == 24
    assert said(outcome).count(line) == 1
    assert escape(line) in page.read_text()

    outcome = small.gate(
        f"--robustness-evalset=manifest:{table},patient=patient_id,findings=finding"
    )
    about = small.results()["protocol"]["evalset"]
    assert (about["misnamed"], about["patients"]) == ({}, 12)
    assert "columns not read" not in said(outcome) + page.read_text()


def test_a_fault_in_a_table_fails_every_case_in_one_line(repository):
    table = write_rows(repository.path / "set.csv", ["image", "report"], ["gone.png", "Clear."])
    outcome = repository.gate(f"--robustness-evalset=manifest:{table}")
    assert outcome.ret == 1
    assert "set.csv, row 1 (line 2): image" in said(outcome)
    assert "Traceback" not in said(outcome)
    assert repository.results()["verdict"] == "fail"


@pytest.mark.parametrize("spec", ["manifest:a.parquet", "hf:saved", "webdataset:{0..1}.tar"])
def test_collection_imports_nothing_optional(tmp_path, spec):
    (tmp_path / "saved").mkdir()
    for name in ("a.parquet", "saved/state.json", "0.tar", "1.tar"):
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / "test_release.py").write_text("from robustness.suite import *")
    (tmp_path / "thresholds.yaml").write_text(
        f"version: 1\nevalset: '{spec}'\nmodels: {{phantom: {{loader: 'models.phantom:load'}}}}\n"
        "occlusion: {patterns: [square], fills: [black], levels: [0]}\n"
        "bounds: [{level: 0, require: [hit@10 >= 0.5]}]\n"
        "properties: {bound: hit@10 >= 0.3, max_level: 0, subset: 16, examples: 4, noise: 0.3}\n"
    )
    script = (
        "import sys, pytest\n"
        "code = pytest.main(['--collect-only', '-q', '-m', 'robustness'])\n"
        "assert code == 0, code\n"
        "heavy = {'pyarrow', 'datasets', 'webdataset', 'pandas', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_occlusion[phantom-square-0]" in done.stdout
