"""--robustness-update: bounds written from observed values, and later runs."""

from __future__ import annotations

import difflib
import re

import pytest
from support.gate_repository import assert_no_traceback, noisy, said
from support.one_verdict import agreed, run, suite
from support.report_results import NOTHING

CLEAN = "  - {level: 0, require: [hit@10 >= 0.5]}\n"
HIDDEN = "  - {level: 0.3, require: [hit@10 >= 0.4, retention(hit@10) >= 0.3]}\n"


def text(repository):
    return (repository.path / "thresholds.yaml").read_text()


def changes(before, after):
    diff = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    gone, come = ([line[2:] for line in diff if line.startswith(sign)] for sign in "-+")
    return gone, come


def updates(repository):
    return repository.results()["followup"]["updates"]


def own(repository, *numbers):
    """Restrict the bounds to the reference encoder, and replace their numbers."""
    repository.edit("{level: 0,", "{model: phantom, level: 0,")
    repository.edit("{level: 0.3,", "{model: phantom, level: 0.3,")
    for before, after in numbers:
        repository.edit(before, after)


# --- written bounds ---------------------------------------------------


def test_new_adds_what_is_missing_and_the_next_run_passes(small):
    small.edit(CLEAN, "  # Clean images come later.\n")
    before = text(small)
    outcome = run(small, "--robustness-update=new")
    assert outcome.ret == 1
    assert agreed(small, outcome).reason == "no_bound", "the verdict uses the old bounds"
    assert "bounds written: 1, LOOSENED: 0, refused: 0" in said(outcome)
    assert "this verdict is by the old bounds; the next run uses the new ones" in said(outcome)
    gone, (comment, rule) = changes(before, text(small))
    assert not gone, "all lines are unchanged"
    assert re.fullmatch(
        r"  # --robustness-update \d{4}-\d\d-\d\d: hit@10 [\d.]+ \[.*\], n = \d+, weights \w{12}",
        comment,
    )
    found = re.fullmatch(
        r"  - \{model: phantom, evalset: phantom, pattern: square, level: 0,"
        r" require: \[hit@10 >= (.*)\]\}",
        rule,
    )
    weights = small.results()["protocol"]["models"][0]["details"]["weights_sha256"]
    assert comment.endswith(weights[:12])
    assert 0.8 < float(found[1]) < 0.99, "lower end of the interval minus the slack"
    (update,) = updates(small)
    assert f"phantom, square, level 0 now requires hit@10 >= {found[1]}" in update["text"]
    again = small.gate("--robustness-update=new")
    assert again.ret == 0
    assert not updates(small)
    assert "\nbounds written: 0 (every measurement has a bound)\n" in said(again)
    assert "bounds written" not in said(small.gate())


def test_all_replaces_the_numbers_only(small):
    own(small, ("  - {model: phantom, level: 0,", "  # Ours.\n  - {model: phantom, level: 0,"))
    before = text(small)
    outcome = run(small, "--robustness-update=all")
    assert outcome.ret == 0
    assert agreed(small, outcome).verdict == "pass"
    assert "bounds written: 3, LOOSENED: 0, refused: 0" in said(outcome)
    gone, come = changes(before, text(small))
    assert gone == [line.replace("{", "{model: phantom, ", 1).rstrip() for line in (CLEAN, HIDDEN)]
    assert [line.lstrip()[0] for line in come] == ["#", "-", "#", "-"]
    assert "  # Ours.\n" in text(small)
    for update in updates(small):
        assert re.match(
            r"thresholds.yaml:1[1-3]: (\S+) >= [\d.]+ -> \1 >= [\d.]+ \(observed", update["text"]
        )
    assert small.gate().ret == 0


