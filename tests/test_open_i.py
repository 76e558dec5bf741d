"""The Indiana collection: counts against an independent reading, views, layouts, bad input."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image as PilImage
from scipy.stats import rankdata

from robustness import evalset
from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset import _view, normalise
from robustness.evalset.open_i import _views
from robustness.evalset.open_i._layout import key

# --- an independent reading of the sample ------------------------------------------------

FRONTAL_BY_EYE = int(
    "4d2a9aad55aa5b54b34aaad354d5aaad5546ab59aaaaaaa5c9a7b55acb352aa9d4c935775556aaaaad4d5555"
    "54d24ab55569aaaeaaaad555354d3356552d556aaaaaaaa9aaaa3552ad26b556aaad6aaaa6aaaaa29aa5566a"
    "9aaaf556a75532cd559ab5b6aaaaaa95555659aad589aaaaa69aaaaaaaad55553556aa6aaaad4d4aaaaaaaba"
    "6aaaaab33aa69b5ad532d5554b52aaab554cdd55e99aa9754ad5555955aa9a",
    16,
)
"""A bit an image, 1 where it is frontal, told by eye; the images by id in order, first is highest."""


def said(text, label):
    found = re.search(rf'<AbstractText Label="{label}">([^<]*)</AbstractText>', text)
    return " ".join(found[1].split()) if found else ""


@pytest.fixture(scope="module")
def texts(open_i):
    """Each study's XML as text."""
    paths = (open_i / "ecgen-radiology").iterdir()
    found = {f"CXR{path.stem}": path.read_text(encoding="utf-8") for path in paths}
    assert all(f'<uId id="{study}"/>' in text for study, text in found.items())
    return found


@pytest.fixture(scope="module")
def named(texts):
    """Each study's images."""
    return {study: re.findall(r'<parentImage id="([^"]+)"', text) for study, text in texts.items()}


def reference_score(path):
    """The score of ``_view`` by other means: explicit loops, scipy's ranks, corrcoef."""
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
def kept():
    """What loading remembers, over the tests of this file."""
    memory = {}

    def remember(key, compute):
        if repr(key) not in memory:
            memory[repr(key)] = compute()
        return memory[repr(key)]

    return remember


@pytest.fixture(scope="module")
def sample(open_i, kept):
    return evalset.load(f"open_i:{open_i}", remember=kept)


def test_every_image_of_the_sample_is_there_with_all_views(open_i, kept, named):
    loaded = evalset.load(f"open_i:{open_i},view=all,images=all", remember=kept)
    assert [p.image_id for p in loaded.pairs] == [
        image for study in sorted(named, key=lambda s: int(s[3:])) for image in named[study]
    ]
    assert len(loaded) == len(list((open_i / "images").iterdir())) == 1303
    assert loaded.excluded == ()
    assert {p.study_id for p in loaded.pairs} == set(named)
    assert len(named) == 678


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
        reasons["not the one image of its study"] += len((set(images) & frontal) - {best})
    assert {p.study_id: p.image_id for p in sample.pairs} == chosen
    assert sample.excluded_by_reason == dict(reasons)
    assert len(sample) + sum(reasons.values()) == 1303 + reasons["study without a frontal view"]


def test_repeated_reports_equal_an_independent_count(sample, texts):
    both = ("FINDINGS", "IMPRESSION")
    expected = Counter(
        " ".join(said(texts[p.study_id], label) for label in both).strip().lower()
        for p in sample.pairs
    )
    found = Counter(normalise(p.report.text(("findings", "impression"))) for p in sample.pairs)
    assert sorted(found.values()) == sorted(expected.values())
    assert max(found.values()) > 1


def test_sections_and_pixels_are_those_of_the_files(open_i, sample, texts):
    for p in sample.pairs:
        for section in evalset.SECTIONS:
            assert getattr(p.report, section) == said(texts[p.study_id], section.upper())
    for p in sample.pairs[::50]:
        with PilImage.open(open_i / "images" / f"{p.image_id}.jpg") as image:
            image.draft("L", image.size)
            assert (sample.decode(p) == np.asarray(image.convert("L"))).all()


def test_labels_are_the_headings_of_the_file(sample, texts):
    unsaid = {"no indexing", "technical quality of image unsatisfactory"}
    for p in sample.pairs:
        major = re.findall(r"<major>\s*([^/<]*?)\s*[/<]", texts[p.study_id])
        assert p.labels == (frozenset({h.lower() for h in major} - unsaid) or None)
    assert any(p.labels == {"normal"} for p in sample.pairs)
    assert any(p.labels is None for p in sample.pairs)


