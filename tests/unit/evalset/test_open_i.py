"""The Indiana collection: texts, labels, layouts and exclusions."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage
from support.open_i_files import (
    frontal_like,
    images_named,
    lateral_like,
    read_texts,
    reasons,
    remember,
    section_of,
    write_dicom,
    write_image,
    write_study,
)

from robustness import evalset
from robustness.errors import EvaluationSetError
from robustness.evalset import normalise
from robustness.evalset.open_i._layout import key

# --- the sample, against an independent reading ---------------------------------------------


@pytest.fixture(scope="module")
def texts(open_i):
    return read_texts(open_i)


@pytest.fixture(scope="module")
def named(texts):
    """The images of each study."""
    return {study: images_named(text) for study, text in texts.items()}


@pytest.fixture(scope="module")
def sample(open_i):
    return evalset.load(f"open_i:{open_i}", remember=remember)


def test_all_views_include_every_image_of_the_sample(open_i, named):
    loaded = evalset.load(f"open_i:{open_i},view=all,images=all", remember=remember)
    assert [p.image_id for p in loaded.pairs] == [
        image for study in sorted(named, key=lambda s: int(s[3:])) for image in named[study]
    ]
    assert len(loaded) == len(list((open_i / "images").iterdir())) == 1303
    assert loaded.excluded == ()
    assert {p.study_id for p in loaded.pairs} == set(named)
    assert len(named) == 678


def test_repeated_reports_equal_an_independent_count(sample, texts):
    both = ("FINDINGS", "IMPRESSION")
    expected = Counter(
        " ".join(section_of(texts[p.study_id], label) for label in both).strip().lower()
        for p in sample.pairs
    )
    actual = Counter(normalise(p.report.text(("findings", "impression"))) for p in sample.pairs)
    assert sorted(actual.values()) == sorted(expected.values())
    assert max(actual.values()) > 1


def test_sections_and_pixels_match_the_files(open_i, sample, texts):
    for p in sample.pairs:
        for section in evalset.SECTIONS:
            assert getattr(p.report, section) == section_of(texts[p.study_id], section.upper())
    for p in sample.pairs[::50]:
        with PilImage.open(open_i / "images" / f"{p.image_id}.jpg") as image:
            image.draft("L", image.size)
            assert (sample.decode(p) == np.asarray(image.convert("L"))).all()


def test_labels_match_the_headings_of_the_file(sample, texts):
    ignored = {"no indexing", "technical quality of image unsatisfactory"}
    for p in sample.pairs:
        major = re.findall(r"<major>\s*([^/<]*?)\s*[/<]", texts[p.study_id])
        assert p.labels == (frozenset({h.lower() for h in major} - ignored) or None)
    assert any(p.labels == {"normal"} for p in sample.pairs)
    assert any(p.labels is None for p in sample.pairs)


# --- synthetic collections ------------------------------------------------------------------------


def test_every_exclusion_has_its_reason(tmp_path):
    for name in ("front", "front2", "of-2", "nobody"):
        write_image(tmp_path, f"{name}.png", frontal_like())
    for name in ("side", "other-side"):
        write_image(tmp_path, f"{name}.png", lateral_like())
    write_study(tmp_path, 1, images=["side", "front", "front2"])
    write_study(tmp_path, 2, sections={"FINDINGS": " ", "IMPRESSION": ""}, images=["of-2"])
    write_study(tmp_path, 3)
    write_study(tmp_path, 4, images=["other-side", "gone"])
    loaded = evalset.load(f"open_i:{tmp_path},missing=exclude")
    assert [(p.image_id, p.view) for p in loaded.pairs] == [("front", "frontal")]
    assert reasons(loaded) == {
        "side": "lateral view, by the image",
        "front2": "another image of the study is selected",
        "of-2": "image of a study that is excluded for its report",
        "CXR2": "study whose report has neither findings nor an impression",
        "CXR3": "study without an image",
        "other-side": "lateral view, by the image",
        "CXR4": "study without a frontal view",
        "gone": "image named by a report, file missing",
        "nobody.png": "image not named by any report",
    }
    lateral = evalset.load(f"open_i:{tmp_path},missing=exclude,view=lateral")
    assert [(p.image_id, p.view) for p in lateral.pairs] == [
        ("side", "lateral"),
        ("other-side", "lateral"),
    ]
    everything = evalset.load(f"open_i:{tmp_path},missing=exclude,view=all,images=all")
    assert [p.image_id for p in everything.pairs] == ["side", "front", "front2", "other-side"]


@pytest.mark.parametrize(
    ("majors", "labels"),
    [
        (["normal"], {"normal"}),
        (
            ["Opacity/lung/base", "Opacity/lung/apex", "Cardiomegaly/mild"],
            {"opacity", "cardiomegaly"},
        ),
        (["Subcutaneous  Emphysema"], {"subcutaneous emphysema"}),
        (["Technical Quality of Image Unsatisfactory ", "Lung/hypoinflation"], {"lung"}),
        (["Technical Quality of Image Unsatisfactory "], None),
        (["No Indexing"], None),
        ([" "], None),
        ([], None),
    ],
)
def test_labels_are_findings_of_the_patient(tmp_path, majors, labels):
    write_image(tmp_path, "front.png", frontal_like())
    major = "".join(f"<major>{value}</major>" for value in majors)
    extra = f"<MeSH>{major}<automatic>mass</automatic></MeSH>"
    write_study(tmp_path, 1, images=["front"], extra=extra)
    (pair,) = evalset.load(f"open_i:{tmp_path}").pairs
    assert pair.labels == labels


# --- layouts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reports", ["ecgen-radiology", "NLMCXR_reports/ecgen-radiology", "."])
@pytest.mark.parametrize(
    "image",
    [
        "images/CXR7_IM-0001-1001.png",
        "images/CXR7_IM-0001-1001.JPEG",
        "NLMCXR_png/CXR7_IM-0001-1001.png",
        "CXR7_IM-0001-1001.jpg",
        "images/7_IM-0001-1001.dcm.png",
        "NLMCXR_dcm/7/7_IM-0001-1001.dcm",
        "7/7_IM-0001-1001.dcm",
    ],
)
def test_every_layout_of_the_collection_is_read(tmp_path, reports, image):
    write_study(tmp_path, 7, images=["CXR7_IM-0001-1001"], folder=reports)
    if image.endswith(".dcm"):
        write_dicom(tmp_path / image, frontal_like())
    else:
        write_image(tmp_path, Path(image).name, frontal_like(), str(Path(image).parent))
    evalset.check_spec(f"open_i:{tmp_path}")
    loaded = evalset.load(f"open_i:{tmp_path}")
    assert [p.image_id for p in loaded.pairs] == ["CXR7_IM-0001-1001"]
    assert loaded.decode(loaded.pairs[0]).shape == (64, 64)


def test_all_names_of_an_image_have_the_same_key(named):
    images = [image for images in named.values() for image in images]
    assert len({key(image) for image in images}) == len(images) == 1303
    for image in images:
        dicom = re.sub(r"^CXR(\d+)_(\1_)?", r"\1_", image)
        assert key(dicom) == key(f"{dicom}.dcm") == key(image) == dicom


def test_a_png_file_takes_precedence_over_a_dicom_file(tmp_path):
    write_study(tmp_path, 7, images=["CXR7_IM-0001-1001"])
    write_image(tmp_path, "CXR7_IM-0001-1001.png", frontal_like())
    write_dicom(tmp_path / "images" / "7" / "7_IM-0001-1001.dcm", frontal_like()[:32])
    loaded = evalset.load(f"open_i:{tmp_path}")
    assert loaded.decode(loaded.pairs[0]).shape == (64, 64)
    again = write_image(tmp_path, "7_IM-0001-1001.png", frontal_like())
    with pytest.raises(
        EvaluationSetError, match="are files of the same image; remove one of them"
    ) as caught:
        evalset.load(f"open_i:{tmp_path}")
    assert str(again) in str(caught.value)
