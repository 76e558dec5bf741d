"""``python -m robustness evalset``: text that agrees with the JSON, and broken images."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage
from support.table_files import pixels, write_rows

from robustness import evalset
from robustness.__main__ import main
from robustness._util.text import columns, fit
from robustness.cli.evalset import MAX_WIDTH, MIN_WIDTH
from robustness.cli.evalset_describe import describe
from robustness.cli.evalset_text import MAX_LABELS, MAX_UNREAD, text
from robustness.errors import EvaluationSetError
from robustness.evalset import EvaluationSet, Exclusion, Pair, Report, Unread

WORDS = ["reports", "min", "median", "mean", "p95", "max"]


def pair(image, *, labels=None, view="", **sections):
    return Pair(image, image, image, view, Report(**sections), "0", labels)


def made(*pairs, excluded=(), unread=()):
    return EvaluationSet("x", pairs, lambda _: np.zeros((4, 4), np.uint8), excluded, unread)


# --- the text ----------------------------------------------------------------------------


def rows_of(lines):
    """Return the numbers of each row by its label."""
    found = {}
    for line in lines:
        name, *numbers = re.split(r"  +", line.strip())
        found.setdefault(name, [n.removesuffix(" %") for n in numbers])
    return found


@pytest.mark.parametrize("spec", ["phantom:96", "open_i"])
def test_the_text_agrees_with_the_json(spec, open_i, store, capsys):
    spec = f"open_i:{open_i}" if spec == "open_i" else spec
    assert main(["evalset", spec, "--json", "--store", str(store)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main(["evalset", spec, "--store", str(store)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= MAX_WIDTH
    rows = rows_of(lines)
    assert lines[0] == f"evaluation set {spec}"
    assert lines[1] == f"fingerprint {told['fingerprint']}"
    for name in ("studies", "images", "patients"):
        assert rows[name] == [str(told[name])]
    for view, count in told["views"].items():
        assert rows[view] == [str(count)]
    for reason, count in told["excluded"].items():
        assert rows[reason] == [str(count)]
    assert ("excluded: none" in lines) == (not told["excluded"])
    for name, key in (
        ("distinct texts", "distinct_texts"),
        ("same text as another study", "repeated_reports"),
    ):
        assert rows[name] == [str(told[key]), f"{100 * told[key] / told['reports']:.1f}"]
    assert rows["reports (findings and impression)"] == [str(told["reports"]), "share"]
    for each in told["frequent_texts"]:
        shown = [n for n in rows if each["text"].startswith(n.removesuffix("…")) and len(n) > 20]
        assert rows[shown[0]] == [str(each["reports"])]
    for section, each in told["length"].items():
        expected = [each[key] for key in WORDS]
        shown = [
            "-" if v is None else str(v) if isinstance(v, int) else f"{v:.1f}" for v in expected
        ]
        assert rows[section.replace("+", " and ")] == shown
    for name, each in list(told["labels"].items())[:MAX_LABELS]:
        assert rows[name] == [str(each["count"]), f"{100 * each['fraction']:.1f}"]
    more = len(told["labels"]) - MAX_LABELS
    assert any(line.startswith(f"  and {more} rarer labels") for line in lines) == (more > 0)
    assert rows["labelled"] == [str(told["labelled"])]
    assert rows["without findings"][0] == str(told["without_findings"])
    assert rows["distinct label sets"] == [str(told["label_sets"])]
    assert rows["not labelled"] == [str(told["without_labels"])]


def test_numbers_are_aligned():
    many = [pair(str(i), view="PA", findings=f"text {i}") for i in range(120)]
    lines = text(describe(made(*many, pair("a", view="lateral", findings="x"))), MAX_WIDTH)
    at = lines.index(next(line for line in lines if line.startswith("views")))
    assert lines[at : at + 3] == ["views      images", "  PA          120", "  lateral       1"]


def test_a_set_without_labels_says_so():
    lines = text(describe(made(pair("a", findings="x"))), MAX_WIDTH)
    assert "labels: none" in lines
    assert "repeated texts: none" in lines
    assert "  (not stated)       1" in lines
    labelled = text(describe(made(pair("a", findings="x", labels=frozenset()))), MAX_WIDTH)
    assert "labels: none" not in labelled
    assert rows_of(labelled)["without findings"] == ["1", "100.0"]


@given(st.text(max_size=300), st.text(max_size=90), st.integers(MIN_WIDTH, MAX_WIDTH))
def test_no_text_widens_or_breaks_a_line(long, label, width):
    pairs = [pair(i, view=long, findings=long, labels=frozenset({label})) for i in "ab"]
    unread = (Unread(long), Unread(f"{label} ", "study"))
    told = describe(made(*pairs, excluded=[Exclusion("a", long)], unread=unread))
    for line in text(told, width):
        assert columns(line) <= width
        assert line.isprintable()


def test_wide_letters_take_two_columns():
    assert fit("正常な胸部X線写真", 9) == "正常な胸…"
    assert columns("正常な胸…") == 9
    assert fit("ab\x1b[2Jc\n", 20) == "ab\N{REPLACEMENT CHARACTER}[2Jc\N{REPLACEMENT CHARACTER}"


def test_unread_columns_are_listed_spelling_mistakes_first():
    near = (Unread("patient_id", "patient"), Unread("Stduy", "study"))
    several = (Unread("split"), near[0], Unread("\x1b[2J"), near[1])
    lines = text(describe(made(pair("a", findings="x"), unread=several)), MAX_WIDTH)
    at = lines.index("columns not read: 4")
    assert lines[at : at + 6] == [
        "columns not read: 4",
        "  patient_id - did you mean 'patient'?",
        "  Stduy - did you mean 'study'?",
        "  split",
        "  \N{REPLACEMENT CHARACTER}[2J",
        "",
    ]
    many = (*(Unread(f"c{i}") for i in range(MAX_UNREAD + 1)), Unread("x" * 300, "view"))
    lines = text(describe(made(pair("a", findings="x"), unread=many)), MIN_WIDTH)
    at = lines.index(f"columns not read: {MAX_UNREAD + 2}")
    assert lines[at + 1] == f"  {'x' * 29}… - did you mean 'view'?"
    assert lines[at + MAX_UNREAD + 1] == "  and 2 more; --json lists all"
    assert "columns not read" not in "".join(
        text(describe(made(pair("a", findings="x"))), MAX_WIDTH)
    )


# --- every image, decoded ----------------------------------------------------------------


@pytest.fixture
def partly_broken(tmp_path):
    """Write a table of 600 images, one of them truncated and one not an image."""
    for i in range(600):
        PilImage.fromarray(pixels(i)).save(tmp_path / f"{i}.png")
    whole = (tmp_path / "7.png").read_bytes()
    (tmp_path / "7.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "300.png").write_bytes(b"no image")
    rows = [[f"{i}.png", f"Report {i}."] for i in range(600)]
    return write_rows(tmp_path / "set.csv", ["image", "report"], *rows)


def test_every_image_that_cannot_be_decoded_is_listed(partly_broken, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    spec = f"manifest:{partly_broken}"
    assert main(["evalset", spec]) == 0
    plain = capsys.readouterr().out
    assert main(["evalset", spec, "--decode"]) == 1
    out, err = capsys.readouterr()
    assert not err
    assert out.startswith(plain)
    first, *reasons = out[len(plain) :].strip().splitlines()
    assert first == "images that cannot be decoded: 2 of 600"
    loaded = evalset.load(spec)
    for pair_, reason in zip((loaded.pairs[7], loaded.pairs[300]), reasons, strict=True):
        with pytest.raises(EvaluationSetError) as caught:
            loaded.decode(pair_)
        assert reason == f"  {caught.value}"
        assert str(tmp_path / pair_.image_id) in reason
    assert main(["evalset", spec, "--decode", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert list(told["not_decoded"]) == ["7.png", "300.png"]
    assert [f"  {reason}" for reason in told["not_decoded"].values()] == reasons
    assert sorted(tmp_path.iterdir()) == before, "nothing is written"


def test_a_set_without_broken_images_is_reported(capsys):
    assert main(["evalset", "phantom:3", "--decode"]) == 0
    assert capsys.readouterr().out.endswith("\n\nimages that cannot be decoded: none of 3\n")
    assert main(["evalset", "phantom:3", "--decode", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["not_decoded"] == {}


def test_a_set_with_broken_images_is_not_drawn(partly_broken, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    drawing = ["--contact-sheet", str(sheet), "--images", "2"]
    command = ["evalset", f"manifest:{partly_broken}", *drawing]
    assert main([*command, "--decode"]) == 1
    assert capsys.readouterr().err == (
        f"contact sheet {sheet} was not written: 2 images cannot be decoded\n"
    )
    assert not sheet.exists()
    assert main(["evalset", "phantom:3", "--decode", "--contact-sheet", str(sheet)]) == 0
    assert sheet.exists()


def test_progress_advances_with_every_image_and_all_cores_decode():
    from threading import Barrier

    from robustness._util.environment import cores
    from robustness.cli.evalset import MAX_PENDING, undecodable

    together = Barrier(cores(), timeout=60)
    loaded = made(*(pair(str(i), findings="x") for i in range(MAX_PENDING // cores() * cores())))

    def decode(own):
        together.wait()
        if own.image_id == "5":
            raise EvaluationSetError("five")

    told = []
    loaded = EvaluationSet("x", loaded.pairs, decode)
    assert undecodable(loaded, told.append) == {"5": "five"}
    assert sum(told) == len(loaded)


# --- the cache of views ----------------------------------------------------------------


def test_a_store_error_names_the_option_of_this_command(tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert main(["evalset", "phantom:1", "--store", str(tmp_path / "file")]) == 1
    message = capsys.readouterr().err
    assert "cannot be used" in message
    assert message.endswith("with --store\n")


def test_a_store_is_used_if_it_is_named_or_exists(tmp_path, open_i, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = []

    def load(spec, *, remember):
        remember({"what": "test"}, lambda: asked.append(spec) or {"a": np.zeros(1)})
        return made(pair("a", findings="x"))

    monkeypatch.setattr(evalset, "load", load)
    command = ["evalset", "phantom:1"]
    for _ in range(2):
        assert main(command) == 0
    assert len(asked) == 2
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        assert main([*command, "--store", "kept"]) == 0
    assert len(asked) == 3
    (tmp_path / ".robustness" / "store").mkdir(parents=True)
    for _ in range(2):
        assert main(command) == 0
    assert len(asked) == 4
