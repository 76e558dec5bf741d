"""Evaluation sets: values, texts, decoding."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage
from support import mimic_tree
from support.open_i_files import frontal_like, write_image, write_study

from robustness import evalset
from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset import EvaluationSet, Exclusion, Pair, Report, match, normalise
from robustness.evalset._files import FileDecoder, digests


def pair(name="a", findings="Clear.", **changes):
    made = Pair(name, f"study-{name}", f"patient-{name}", "PA", Report(findings=findings), "0")
    return replace(made, **changes)


def blank(_pair):
    return np.zeros((4, 4), np.uint8)


# --- values --------------------------------------------------------------------------


def test_report_text_joins_the_sections_that_there_are():
    report = Report(findings=" Clear lungs. ", impression="Normal.", indication="")
    assert report.text(("findings", "impression")) == "Clear lungs. Normal."
    assert report.text(("impression", "indication")) == "Normal."
    with pytest.raises(ValueError, match="unknown report section 'history'"):
        report.text(("history",))


def test_empty_set_error_lists_exclusion_reasons():
    excluded = (Exclusion("a", "no report"), Exclusion("b", "no report"))
    with pytest.raises(EvaluationSetError, match=r"'x' is empty.*excluded: 2 no report"):
        EvaluationSet("x", (), blank, excluded)


def test_duplicate_image_id_is_named_with_its_row():
    with pytest.raises(EvaluationSetError, match="duplicate image id 'a' in row 3"):
        EvaluationSet("x", (pair("a"), pair("b"), pair("a")), blank)


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": "z"},
        {"study_id": "z"},
        {"patient_id": "z"},
        {"view": "AP"},
        {"digest": "1"},
        {"report": Report(findings="Other.")},
        {"report": Report(impression="Clear.")},
    ],
)
def test_the_fingerprint_covers_every_part(change):
    first = EvaluationSet("x", (pair("a"), pair("b")), blank)
    second = EvaluationSet("x", (pair("a"), replace(pair("b"), **change)), blank)
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == EvaluationSet("y", (pair("a"), pair("b")), blank).fingerprint


def test_fingerprint_separates_adjacent_parts():
    first = EvaluationSet("x", (pair("a", view="bc", digest="d"),), blank)
    second = EvaluationSet("x", (pair("a", view="b", digest="cd"),), blank)
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize("spec", ["", "chest:5", "Phantom:4", "open-i:x"])
def test_unknown_kinds_are_named(spec):
    with pytest.raises(UsageError, match="unknown evaluation set .*; allowed are phantom:N"):
        evalset.load(spec)


# --- texts ---------------------------------------------------------------------------


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


def test_texts_that_differ_in_case_and_space_are_one():
    assert normalise(" No  acute\nprocess. ") == normalise("no ACUTE process.")
    assert normalise("no acute process") != normalise("acute process")


TEXTS = ["Normal.", "Mass.", "normal.", "Nodule.", "NORMAL."]
STUDIES = ["s1", "s2", "s3", "s4", "s1"]


@pytest.mark.parametrize(
    ("policy", "of_image", "images"),
    [
        ("identical_text", [0, 1, 0, 2, 0], [[0, 2, 4], [1], [3]]),
        ("pair", [0, 1, 2, 3, 4], [[0], [1], [2], [3], [4]]),
        ("study", [0, 1, 2, 3, 0], [[0, 4], [1], [2], [3]]),
    ],
)
def test_policies_of_positives(policy, of_image, images):
    matching = match(TEXTS, STUDIES, policy)
    assert matching.text_of_image.tolist() == of_image
    assert [right.tolist() for right in matching.reports_of_image] == [[i] for i in of_image]
    assert [sorted(right.tolist()) for right in matching.images_of_report] == images
    assert len(matching.texts) == len(images)
    assert all(matching.texts[i] in TEXTS for i in range(len(images)))


def test_an_unknown_policy_is_named():
    with pytest.raises(
        ValueError, match="unknown policy of positives 'all'; allowed are identical"
    ):
        match(TEXTS, STUDIES, "all")


@pytest.mark.parametrize("same_time", [False, True])
def test_an_image_file_that_changes_after_the_set_was_loaded(tmp_path, same_time):
    """Detected even if size and modification time are unchanged, as after rsync."""
    path = tmp_path / "a.bmp"
    PilImage.new("L", (8, 6), 7).save(path)
    before = path.stat()
    decode = FileDecoder({"a": path}, None)
    (digest,) = digests([path], None)
    assert (decode(pair("a", digest=digest)) == 7).all()
    PilImage.new("L", (8, 6), 8).save(path)
    if same_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    with pytest.raises(EvaluationSetError, match=r"a\.bmp changed while the gate ran") as caught:
        decode(pair("a", digest=digest))
    assert caught.value.code == "evalset_changed"


@pytest.mark.parametrize("kind", ["open_i", "mimic_cxr"])
def test_an_image_file_that_changes_as_soon_as_it_is_hashed(tmp_path, monkeypatch, kind):
    """The new content is never stored under the digest of the old."""
    if kind == "open_i":
        write_study(tmp_path, 1, images=["CXR1_1"])
        write_image(tmp_path, "CXR1_1.png", frontal_like(0))
    else:
        tree = mimic_tree.build(tmp_path, studies=13, drawn=2)
        mimic_tree.put_reports(tree.root, tree)
    module = import_module(f"robustness.evalset.{kind}")

    def digests_then_change(paths, side):
        result = digests(paths, side)
        for path in paths:
            PilImage.new("L", (8, 6), 8).save(path)
        return result

    monkeypatch.setattr(module, "digests", digests_then_change)
    loaded = evalset.load(f"{kind}:{tmp_path}" + ",split=all" * (kind == "mimic_cxr"))
    with pytest.raises(EvaluationSetError, match="changed while the gate ran"):
        loaded.decode(loaded.pairs[0])