def test_views_of_the_sample_against_the_eye(scores):
    eye = {
        image: FRONTAL_BY_EYE >> bit & 1 for bit, image in enumerate(sorted(scores, reverse=True))
    }
    assert sum(eye.values()) == 673
    taken = {image for image, score in scores.items() if score >= _view.FRONTAL}
    assert sum(not eye[image] for image in taken) == 1
    assert sum(eye[image] for image in set(eye) - taken) == 20


def test_no_lateral_image_of_the_sample_gets_in(sample, scores):
    eye = {
        image: FRONTAL_BY_EYE >> bit & 1 for bit, image in enumerate(sorted(scores, reverse=True))
    }
    assert all(eye[p.image_id] for p in sample.pairs)


def test_the_score_equals_a_reference(open_i, scores):
    for image in sorted(scores)[::40]:
        found = _view.frontal_score(evalset.read_image(open_i / "images" / f"{image}.jpg"))
        assert found == pytest.approx(scores[image], abs=1e-9)


@given(arrays.arrays(np.uint8, (32, 32)))
def test_a_mirror_image_is_as_frontal(image):
    mirrored = np.ascontiguousarray(image[:, ::-1])
    assert _view.frontal_score(mirrored) == pytest.approx(_view.frontal_score(image), abs=1e-9)


def test_a_flat_image_is_not_frontal():
    assert _view.frontal_score(np.full((64, 64), 9, np.uint8)) < _view.FRONTAL


# --- made collections ------------------------------------------------------------------

SAID = {"FINDINGS": "Clear."}


def write_study(root, number, *, sections=SAID, images=(), extra="", folder="ecgen-radiology"):
    written = "".join(f'<AbstractText Label="{k}">{v}</AbstractText>' for k, v in sections.items())
    named = "".join(f'<parentImage id="{image}"/>' for image in images)
    (root / folder).mkdir(parents=True, exist_ok=True)
    path = root / folder / f"{number}.xml"
    path.write_text(f'<eCitation><uId id="CXR{number}"/>{written}{named}{extra}</eCitation>')
    return path


def write_image(root, name, pixels, folder="images"):
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    PilImage.fromarray(pixels).save(path)
    return path


def frontal_like(extra=0):
    row = np.full(64, 40, np.uint8)
    row[28:36] = 220
    row[:8] = row[-8:] = 150
    image = np.tile(row, (64, 1))
    image[:, : extra % 64] += 3
    return image


def lateral_like():
    return np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))


def write_dicom(path, pixels, **elements):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    made = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID = DigitalXRayImageStorageForPresentation
    made.SOPInstanceUID = "1.2.3"
    made.Modality = "CR"
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.PixelRepresentation = 1, 0
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit = 7
    made.PhotometricInterpretation = "MONOCHROME2"
    made.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(made, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)


def reasons(loaded):
    return {exclusion.item: exclusion.reason for exclusion in loaded.excluded}


def test_everything_left_out_is_named(tmp_path):
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
        "front2": "not the one image of its study",
        "of-2": "image of a study that is left out for its report",
        "CXR2": "study whose report has neither findings nor an impression",
        "CXR3": "study without an image",
        "other-side": "lateral view, by the image",
        "CXR4": "study without a frontal view",
        "gone": "image that a report names and that is not there",
        "nobody.png": "image that no report names",
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
def test_labels_are_what_is_found_in_the_patient(tmp_path, majors, labels):
    write_image(tmp_path, "front.png", frontal_like())
    major = "".join(f"<major>{value}</major>" for value in majors)
    extra = f"<MeSH>{major}<automatic>mass</automatic></MeSH>"
    write_study(tmp_path, 1, images=["front"], extra=extra)
    (pair,) = evalset.load(f"open_i:{tmp_path}").pairs
    assert pair.labels == labels


# --- layouts -----------------------------------------------------------------------------


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
def test_the_collection_is_read_as_it_unpacks(tmp_path, reports, image):
    write_study(tmp_path, 7, images=["CXR7_IM-0001-1001"], folder=reports)
    if image.endswith(".dcm"):
        write_dicom(tmp_path / image, frontal_like())
    else:
        write_image(tmp_path, Path(image).name, frontal_like(), str(Path(image).parent))
    evalset.check_spec(f"open_i:{tmp_path}")
    loaded = evalset.load(f"open_i:{tmp_path}")
    assert [p.image_id for p in loaded.pairs] == ["CXR7_IM-0001-1001"]
    assert loaded.decode(loaded.pairs[0]).shape == (64, 64)


