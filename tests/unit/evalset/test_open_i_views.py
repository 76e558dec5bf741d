"""Views of the Indiana collection: score, projections table and DICOM header."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays
from PIL import Image as PilImage
from scipy.stats import rankdata
from support.open_i_files import (
    frontal_like,
    images_named,
    lateral_like,
    read_texts,
    reasons,
    remember,
    write_dicom,
    write_image,
    write_study,
    write_table,
)

from robustness import evalset
from robustness.errors import EvaluationSetError
from robustness.evalset import _view
from robustness.evalset.open_i import _views
from robustness.evalset.open_i._layout import key

FRONTAL_BY_EYE = int(
    "4d2a9aad55aa5b54b34aaad354d5aaad5546ab59aaaaaaa5c9a7b55acb352aa9d4c935775556aaaaad4d5555"
    "54d24ab55569aaaeaaaad555354d3356552d556aaaaaaaa9aaaa3552ad26b556aaad6aaaa6aaaaa29aa5566a"
    "9aaaf556a75532cd559ab5b6aaaaaa95555659aad589aaaaa69aaaaaaaad55553556aa6aaaad4d4aaaaaaaba"
    "6aaaaab33aa69b5ad532d5554b52aaab554cdd55e99aa9754ad5555955aa9a",
    16,
)
"""One bit per image, 1 if a reader labelled it frontal; the highest bit is the first id."""


@pytest.fixture(scope="module")
def named(open_i):
    """The images of each study."""
    return {study: images_named(text) for study, text in read_texts(open_i).items()}


@pytest.fixture(scope="module")
def sample(open_i):
    return evalset.load(f"open_i:{open_i}", remember=remember)


def reference_score(path):
    """Compute the score of ``_view`` independently, with loops, scipy's ranks and corrcoef."""
    with PilImage.open(path) as image:
        image.draft("L", image.size)
        small = image.convert("L").resize((32, 32), PilImage.Resampling.BOX)
    ranks = rankdata(np.asarray(small)).reshape(32, 32)
    symmetry = -1.0
    for shift in range(-4, 5):
        window = ranks[:28, max(0, shift) : 32 + min(0, shift)]
        flat = (window - window.mean(1, keepdims=True)).ravel()
        mirrored = (window[:, ::-1] - window.mean(1, keepdims=True)).ravel()
        symmetry = max(symmetry, np.corrcoef(flat, mirrored)[0, 1])
    profile = np.median(ranks[8:20], axis=0)
    middles = []
    for column in range(12, 21):
        darkest = [min(profile[column + k] for k in side) for side in (range(-9, -3), range(3, 9))]
        middles.append((profile[column - 1] + profile[column]) / 2 - max(darkest))
    return symmetry + max(middles) / ranks.std()


@pytest.fixture(scope="module")
def scores(open_i, named):
    images = [image for images in named.values() for image in images]
    return {image: reference_score(open_i / "images" / f"{image}.jpg") for image in images}


@pytest.fixture(scope="module")
def eye(scores):
    """1 for each image that a reader labelled frontal, else 0."""
    return {
        image: FRONTAL_BY_EYE >> bit & 1 for bit, image in enumerate(sorted(scores, reverse=True))
    }


def test_counts_by_reason_equal_an_independent_count(sample, named, scores):
    frontal = {image for image, score in scores.items() if score >= 1.85}
    chosen, reasons = {}, Counter()
    for study, images in named.items():
        best = max(images, key=scores.get)
        if best in frontal:
            chosen[study] = best
        else:
            reasons["study without a frontal view"] += 1
        reasons["lateral view, by the image"] += len(set(images) - frontal)
        reasons["another image of the study is selected"] += len((set(images) & frontal) - {best})
    assert {p.study_id: p.image_id for p in sample.pairs} == chosen
    assert sample.excluded_by_reason == dict(reasons)
    assert len(sample) + sum(reasons.values()) == 1303 + reasons["study without a frontal view"]