def test_loosened_bounds_are_reported_everywhere(small, worse):
    """Otherwise the option would silently accept a worse model."""
    own(small, ("hit@10 >= 0.5", "hit@10 >= 0.99"))
    outcome = run(small, "--robustness-update=all", worse)
    assert outcome.ret == 1
    assert agreed(small, outcome).reason == "bound_missed"
    update, other = [update for update in updates(small) if update["loosened"]]
    assert re.match(
        r"thresholds.yaml:10: LOOSENED hit@10 >= 0.99 -> hit@10 >= 0.[78]\d* \(observed hit@10 0.9",
        update["text"],
    )
    terminal = said(outcome).splitlines()
    (place,) = [i for i, line in enumerate(terminal) if line.startswith("bounds written: ")]
    assert "LOOSENED: 2" in terminal[place]
    told = [f"  {each['text']}" for each in (update, other)]
    assert terminal[place + 2 : place + 4] == told, "loosened bounds come first"
    page = (small.path / ".robustness/report/report.html").read_text("utf-8")
    assert "LOOSENED hit@10 &gt;= 0.99 -&gt; hit@10" in page
    (told,) = suite(small).findall(".//property[@name='robustness_bounds_loosened']")
    assert told.get("value") == "2"
    assert small.gate(worse).ret == 0


@pytest.mark.slow
def test_workers_write_the_same(small, pytester):
    small.edit(CLEAN, "")
    before = text(small)
    small.gate("--robustness-update=new", "-k", "occlusion")
    expected = text(small)
    assert expected != before
    (small.path / "thresholds.yaml").write_text(before)
    small.gate("--robustness-update=new", "-k", "occlusion", "-n", "2", run=pytester.runpytest)
    assert small.results()["timing"]["processes"] == 2
    assert text(small) == expected


def test_new_bounds_do_not_replace_an_existing_one(small):
    """Three of four measurements have no bound; a rule for all would loosen the fourth."""
    small.edit("fills: [black]", "fills: [black, grey]")
    small.edit(
        CLEAN,
        "  - {level: 0, fill: black, direction: image_to_report, require: [hit@10 >= 0.999]}\n",
    )
    small.gate("--robustness-update=new", "-k", "square-0")
    _, come = changes("", text(small))
    rules = [line for line in come if "evalset: phantom, pattern: square, level: 0," in line]
    assert [re.search(r"level: 0, (.*), require", rule)[1] for rule in rules] == [
        "fill: [black], direction: [report_to_image]",
        "fill: [grey]",
    ]
    small.gate("-k", "square-0")
    bounds = {
        (case["fill"], case["direction"]): [bound["limit"] for bound in case["bounds"]]
        for case in small.results()["measurements"]
        if case["level"] == 0
    }
    assert bounds["black", "image_to_report"] == [0.999]
    assert all(len(limits) == 1 for limits in bounds.values())


def test_a_link_stays_a_link(small):
    file = small.path / "thresholds.yaml"
    small.edit(CLEAN, "")
    (small.path / "real.yaml").write_text(file.read_text())
    file.unlink()
    file.symlink_to("real.yaml")
    small.gate("--robustness-update=new", "-k", "square-0")
    assert file.is_symlink()
    assert "--robustness-update" in (small.path / "real.yaml").read_text()


def test_line_ends_stay_as_they_are(small):
    file = small.path / "thresholds.yaml"
    small.edit(CLEAN, "")
    ends = file.read_text().count("\n")
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    small.gate("--robustness-update=new", "-k", "square-0")
    raw = file.read_bytes()
    assert raw.count(b"\r\n") == raw.count(b"\n") == ends + 2


# --- bounds that are not written -----------------------------------------------------------------


def test_a_bound_indistinguishable_from_chance_is_refused(small):
    noisy(small.path / "noisy.safetensors", 1.5)
    own(small)
    before = text(small)
    weights = "--robustness-weights=phantom=noisy.safetensors"
    outcome = small.gate("--robustness-update=all", weights, "-k", "occlusion")
    assert outcome.ret == 1
    assert text(small) == before
    assert "bounds written: 0, LOOSENED: 0, refused: 3" in said(outcome)
    assert not any(update["done"] for update in updates(small))
    first = updates(small)[0]["text"]
    assert first.startswith("thresholds.yaml:10: hit@10 >= 0.5 is unchanged: ")
    assert "would need n = " in first or "at any number of queries" in first
    assert f"  {first}" in said(outcome).splitlines()


