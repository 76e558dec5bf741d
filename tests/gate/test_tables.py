"""Gate runs on evaluation sets from tables: measurements, paths and imports."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest
from markupsafe import escape
from PIL import Image as PilImage
from support.gate_repository import RUNNERS, said
from support.table_files import as_text, tar_of, write_rows

from robustness import evalset
from robustness.__main__ import main
from robustness.plan import PROPERTIES

NO_REPORT = "no findings, no impression and no undivided report"
EMPTY = "row with every cell that is read empty"


@pytest.mark.slow
def test_the_gate_measures_the_same_in_all_formats(repository, monkeypatch):
    """The phantoms, written to files, have the same metrics."""
    for before, after in (
        ("[square, grid]", "[grid]"),
        ("[black, grey]", "[black]"),
        ("examples: 4", "examples: 1"),
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
        assert {cell["evalset"] for cell in results["measurements"]} == {spec}
        return results["measurements"], about["excluded"]

    with monkeypatch.context() as without:
        for module in ("pyarrow", "datasets", "webdataset", "braceexpand", "pandas"):
            without.setitem(sys.modules, module, None)  # CSV needs none of them
        cases, excluded = measured(f"manifest:{table}")
    assert excluded == {NO_REPORT: 1, EMPTY: 1}
    # Masks depend on the image id, which is the file name here.
    assert metrics(cases, {0}) == metrics(expected["measurements"], {0})

    with monkeypatch.context() as without:
        for module in ("pyarrow", "datasets", "pandas"):
            without.setitem(sys.modules, module, None)
        cases, excluded = measured(f"webdataset:{repository.path}/{{0..1}}.tar")
    assert excluded == {NO_REPORT: 1}
    assert metrics(cases, {0, 0.3}) == metrics(expected["measurements"], {0, 0.3})


def metrics(cases, levels):
    found = {
        (c["pattern"], c["fill"], c["level"], c["direction"]): c["metrics"]
        for c in cases
        if c["level"] in levels
    }
    assert len(found) == 2 * len(levels)
    return found


def test_misnamed_columns_are_reported(small):
    """Without the patient column, intervals and comparisons would count images."""
    header = ["image", "finding", "impression", "patient_id", "age"]
    rows = []
    phantom = evalset.load("phantom:24")
    for i, pair in enumerate(phantom.pairs):
        PilImage.fromarray(phantom.decode(pair)).save(small.path / f"{i}.png")
        rows.append([f"{i}.png", pair.report.findings, pair.report.findings, i // 2, 60])
    table = write_rows(small.path / "set.csv", header, *rows)
    line = (
        "columns not read: 'finding' (did you mean 'findings'?), 'patient_id' (did you mean"
        " 'patient'?); rename them or set an option, such as findings=finding"
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


@pytest.fixture
def in_a_folder(small):
    """Repository with thresholds file and table in one folder and the images in another."""
    rows = [["image", "findings", "impression"]]
    phantom = evalset.load("phantom:24")
    (small.path / "images").mkdir()
    (small.path / "conf").mkdir()
    (small.path / "elsewhere").mkdir()
    for i, pair in enumerate(phantom.pairs):
        PilImage.fromarray(phantom.decode(pair)).save(small.path / "images" / f"{i}.png")
        rows.append([f"{i}.png", pair.report.findings, pair.report.impression])
    write_rows(small.path / "conf" / "set.csv", *rows)
    small.edit("phantom:48", SPEC)
    (small.path / "thresholds.yaml").rename(small.path / "conf" / "thresholds.yaml")
    return small


SPEC = "manifest:set.csv,root=../images"


def test_a_set_that_the_file_names_is_the_same_from_any_folder(in_a_folder, monkeypatch):
    """Its name is as in the file, so that runs from two folders can be compared."""
    kept = f"--robustness-baselines={in_a_folder.path / 'kept'}"
    asked = ["--robustness-thresholds=conf/thresholds.yaml", "--robustness-save=main"]
    assert in_a_folder.gate(*asked, kept).ret == 0
    here = in_a_folder.results()

    monkeypatch.chdir(in_a_folder.path / "elsewhere")
    asked = ["--robustness-thresholds=../conf/thresholds.yaml", "--robustness-compare=main"]
    outcome = in_a_folder.gate("..", *asked, kept)
    assert outcome.ret == 0, said(outcome)
    there = in_a_folder.results()
    assert [case["verdict"] for case in there["comparison"]["comparisons"]] == ["pass", "pass"]
    for results in (here, there):
        assert results["protocol"]["evalset"]["spec"] == SPEC
        assert {cell["evalset"] for cell in results["measurements"]} == {SPEC}
    assert here["measurements"] == there["measurements"]
    page = (in_a_folder.path / ".robustness" / "report" / "report.html").read_text()
    assert escape(SPEC) in page
    assert str(in_a_folder.path) not in page


def test_a_set_that_the_command_line_names_is_this_folder_s(in_a_folder, monkeypatch):
    monkeypatch.chdir(in_a_folder.path / "elsewhere")
    asked = ["--co", "--robustness-thresholds=../conf/thresholds.yaml"]
    given = "--robustness-evalset=manifest:{}set.csv,root=../images"
    outcome = in_a_folder.gate("..", *asked, given.format(""))
    assert outcome.ret == 4
    assert "evaluation set 'manifest:set.csv': no file set.csv" in said(outcome)
    assert in_a_folder.gate("..", *asked, given.format("../conf/")).ret == 0


def test_a_missing_table_is_reported_with_its_resolved_path(in_a_folder, monkeypatch):
    (in_a_folder.path / "conf" / "set.csv").rename(in_a_folder.path / "elsewhere" / "set.csv")
    monkeypatch.chdir(in_a_folder.path / "elsewhere")
    outcome = in_a_folder.gate("..", "--robustness-thresholds=../conf/thresholds.yaml")
    assert outcome.ret == 4
    assert (
        "../conf/thresholds.yaml:2:10: evaluation set 'manifest:../conf/set.csv': no file"
        " ../conf/set.csv"
    ) in said(outcome)


def test_the_command_that_lists_broken_images_works_in_this_folder(
    in_a_folder, monkeypatch, capsys
):
    for i in (3, 7):
        (in_a_folder.path / "images" / f"{i}.png").write_bytes(b"no image")
    outcome = in_a_folder.gate("--robustness-thresholds=conf/thresholds.yaml", "-k", "square-0")
    assert outcome.ret == 1
    found = re.search(r"python -m robustness (evalset \S+ --decode) lists them", said(outcome))
    assert main(shlex.split(found[1])) == 1
    assert "images that cannot be decoded: 2 of 24" in capsys.readouterr().out


def test_each_property_fails_on_a_set_that_cannot_be_decoded(in_a_folder):
    """A failed decoding is remembered and reported to later cases."""
    (in_a_folder.path / "images" / "3.png").write_bytes(b"no image")
    for name in PROPERTIES:
        asked = ["--robustness-thresholds=conf/thresholds.yaml", "-k", name]
        outcome = in_a_folder.gate(*asked)
        outcome.assert_outcomes(failed=1, deselected=19)
        record = next(p for p in in_a_folder.results()["properties"] if p["property"] == name)
        assert (record["verdict"], record["reason"]) == ("fail", "evalset_failed")
        assert "3.png is not in a supported format" in record["message"]


@pytest.mark.parametrize("xdist", RUNNERS, ids=" ".join)
def test_an_error_of_all_cases_is_printed_once(in_a_folder, pytester, xdist):
    """JUnit and results repeat it for each case."""
    (in_a_folder.path / "images" / "3.png").write_bytes(b"no image")
    asked = ["--robustness-thresholds=conf/thresholds.yaml", "--junitxml=junit.xml", *xdist]
    outcome = in_a_folder.gate(*asked, run=pytester.runpytest_subprocess if xdist else None)
    cause = "images/3.png is not in a supported format; allowed are DICOM"
    text, _, summary = said(outcome).partition(" robustness ==")
    assert text.count(cause) == 1
    assert summary.partition(" short test summary ")[0].count(cause) == 1
    worker = r"(?:\[gw\d\] .*\n)?"
    told = re.search(rf"_ test_\w+\[(\S+)\] _+\n{worker}.*\n.*{cause}", text)[1]
    assert text.count(f"  the same as in {told} [evalset_failed]\n") == 5
    assert text.count("next: pytest") + text.count("replay: pytest") == 6
    lines = [line.partition(": ") for line in summary.splitlines() if ": FAIL " in line]
    assert [why for _, _, why in lines].count(f"FAIL the same as {lines[0][0].strip()}") == 3

    suite = ET.parse(in_a_folder.path / "junit.xml").getroot().find("testsuite")
    failures = [case.find("failure") for case in suite.findall("testcase")]
    assert [cause in failure.text for failure in failures] == [True] * 6
    results = in_a_folder.results()
    judged = [*results["measurements"], *results["properties"]]
    assert [cause in each["message"] for each in judged] == [True] * 8


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
        f"version: 1\nevalset: '{spec}'\n"
        "models: {phantom: {loader: 'robustness.models.phantom:load'}}\n"
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