def test_errors_of_the_score_on_the_sample(scores, eye):
    assert sum(eye.values()) == 673
    selected = {image for image, score in scores.items() if score >= _view.FRONTAL}
    assert sum(not eye[image] for image in selected) == 1
    assert sum(eye[image] for image in set(eye) - selected) == 20


def test_no_lateral_image_of_the_sample_is_selected(sample, eye):
    assert all(eye[p.image_id] for p in sample.pairs)


def test_the_score_equals_a_reference(open_i, scores):
    for image in sorted(scores)[::40]:
        score = _view.frontal_score(evalset.read_image(open_i / "images" / f"{image}.jpg"))
        assert score == pytest.approx(scores[image], abs=1e-9)


@given(arrays.arrays(np.uint8, (32, 32)))
def test_a_mirrored_image_has_the_same_score(image):
    mirrored = np.ascontiguousarray(image[:, ::-1])
    assert _view.frontal_score(mirrored) == pytest.approx(_view.frontal_score(image), abs=1e-9)


def test_a_flat_image_is_not_frontal():
    assert _view.frontal_score(np.full((64, 64), 9, np.uint8)) < _view.FRONTAL


# --- the table and the header ----------------------------------------------------------------


@pytest.fixture
def linked(open_i, tmp_path):
    """The first studies of the sample in a folder without a table."""
    for folder in ("ecgen-radiology", "images"):
        (tmp_path / folder).mkdir()
    for number in range(1, 30):
        name = f"ecgen-radiology/{number}.xml"
        if (open_i / name).exists():
            (tmp_path / name).symlink_to(open_i / name)
            for image in open_i.glob(f"images/CXR{number}_*"):
                (tmp_path / "images" / image.name).symlink_to(image)
    return tmp_path


def test_the_projections_table_takes_precedence_over_the_image(linked):
    """The table has the inverted views of ten images, in the form of the copy on Kaggle."""
    options = "view=all,images=all"
    before = evalset.load(f"open_i:{linked},{options}")
    inverted = {"frontal": "Lateral", "lateral": "Frontal"}
    rows = {
        p.image_id: f"{p.study_id[3:]},{key(p.image_id)}.dcm.png,{inverted[p.view]}"
        for p in before.pairs[:10]
    }
    assert rows["CXR1_1_IM-0001-4001"].startswith("1,1_IM-0001-4001.dcm.png,")
    write_table(linked, rows.values())
    after = evalset.load(f"open_i:{linked},{options}")
    for old, new in zip(before.pairs, after.pairs, strict=True):
        assert (new.view == old.view) == (new.image_id not in rows)
    assert after.fingerprint != before.fingerprint
    frontal = evalset.load(f"open_i:{linked}")
    by_table = {item for item, why in reasons(frontal).items() if "by the projections table" in why}
    assert by_table == {p.image_id for p in before.pairs[:10] if p.view == "frontal"}


def test_the_table_alone_needs_no_pixels(tmp_path, monkeypatch):
    write_study(tmp_path, 7, images=["CXR7_IM-0001-1001", "CXR7_IM-0001-2001"])
    write_image(tmp_path, "CXR7_IM-0001-1001.png", frontal_like())
    write_image(tmp_path, "CXR7_IM-0001-2001.png", lateral_like())
    write_table(tmp_path, ["7,7_IM-0001-1001.dcm.png,Lateral", "7,CXR7_IM-0001-2001.png,FRONTAL"])
    monkeypatch.setattr(_views, "read_image", None)
    (pair,) = evalset.load(f"open_i:{tmp_path}").pairs
    assert pair.image_id == "CXR7_IM-0001-2001"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["7,7_IM-0001-1001.dcm.png,Oblique"], "line 2: projection is 'Oblique'; allowed are"),
        (["7,7_IM-0001-1001.dcm.png"], "line 2: 2 fields; 3 are required"),
        (["8,7_IM-0001-1001.dcm.png,Frontal"], "is not an image of study '8'"),
        (["7,front.png,Frontal"], "'front.png' is not an image of study '7'"),
        (["7,7_IM-0009-1001.dcm.png,Frontal"], "contains none of the images of the reports"),
        ([], "contains none of the images of the reports"),
        (
            ["7,7_IM-0001-1001.dcm.png,Frontal", "7,CXR7_IM-0001-1001.png,Lateral"],
            "line 3: .* is lateral, but frontal in an earlier line",
        ),
        (['7,"7_IM-0001-1001.dcm.png,Frontal'], "is not valid CSV"),
    ],
)
def test_invalid_projections_tables_are_refused(tmp_path, rows, message):
    write_study(tmp_path, 7, images=["CXR7_IM-0001-1001"])
    write_image(tmp_path, "CXR7_IM-0001-1001.png", frontal_like())
    path = write_table(tmp_path, rows)
    with pytest.raises(EvaluationSetError, match=message) as caught:
        evalset.load(f"open_i:{tmp_path}")
    assert str(path) in str(caught.value)
    write_table(tmp_path, ["7,7_IM-0001-1001.dcm.png,Frontal"], "id;file;view")
    with pytest.raises(EvaluationSetError, match="line 1: the columns are 'id;file;view'; allowed"):
        evalset.load(f"open_i:{tmp_path}")


