"""Invalid and mutated files of the Indiana collection: a one-line error, or complete results."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from support.open_i_files import (
    frontal_like,
    images_named,
    lateral_like,
    write_dicom,
    write_image,
    write_study,
    write_table,
)

from robustness import evalset
from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset.open_i._layout import key


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("open_i:", "names no file or folder"),
        ("open_i:{0}/none", "no folder .*none; name the folder"),
        ("open_i:{0}", "no folder .*ecgen-radiology; name the folder that contains .*docs/eval"),
        ("open_i:{0},view=oblique", "option view is 'oblique'; allowed are frontal, lateral, all"),
        ("open_i:{0},images=two", "option images is 'two'; allowed are one, all"),
        ("open_i:{0},missing=skip", "option missing is 'skip'; allowed are error, exclude"),
        ("open_i:{0},side=0", "option side is '0'; allowed are"),
        ("open_i:{0},split=test", "unknown option 'split'; allowed: view=frontal, lateral or all"),
    ],
)
def test_invalid_specifications_are_refused(tmp_path, spec, message):
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
            "an unknown section 'FINDING'; allowed, once each, are INDICATION",
        ),
        (
            b"<eCitation><uId id='CXR1'/>%b</eCitation>"
            % (b"<AbstractText Label='FINDINGS'/>" * 2),
            "a duplicate section 'FINDINGS'",
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


@pytest.mark.parametrize(
    "image", ["../../secret", "/etc/hostname", "a/b", "..", "", " ", "a\x85", "a&#10;b", ".a"]
)
def test_an_image_with_a_path_in_its_name_is_refused(tmp_path, image):
    path = write_study(tmp_path, 1, images=[image])
    with pytest.raises(EvaluationSetError, match="which is not a valid file stem") as caught:
        evalset.load(f"open_i:{tmp_path},missing=exclude")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_white_space_around_an_id_is_removed(tmp_path):
    path = write_study(tmp_path, 1, images=[" a&#10;"])
    path.write_text(path.read_text().replace('"CXR1"', '" CXR1&#10;&#9;x "'))
    write_image(tmp_path, "a.png", frontal_like())
    (pair,) = evalset.load(f"open_i:{tmp_path}").pairs
    assert (pair.image_id, pair.study_id) == ("a", "CXR1 x")


def test_incomplete_collections_are_refused(tmp_path):
    (tmp_path / "ecgen-radiology").mkdir()
    with pytest.raises(EvaluationSetError, match="is empty"):
        evalset.load(f"open_i:{tmp_path}")
    write_study(tmp_path, 1, images=["gone"])
    with pytest.raises(
        EvaluationSetError, match=r"image gone of report .* is not in .*; complete .*"
    ) as caught:
        evalset.load(f"open_i:{tmp_path}")
    assert str(tmp_path / "ecgen-radiology" / "1.xml") in str(caught.value)
    write_image(tmp_path, "gone.png", frontal_like()).write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(EvaluationSetError, match=r"gone\.png is not in a supported format"):
        evalset.load(f"open_i:{tmp_path}")
    write_dicom(tmp_path / "images" / "gone.dcm", frontal_like())
    (tmp_path / "images" / "gone.png").unlink()
    (tmp_path / "images" / "gone.dcm").write_bytes(b"no DICOM file")
    with pytest.raises(EvaluationSetError, match=r"gone\.dcm: its DICOM header cannot be read"):
        evalset.load(f"open_i:{tmp_path}")


def test_duplicates_are_refused(tmp_path):
    write_image(tmp_path, "CXR1_IM-1-1.png", frontal_like())
    write_study(tmp_path, 1, images=["CXR1_IM-1-1"])
    other = write_study(tmp_path, 2, images=["CXR1_1_IM-1-1"])
    twice = r"duplicate image 1_IM-1-1, in report .*1\.xml and in report .*2\.xml"
    with pytest.raises(EvaluationSetError, match=twice):
        evalset.load(f"open_i:{tmp_path}")
    other.write_text('<eCitation><uId id="CXR1"/></eCitation>')
    twice = r"duplicate study CXR1, in report .*1\.xml and in report .*2\.xml"
    with pytest.raises(EvaluationSetError, match=twice):
        evalset.load(f"open_i:{tmp_path}")


# --- mutations -------------------------------------------------------------------------------


def mutate(content, rng):
    content = bytearray(content)
    for _ in range((1, 1, 2, 5)[rng.integers(4)]):
        at, span = int(rng.integers(len(content))), int(rng.integers(1, 40))
        change = rng.integers(6)
        if change == 0:
            content[at] ^= 1 << int(rng.integers(8))
        elif change == 1:
            del content[at : at + span]
        elif change == 2:
            content[at:at] = content[max(0, at - span) : at]
        elif change == 3:
            content[at:at] = rng.bytes(int(rng.integers(1, 4)))
        elif change == 4:
            del content[at:]
            content += b"<"
        else:
            tokens = re.findall(rb"[\w-]{3,}", bytes(content)) or [b"CXR"]
            old, new = (tokens[i] for i in rng.integers(len(tokens), size=2))
            content = bytearray(bytes(content).replace(old, new, int(rng.integers(1, 3))))
    return bytes(content)


def check_complete(loaded, root):
    """Check that every file of the collection is exactly one pair or exclusion."""
    items = [exclusion.item for exclusion in loaded.excluded]
    pairs = [p.image_id for p in loaded.pairs]
    files = {path.name for path in (root / "images").iterdir()}
    assert len(items + pairs) == len({*items, *pairs})
    shown = {f"{name}.png" for name in pairs} | {f"{item}.png" for item in items} | set(items)
    assert files <= shown
    studies = {p.study_id for p in loaded.pairs} | (set(items) - {f[:-4] for f in files} - files)
    gone = {e.item for e in loaded.excluded if e.reason.startswith("image named by a report")}
    assert len(studies - gone) == len(list((root / "ecgen-radiology").iterdir()))


@pytest.fixture(scope="module")
def collection(open_i, tmp_path_factory):
    """Three studies with texts of the sample and synthetic images, and a table."""
    root = tmp_path_factory.mktemp("collection")
    (root / "ecgen-radiology").mkdir()
    rows = []
    for number in (1, 2, 4):
        path = root / "ecgen-radiology" / f"{number}.xml"
        path.write_bytes((open_i / "ecgen-radiology" / path.name).read_bytes())
        for image in images_named(path.read_text()):
            front = len(rows) % 2 == 0
            write_image(root, f"{image}.png", frontal_like() if front else lateral_like())
            rows.append(f"{number},{key(image)}.dcm.png,{'Frontal' if front else 'Lateral'}")
    write_table(root, rows)
    check_complete(evalset.load(f"open_i:{root}"), root)
    return root


def load_or_error(spec):
    try:
        return evalset.load(spec), ""
    except EvaluationSetError as error:
        return None, str(error)


@pytest.mark.parametrize("name", ["ecgen-radiology/2.xml", "indiana_projections.csv"])
@pytest.mark.parametrize("missing", ["error", "exclude"])
def test_a_mutated_file_is_read_completely_or_refused(collection, name, missing):
    path = collection / name
    original = path.read_bytes()
    outcomes = Counter()
    # Most of a report is markup that is not read: image features, dates, addresses.
    around = rb"<region.*?</region>|<(Journal|AuthorList).*?</\1>"
    content = re.sub(around, b"", original, flags=re.DOTALL)
    try:
        for seed in range(100):
            path.write_bytes(mutate(content, np.random.default_rng(seed)))
            loaded, message = load_or_error(f"open_i:{collection},missing={missing}")
            outcomes[loaded is not None] += 1
            if loaded is None:
                assert "\n" not in message, message
                assert str(path) in message, message
            else:
                check_complete(loaded, collection)
                assert loaded.fingerprint
    finally:
        path.write_bytes(original)
    assert min(outcomes[True], outcomes[False]) >= 3, outcomes