def test_names_of_one_image_agree_and_those_of_two_do_not(named):
    images = [image for images in named.values() for image in images]
    assert len({key(image) for image in images}) == len(images) == 1303
    for image in images:
        dicom = re.sub(r"^CXR(\d+)_(\1_)?", r"\1_", image)
        assert key(dicom) == key(f"{dicom}.dcm") == key(image) == dicom


def test_a_png_is_taken_before_a_dicom_file(tmp_path):
    write_study(tmp_path, 7, images=["CXR7_IM-0001-1001"])
    write_image(tmp_path, "CXR7_IM-0001-1001.png", frontal_like())
    write_dicom(tmp_path / "images" / "7" / "7_IM-0001-1001.dcm", frontal_like()[:32])
    loaded = evalset.load(f"open_i:{tmp_path}")
    assert loaded.decode(loaded.pairs[0]).shape == (64, 64)
    again = write_image(tmp_path, "7_IM-0001-1001.png", frontal_like())
    with pytest.raises(EvaluationSetError, match="are files of one image") as caught:
        evalset.load(f"open_i:{tmp_path}")
    assert str(again) in str(caught.value)


# --- views -------------------------------------------------------------------------------


def write_table(root, rows, header="uid,filename,projection"):
    path = root / "indiana_projections.csv"
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


@pytest.fixture
def linked(open_i, tmp_path):
    """The sample's first studies, a table beside them."""
    for folder in ("ecgen-radiology", "images"):
        (tmp_path / folder).mkdir()
    for number in range(1, 30):
        name = f"ecgen-radiology/{number}.xml"
        if (open_i / name).exists():
            (tmp_path / name).symlink_to(open_i / name)
            for image in open_i.glob(f"images/CXR{number}_*"):
                (tmp_path / "images" / image.name).symlink_to(image)
    return tmp_path


def test_the_projections_table_wins_over_the_image(linked):
    """Our own decisions, the first ten inverted, in the form Kaggle has them."""
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
        (["7,7_IM-0001-1001.dcm.png"], "line 2: 2 fields; 3 are needed"),
        (["8,7_IM-0001-1001.dcm.png,Frontal"], "is no image of study '8'"),
        (["7,front.png,Frontal"], "'front.png' is no image of study '7'"),
        (["7,7_IM-0009-1001.dcm.png,Frontal"], "names none of the images of the reports"),
        ([], "names none of the images of the reports"),
        (
            ["7,7_IM-0001-1001.dcm.png,Frontal", "7,CXR7_IM-0001-1001.png,Lateral"],
            "line 3: .* is lateral, and frontal in a line above",
        ),
        (['7,"7_IM-0001-1001.dcm.png,Frontal'], "is no CSV file"),
    ],
)
def test_bad_projections_tables_are_named(tmp_path, rows, message):
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
def test_a_dicom_header_is_believed_where_it_says_lateral(tmp_path, pixels, elements, view, rule):
    write_study(tmp_path, 7, images=["CXR7_IM-0001-1001"])
    write_study(tmp_path, 8, images=["CXR8_IM-0001-1001"])
    write_dicom(tmp_path / "NLMCXR_dcm" / "7" / "7_IM-0001-1001.dcm", pixels, **elements)
    write_dicom(tmp_path / "NLMCXR_dcm" / "8" / "8_IM-0001-1001.dcm", frontal_like(5))
    pair = evalset.load(f"open_i:{tmp_path},view=all").pairs[0]
    assert (pair.image_id, pair.view) == ("CXR7_IM-0001-1001", view)
    told = reasons(evalset.load(f"open_i:{tmp_path}"))
    assert told.get("CXR7_IM-0001-1001", "").endswith(rule)
    write_table(tmp_path, ["7,7_IM-0001-1001.dcm.png,Frontal"])
    assert evalset.load(f"open_i:{tmp_path},view=all").pairs[0].view == "frontal"


def test_views_are_found_out_once_for_one_content(tmp_path, monkeypatch):
    calls = []

    def remember(key, compute, memory={}):  # noqa: B006 - it is what is kept
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


# --- bad input ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("open_i:", "names no file or folder"),
        ("open_i:{0}/none", "no folder .*none; name the folder"),
        ("open_i:{0}", "no folder .*ecgen-radiology; name the folder that holds .*fetch open_i"),
        ("open_i:{0},view=oblique", "option view is 'oblique'; allowed are frontal, lateral, all"),
        ("open_i:{0},images=two", "option images is 'two'; allowed are one, all"),
        ("open_i:{0},missing=skip", "option missing is 'skip'; allowed are error, exclude"),
        ("open_i:{0},side=0", "option side is '0'; allowed are"),
        ("open_i:{0},split=test", "unknown option 'split'; allowed: view=frontal, lateral or all"),
    ],
)
def test_specifications_that_cannot_work_are_named(tmp_path, spec, message):
    for call in (evalset.check_spec, evalset.load):
        with pytest.raises(UsageError, match=message) as caught:
            call(spec.format(tmp_path))
        assert "\n" not in str(caught.value)