@pytest.mark.parametrize(
    ("pixels", "elements", "view", "rule"),
    [
        (frontal_like(), {"ViewPosition": "LL"}, "lateral", "by the DICOM header"),
        (frontal_like(), {"ViewPosition": "LARGE LATERAL"}, "lateral", "by the DICOM header"),
        (frontal_like(), {"PatientOrientation": ["A", "F"]}, "lateral", "by the DICOM header"),
        (frontal_like(), {"ViewPosition": "PA", "PatientOrientation": ["L", "F"]}, "frontal", ""),
        (frontal_like(), {"ViewPosition": "", "PatientOrientation": ""}, "frontal", ""),
        (lateral_like(), {"ViewPosition": "PA"}, "lateral", "by the image"),
        (lateral_like(), {}, "lateral", "by the image"),
    ],
)
def test_a_dicom_header_decides_if_it_states_a_lateral_view(tmp_path, pixels, elements, view, rule):
    write_study(tmp_path, 7, images=["CXR7_IM-0001-1001"])
    write_study(tmp_path, 8, images=["CXR8_IM-0001-1001"])
    write_dicom(tmp_path / "NLMCXR_dcm" / "7" / "7_IM-0001-1001.dcm", pixels, **elements)
    write_dicom(tmp_path / "NLMCXR_dcm" / "8" / "8_IM-0001-1001.dcm", frontal_like(5))
    pair = evalset.load(f"open_i:{tmp_path},view=all").pairs[0]
    assert (pair.image_id, pair.view) == ("CXR7_IM-0001-1001", view)
    excluded = reasons(evalset.load(f"open_i:{tmp_path}"))
    assert excluded.get("CXR7_IM-0001-1001", "").endswith(rule)
    write_table(tmp_path, ["7,7_IM-0001-1001.dcm.png,Frontal"])
    assert evalset.load(f"open_i:{tmp_path},view=all").pairs[0].view == "frontal"


def test_views_are_computed_once_for_the_same_content(tmp_path, monkeypatch):
    calls = []

    def remember(key, compute, memory={}):  # noqa: B006 - the cache of this test
        calls.append(key)
        return memory[repr(key)] if repr(key) in memory else memory.setdefault(repr(key), compute())

    write_study(tmp_path, 1, images=["a", "b"])
    write_image(tmp_path, "a.png", frontal_like())
    write_image(tmp_path, "b.png", lateral_like())
    first = evalset.load(f"open_i:{tmp_path}", remember=remember)
    with monkeypatch.context() as patched:
        patched.setattr(_views, "read_image", None)
        again = evalset.load(f"open_i:{tmp_path},side=32", remember=remember)
        assert [p.image_id for p in again.pairs] == [p.image_id for p in first.pairs] == ["a"]
    write_image(tmp_path, "a.png", lateral_like())
    write_image(tmp_path, "b.png", frontal_like())
    changed = evalset.load(f"open_i:{tmp_path}", remember=remember)
    assert [p.image_id for p in changed.pairs] == ["b"]
    assert calls[0] == calls[1] != calls[2]