def test_a_case_that_was_not_run_gets_none(small):
    small.edit(CLEAN, "")
    small.edit(HIDDEN, "  - {level: 0.3, fill: black, require: [hit@1 >= 0]}\n")
    small.edit("fills: [black]", "fills: [black, grey]")
    small.gate("--robustness-update=new", "-k", "square-0")
    assert [update["text"].partition(" now")[0] for update in updates(small)] == [
        "phantom, square, level 0"
    ]
    assert "level: 0.3, fill: [grey]" not in text(small)


def test_a_model_that_could_not_be_measured_gets_none(changed):
    changed.edit(CLEAN, "")
    changed.edit(
        "phantom: {loader: robustness.models.phantom:load}", "broken: {loader: my_models:nan}"
    )
    before = text(changed)
    outcome = changed.gate("--robustness-update=new", "-k", "occlusion")
    assert outcome.ret == 1
    assert_no_traceback(said(outcome))
    assert text(changed) == before
    assert changed.results()["followup"] == NOTHING | {"unwritten": "nothing was measured"}
    assert "bounds written: 0 (nothing was measured)" in said(outcome)


def test_a_model_named_by_its_loader_alone_gets_none(small):
    own(small)
    before = text(small)
    model = "--robustness-models=robustness.models.phantom:load"
    outcome = small.gate(model, "--robustness-update=new", "-k", "occlusion")
    assert outcome.ret == 1
    assert small.results()["reason"] == "no_bound"
    assert text(small) == before
    for update in updates(small):
        assert not update["done"]
        assert (
            "thresholds.yaml has no model 'robustness.models.phantom:load';"
            " name it under models first"
        ) in update["text"]
    assert len(updates(small)) == 2


def test_a_run_that_is_interrupted_writes_nothing(small):
    small.edit(CLEAN, "")
    before = text(small)
    with (small.path / "test_release.py").open("a") as file:
        file.write("\nimport pytest\n@pytest.mark.robustness\ndef test_zz():\n")
        file.write("    raise KeyboardInterrupt\n")
    outcome = run(small, "--robustness-update=new")
    assert outcome.ret == 2
    assert text(small) == before
    assert small.results()["followup"]["problems"] == [
        "no bound is written: the run was interrupted; run it to its end"
    ]


# --- files that cannot be written ----------------------------------------------------------------


@pytest.mark.parametrize("how", ["disk", "mode"])
def test_a_file_that_cannot_be_written_fails_a_run_that_passed(small, monkeypatch, how):
    """A read-only file in a writable folder could be replaced, but is not."""

    def full(*_):
        raise OSError(28, "No space left on device")

    if how == "disk":
        monkeypatch.setattr("robustness.results.after_run.write_whole", full)
    else:
        monkeypatch.setattr("robustness.results.after_run.os.access", lambda path, mode: False)
    own(small)
    before = text(small)
    outcome = run(small, "--robustness-update=all")
    assert outcome.ret == 1
    verdict = agreed(small, outcome)
    assert verdict.reason == "update_failed"
    why = {"disk": "No space left on device", "mode": "Permission denied"}[how]
    assert f"thresholds.yaml cannot be written: {why}; nothing was changed" in verdict.message
    assert text(small) == before
    assert f"not done: {verdict.message}" in said(outcome)


@pytest.mark.parametrize(
    ("pattern", "replaced"), [(">= 0.4,", ">= 0.45,"), ("bounds:", "bound:"), ("version: 1", "[")]
)
def test_a_file_changed_during_the_run_is_not_overwritten(small, pattern, replaced):
    own(small)
    (small.path / "conftest.py").write_text(
        "from pathlib import Path\n"
        "def pytest_runtest_teardown(item):\n"
        "    file = Path('thresholds.yaml')\n"
        f"    file.write_text(file.read_text().replace({pattern!r}, {replaced!r}))\n"
    )
    outcome = small.gate("--robustness-update=all", "-k", "square-30")
    assert outcome.ret == 1
    assert_no_traceback(said(outcome))
    followup = small.results()["followup"]
    assert len(followup["problems"]) == 1
    assert not followup["updates"]
    assert "--robustness-update" not in text(small)


def test_an_invalid_value(small):
    outcome = small.gate("--robustness-update=some")
    assert outcome.ret == 4
    assert re.search(r"--robustness-update: invalid choice: 'some'.*new.*all", said(outcome))