DEEP = 200_000
LAUGHS = (
    '<!DOCTYPE l [<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><eCitation><uId id='CXR1'/><AbstractText Label='FINDINGS'>&i;</AbstractText></eCitation>"
)
OUTSIDE = (
    '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
    "<eCitation><uId id='CXR1'/><AbstractText Label='FINDINGS'>&a;</AbstractText></eCitation>"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not well-formed XML"),
        (b"<eCitation><uId", "is not well-formed XML"),
        (b"<?xml version='1.0' encoding='klingon'?><eCitation/>", "is not well-formed XML"),
        (b"<?xml version='1.0' encoding='gb2312'?><eCitation/>", "is not well-formed XML"),
        (b"<eCitation>\xff</eCitation>", "is not well-formed XML"),
        (LAUGHS.encode(), "declares a document type or XML entities"),
        (LAUGHS.encode("utf-16"), "declares a document type or XML entities"),
        (OUTSIDE.encode(), "declares a document type or XML entities"),
        (OUTSIDE.encode("utf-16"), "declares a document type or XML entities"),
        (b"<!DOCTYPE l SYSTEM 'http://127.0.0.1:9/x'><eCitation/>", "declares a document type"),
        (b"<a>" * DEEP + b"</a>" * DEEP, "is longer than 1048576 bytes"),
        (b"<a>" * (DEEP // 2) + b"</a>" * (DEEP // 2), "nests elements deeper than 64"),
        (b"<a>" * DEEP, "nests elements deeper than 64"),
        (b"<eCitation/>", "has no uId element with an id"),
        (b"<eCitation><uId/></eCitation>", "has no uId element with an id"),
        (
            b"<eCitation><uId id='CXR1'/><AbstractText Label='FINDING'/></eCitation>",
            "section 'FINDING', which is unknown; allowed, once each, are INDICATION",
        ),
        (
            b"<eCitation><uId id='CXR1'/><AbstractText Label='FINDINGS'/>"
            b"<AbstractText Label='FINDINGS'/></eCitation>",
            "section 'FINDINGS', twice",
        ),
    ],
)
def test_hostile_and_broken_reports_are_refused_in_one_line(tmp_path, content, message):
    path = write_study(tmp_path, 1)
    path.write_bytes(content)
    with pytest.raises(EvaluationSetError, match=message) as caught:
        evalset.load(f"open_i:{tmp_path}")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_utf16_reports_are_read(tmp_path):
    path = write_study(
        tmp_path, 1, sections={"FINDINGS": "Clair et sans épanchement."}, images=["a"]
    )
    path.write_bytes(path.read_text().encode("utf-16"))
    write_image(tmp_path, "a.png", frontal_like())
    assert evalset.load(f"open_i:{tmp_path}").pairs[0].report.findings.endswith("épanchement.")


@pytest.mark.parametrize("image", ["../../secret", "/etc/hostname", "a/b", "..", "", "a\x85", ".a"])
def test_an_image_with_a_path_in_its_name_is_refused(tmp_path, image):
    path = write_study(tmp_path, 1, images=[image])
    with pytest.raises(EvaluationSetError, match="which is no file stem") as caught:
        evalset.load(f"open_i:{tmp_path},missing=exclude")
    assert str(path) in str(caught.value)


def test_broken_collections_are_named(tmp_path):
    (tmp_path / "ecgen-radiology").mkdir()
    with pytest.raises(EvaluationSetError, match="is empty"):
        evalset.load(f"open_i:{tmp_path}")
    write_study(tmp_path, 1, images=["gone"])
    with pytest.raises(EvaluationSetError, match=r"image gone is not in .*; complete .*") as caught:
        evalset.load(f"open_i:{tmp_path}")
    assert str(tmp_path / "ecgen-radiology" / "1.xml") in str(caught.value)
    write_image(tmp_path, "gone.png", frontal_like()).write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(EvaluationSetError, match=r"gone\.png cannot be decoded|gone\.png is in no"):
        evalset.load(f"open_i:{tmp_path}")
    write_dicom(tmp_path / "images" / "gone.dcm", frontal_like())
    (tmp_path / "images" / "gone.png").unlink()
    (tmp_path / "images" / "gone.dcm").write_bytes(b"no DICOM file")
    with pytest.raises(EvaluationSetError, match=r"gone\.dcm: its DICOM header cannot be read"):
        evalset.load(f"open_i:{tmp_path}")


def test_what_is_named_twice_is_refused(tmp_path):
    write_image(tmp_path, "CXR1_IM-1-1.png", frontal_like())
    write_study(tmp_path, 1, images=["CXR1_IM-1-1"])
    other = write_study(tmp_path, 2, images=["CXR1_1_IM-1-1"])
    twice = r"image 1_IM-1-1 is named twice, by report .*1\.xml and by report .*2\.xml"
    with pytest.raises(EvaluationSetError, match=twice):
        evalset.load(f"open_i:{tmp_path}")
    other.write_text('<eCitation><uId id="CXR1"/></eCitation>')
    twice = r"study CXR1 is named twice, by report .*1\.xml and by report .*2\.xml"
    with pytest.raises(EvaluationSetError, match=twice):
        evalset.load(f"open_i:{tmp_path}")


# --- mutations ---------------------------------------------------------------------------


def mutate(content, rng):
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at, span = rng.randrange(len(content)), rng.randrange(1, 40)
        change = rng.randrange(6)
        if change == 0:
            content[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            del content[at : at + span]
        elif change == 2:
            content[at:at] = content[max(0, at - span) : at]
        elif change == 3:
            content[at:at] = rng.randbytes(rng.randrange(1, 4))
        elif change == 4:
            del content[at:]
            content += b"<"
        else:
            tokens = re.findall(rb"[\w-]{3,}", bytes(content)) or [b"CXR"]
            content = bytearray(
                bytes(content).replace(rng.choice(tokens), rng.choice(tokens), rng.randrange(1, 3))
            )
    return bytes(content)


def account(loaded, root):
    """Every file of the collection is a pair or is excluded by name, once."""
    items = [exclusion.item for exclusion in loaded.excluded]
    pairs = [p.image_id for p in loaded.pairs]
    files = {path.name for path in (root / "images").iterdir()}
    assert len(items + pairs) == len({*items, *pairs})
    shown = {f"{name}.png" for name in pairs} | {f"{item}.png" for item in items} | set(items)
    assert files <= shown
    studies = {p.study_id for p in loaded.pairs} | (set(items) - {f[:-4] for f in files} - files)
    gone = {e.item for e in loaded.excluded if e.reason.startswith("image that a report names")}
    assert len(studies - gone) == len(list((root / "ecgen-radiology").iterdir()))


@pytest.fixture(scope="module")
def whole(open_i, tmp_path_factory):
    """Three studies with the text of the sample and drawn images, and a table."""
    root = tmp_path_factory.mktemp("whole")
    (root / "ecgen-radiology").mkdir()
    rows = []
    for number in (1, 2, 4):
        path = root / "ecgen-radiology" / f"{number}.xml"
        path.write_bytes((open_i / "ecgen-radiology" / path.name).read_bytes())
        for image in re.findall(r'<parentImage id="([^"]+)"', path.read_text()):
            front = len(rows) % 2 == 0
            write_image(root, f"{image}.png", frontal_like() if front else lateral_like())
            rows.append(f"{number},{key(image)}.dcm.png,{'Frontal' if front else 'Lateral'}")
    write_table(root, rows)
    account(evalset.load(f"open_i:{root}"), root)
    return root


@pytest.mark.parametrize("name", ["ecgen-radiology/2.xml", "indiana_projections.csv"])
@pytest.mark.parametrize("missing", ["error", "exclude"])
def test_a_mutated_file_is_read_or_named_and_nothing_is_lost(whole, name, missing):
    path = whole / name
    original = path.read_bytes()
    outcomes = Counter()
    # Most of a report is markup around what is read: images' features, dates, addresses.
    content = re.sub(
        rb"<region.*?</region>|<(Journal|AuthorList).*?</\1>", b"", original, flags=re.S
    )
    try:
        for seed in range(100):
            path.write_bytes(mutate(content, random.Random(seed)))
            try:
                loaded = evalset.load(f"open_i:{whole},missing={missing}")
            except EvaluationSetError as error:
                assert "\n" not in str(error), error
                assert str(path) in str(error), error
                outcomes["refused"] += 1
            else:
                account(loaded, whole)
                assert loaded.fingerprint
                outcomes["read"] += 1
    finally:
        path.write_bytes(original)
    assert min(outcomes["refused"], outcomes["read"]) >= 3, outcomes
