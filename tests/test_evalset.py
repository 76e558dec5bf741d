"""Evaluation sets: values, texts, decoding, the Indiana collection."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage

from robustness import evalset
from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset import EvaluationSet, Exclusion, Pair, Report, match, normalise, read_image


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


def test_an_empty_set_says_what_was_left_out():
    excluded = (Exclusion("a", "no report"), Exclusion("b", "no report"))
    with pytest.raises(EvaluationSetError, match=r"'x' is empty.*excluded: 2 no report"):
        EvaluationSet("x", (), blank, excluded)


def test_an_image_id_that_stands_twice_is_named_with_its_row():
    with pytest.raises(EvaluationSetError, match="image id 'a' stands twice, .* in row 3"):
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


def test_the_fingerprint_tells_where_one_part_ends():
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
    with pytest.raises(ValueError, match="unknown policy of positives 'all'; there are identical"):
        match(TEXTS, STUDIES, "all")


# --- decoding ------------------------------------------------------------------------


def test_greyscale_is_taken_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)
    PilImage.fromarray(pixels).save(tmp_path / "x.png")
    assert (read_image(tmp_path / "x.png") == pixels).all()


def test_colour_becomes_luma(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    PilImage.fromarray(pixels).save(tmp_path / "x.png")
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_image(tmp_path / "x.png") - luma).max() <= 1


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    pixels = np.linspace(100, 4095, 64).astype(np.uint16).reshape(8, 8)
    PilImage.fromarray(pixels).save(tmp_path / "x.png")
    decoded = read_image(tmp_path / "x.png")
    expected = (pixels.astype(float) - 100) / (4095 - 100) * 255
    assert decoded.dtype == np.uint8
    assert np.abs(decoded - expected).max() <= 0.5 + 1e-9


def test_a_flat_sixteen_bit_image_is_black(tmp_path):
    PilImage.fromarray(np.full((4, 4), 700, np.uint16)).save(tmp_path / "x.png")
    assert (read_image(tmp_path / "x.png") == 0).all()


def test_files_that_cannot_be_decoded_are_named(tmp_path, monkeypatch):
    whole = tmp_path / "whole.jpg"
    PilImage.fromarray(np.zeros((64, 64), np.uint8)).save(whole)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(whole.read_bytes()[:200])
    text = tmp_path / "text.png"
    text.write_text("no picture")
    for path, message in [
        (broken, "cannot be decoded"),
        (text, "is in no format that can be read"),
        (tmp_path / "none.png", "does not exist"),
        (tmp_path, "cannot be decoded"),
    ]:
        with pytest.raises(EvaluationSetError, match=message) as caught:
            read_image(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(PilImage, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(EvaluationSetError, match="decompression bomb"):
        read_image(whole)


# --- the Indiana collection ------------------------------------------------------------


@pytest.fixture(scope="module")
def sample(open_i):
    return evalset.load(f"open_i:{open_i}")


def test_open_i_counts_equal_an_independent_count(open_i, sample):
    roots = [ET.parse(path).getroot() for path in (open_i / "ecgen-radiology").glob("*.xml")]
    studies = {root.find("uId").get("id") for root in roots}
    images = {image.get("id") for root in roots for image in root.iter("parentImage")}
    assert len(studies) == 678
    kept = {p.study_id for p in sample.pairs}
    without = {e.item for e in sample.excluded if e.reason == "study without a frontal view"}
    assert kept | without == studies
    assert not kept & without
    other = [e.item for e in sample.excluded if e.reason.startswith("lateral")]
    assert len(other) == len(set(other))
    assert {p.image_id for p in sample.pairs} <= images
    assert set(other) <= images
    assert set(sample.excluded_by_reason) == {e.reason for e in sample.excluded}
    assert len(kept) == len(sample) >= 640


def test_open_i_reports_are_those_of_the_file(open_i, sample):
    for p in sample.pairs[::50]:
        path = open_i / "ecgen-radiology" / f"{p.study_id.removeprefix('CXR')}.xml"
        texts = {
            a.get("Label"): a.text or "" for a in ET.parse(path).getroot().iter("AbstractText")
        }
        assert p.report.findings == " ".join(texts["FINDINGS"].split())
        assert p.report.impression == " ".join(texts["IMPRESSION"].split())
        with PilImage.open(open_i / "images" / f"{p.image_id}.jpg") as image:
            expected = np.asarray(image.convert("L"))
        assert (sample.decode(p) == expected).all()


def test_open_i_reports_repeat(sample):
    texts = Counter(normalise(p.report.text(("findings", "impression"))) for p in sample.pairs)
    assert max(texts.values()) > 1


@pytest.mark.parametrize(
    ("image", "frontal"),
    [
        ("CXR1_1_IM-0001-3001", False),
        ("CXR1_1_IM-0001-4001", True),
        ("CXR10_IM-0002-1001", False),
        ("CXR10_IM-0002-2001", True),
        ("CXR101_IM-0011-2001", False),
        ("CXR102_IM-0016-1001", True),
    ],
)
def test_frontal_views_are_told_from_lateral_ones(open_i, image, frontal):
    """Labelled by eye."""
    from robustness.evalset._view import FRONTAL, frontal_score

    score = frontal_score(read_image(open_i / "images" / f"{image}.jpg"))
    assert (score >= FRONTAL) == frontal


def write_study(root, number, *, sections, images, extra=""):
    texts = "".join(f'<AbstractText Label="{k}">{v}</AbstractText>' for k, v in sections.items())
    named = "".join(f'<parentImage id="{image}"/>' for image in images)
    (root / "ecgen-radiology").mkdir(parents=True, exist_ok=True)
    path = root / "ecgen-radiology" / f"{number}.xml"
    path.write_text(f'<eCitation><uId id="CXR{number}"/>{texts}{named}{extra}</eCitation>')
    return path


def write_image(root, name, pixels):
    (root / "images").mkdir(exist_ok=True)
    PilImage.fromarray(pixels).save(root / "images" / f"{name}.png")


def frontal_like():
    row = np.full(64, 40, np.uint8)
    row[28:36] = 220
    row[:8] = row[-8:] = 150
    return np.tile(row, (64, 1))


def lateral_like():
    return np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))


def test_exclusions_are_counted_by_reason(tmp_path):
    write_image(tmp_path, "front", frontal_like())
    write_image(tmp_path, "side", lateral_like())
    write_image(tmp_path, "other-side", lateral_like())
    said = {"FINDINGS": "Clear.", "IMPRESSION": ""}
    write_study(tmp_path, 1, sections=said, images=["side", "front"])
    write_study(tmp_path, 2, sections={"FINDINGS": " ", "IMPRESSION": ""}, images=["front"])
    write_study(tmp_path, 3, sections=said, images=[])
    write_study(tmp_path, 4, sections=said, images=["other-side"])
    loaded = evalset.load(f"open_i:{tmp_path}")
    assert [p.image_id for p in loaded.pairs] == ["front"]
    assert loaded.excluded_by_reason == {
        "lateral, or not the most frontal of its study": 1,
        "no findings and no impression": 1,
        "no image named in the report": 1,
        "study without a frontal view": 1,
    }


def test_broken_collections_are_named(tmp_path):
    said = {"FINDINGS": "Clear."}
    with pytest.raises(UsageError, match="no folder .*ecgen-radiology; name the folder"):
        evalset.load(f"open_i:{tmp_path}")
    with pytest.raises(UsageError, match="name the folder that holds"):
        evalset.load("open_i:")
    (tmp_path / "ecgen-radiology").mkdir()
    with pytest.raises(EvaluationSetError, match="is empty"):
        evalset.load(f"open_i:{tmp_path}")
    path = write_study(tmp_path, 1, sections=said, images=["gone"])
    with pytest.raises(EvaluationSetError, match=r"gone\{.*\} does not exist; report .*1\.xml"):
        evalset.load(f"open_i:{tmp_path}")
    write_study(tmp_path, 1, sections=said, images=["../../secret"])
    with pytest.raises(EvaluationSetError, match=r"names image '../../secret', which is no file"):
        evalset.load(f"open_i:{tmp_path}")
    path.write_text("<eCitation><uId")
    with pytest.raises(EvaluationSetError, match=r"1\.xml is not well-formed XML"):
        evalset.load(f"open_i:{tmp_path}")
    path.write_text('<!DOCTYPE x [<!ENTITY a "b">]><eCitation/>')
    with pytest.raises(EvaluationSetError, match="declares XML entities"):
        evalset.load(f"open_i:{tmp_path}")
    path.write_text("<eCitation/>")
    with pytest.raises(EvaluationSetError, match="has no uId element"):
        evalset.load(f"open_i:{tmp_path}")
