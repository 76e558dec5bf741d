"""Malformed and hostile tables of MIMIC-CXR-JPG."""

from __future__ import annotations

import gzip
import random
import re
import shutil

import pytest
from support import mimic_tree
from support.mimic_refusal import ALL, load, refused

from robustness.errors import GateError


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    tree = mimic_tree.build(tmp_path_factory.mktemp("mimic") / "jpg", studies=13, drawn=2)
    mimic_tree.put_reports(tree.root, tree)
    return tree


@pytest.fixture
def root(original, tmp_path):
    """A copy to damage; every image of it is read."""
    shutil.copytree(original.root, tmp_path / "jpg")
    return tmp_path / "jpg"


# --- tables -------------------------------------------------------------------------------


def column(name, value):
    """Return an edit that sets a cell of line 3."""

    def edit(rows):
        rows[2][rows[0].index(name)] = value

    return edit


def header(name, value):
    def edit(rows):
        rows[0][rows[0].index(name)] = value

    return edit


def repeat(rows):
    rows.append(list(rows[2]))


def drop(rows):
    del rows[2]


def one_less(rows):
    del rows[2][-1]


def one_more(rows):
    rows[2].append("")


def no_rows(rows):
    del rows[1:]


TABLE_FAULTS = [
    ("split", column("split", "dev"), "line 3: split is 'dev'; allowed are test, validate, train"),
    ("split", column("split", "x" * 5000), "line 3: split is 'xxx"),
    ("split", column("split", ""), "line 3: split is ''"),
    ("split", column("study_id", "nan"), "line 3: study_id is 'nan'; it must be a number of"),
    ("split", column("study_id", ""), "line 3: study_id is ''"),
    ("split", column("study_id", "s50414267"), "line 3: study_id is 's50414267'"),
    ("split", column("subject_id", "10000032.0"), "line 3: subject_id is '10000032.0'"),
    ("split", column("subject_id", "١٠٠٠٠٠٣٢"), "line 3: subject_id is"),
    ("split", column("dicom_id", ""), "line 3: invalid dicom_id ''"),
    ("split", column("dicom_id", "../../../x"), "line 3: invalid dicom_id '../../../x'"),
    ("split", column("dicom_id", "a\0b"), r"line 3: invalid dicom_id 'a\x00b'"),
    ("split", column("dicom_id", "\x1b[2J"), r"line 3: invalid dicom_id '\x1b[2J'"),
    ("split", column("dicom_id", "y" * 70_000), "line 3: longer than 65536 bytes"),
    ("split", repeat, "line 24: duplicate dicom_id '"),
    ("split", one_less, "line 3: 3 values; the header names 4 columns"),
    ("split", one_more, "line 3: 5 values; the header names 4 columns"),
    ("split", no_rows, "has no image of split all; name another split"),
    ("split", header("split", "Split"), "line 1: column split must occur once"),
    ("split", header("study_id", "dicom_id"), "line 1: column dicom_id must occur once"),
    ("metadata", drop, "use tables of one release"),
    ("metadata", repeat, "line 24: duplicate dicom_id '"),
    ("metadata", column("study_id", "50000001"), "line 3: image "),
    ("metadata", column("subject_id", "nan"), "subject 'nan'; "),
    ("metadata", column("StudyTime", "noon"), "line 3: StudyTime is 'noon', which is not a number"),
    ("metadata", column("StudyTime", "nan"), "line 3: StudyTime is 'nan'"),
    ("metadata", column("StudyDate", "-1"), "line 3: StudyDate is '-1'"),
    ("metadata", header("ViewPosition", "View"), "line 1: column ViewPosition must occur once"),
    ("chexpert", column("Edema", "2.0"), "line 3: Edema is '2.0'; allowed are 1.0, 0.0, -1.0 and"),
    ("chexpert", column("Edema", "nan"), "line 3: Edema is 'nan'"),
    ("chexpert", column("subject_id", ""), "line 3: study "),
    ("chexpert", header("Edema", "Oedema"), "line 1: column Edema must occur once"),
    ("chexpert", repeat, ": duplicate study "),
]


@pytest.mark.parametrize(("name", "edit", "expected"), TABLE_FAULTS)
def test_a_fault_of_a_table_names_its_line(root, name, edit, expected):
    path = mimic_tree.table(root, name)
    rows = mimic_tree.read(path)
    edit(rows)
    mimic_tree.write(path, rows)
    message = refused(root)
    assert str(path) in message
    assert expected in message


def test_a_study_of_two_patients(root):
    path = mimic_tree.table(root, "split")
    rows = mimic_tree.read(path)
    first = next(row for row in rows if sum(row[1] == other[1] for other in rows) > 1)
    first[2] = "19999999"
    mimic_tree.write(path, rows)
    assert re.search(r"line \d+: study \d{8} is of subject \d{8}, in an earlier", refused(root))


def test_tables_of_two_releases(root, tmp_path):
    other = mimic_tree.build(tmp_path / "other", studies=13, drawn=1, seed=5)
    shutil.copy(mimic_tree.table(other.root, "metadata"), root)
    assert re.search(r"split\.csv\.gz, line 2: image .* has no row in .*metadata", refused(root))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (b"\n", b'\n"', "invalid CSV"),
        (b",test\n", b',"te"st\n', "invalid CSV: ',' expected after '\"'"),
        (b",test\n", b",test\xff\n", "not UTF-8: invalid start byte"),
        (b"\n", b"\r", "line 1: invalid CSV: new-line character"),
        (b",", b";", "line 1: column dicom_id must occur once"),
        (b",", b"\t", "line 1: column dicom_id must occur once"),
    ],
    ids=["quote left open", "text after a quote", "Latin-1", "line ends", "semicolons", "tabs"],
)
def test_invalid_csv(root, before, after, expected):
    path = mimic_tree.table(root, "split")
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content.replace(before, after)))
    message = refused(root)
    assert re.search(r"split\.csv\.gz, line \d+: ", message)
    assert expected in message


@pytest.mark.parametrize("name", ["split", "metadata", "chexpert"])
def test_a_damaged_compressed_table(root, name):
    path = mimic_tree.table(root, name)
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    damaged_content = [content[: len(content) * part // 10] for part in range(10)]
    damaged_content += [content[:-1], content + b"more", b"dicom_id,study_id\n"]
    for packed in damaged_content[1:]:
        path.write_bytes(packed)
        message = refused(root)
        assert f"{path} cannot be read: " in message
        assert "SHA256SUMS.txt" in message
    for packed in (b"", bytes(damaged)):
        path.write_bytes(packed)
        assert str(path) in refused(root)


def test_a_table_of_one_very_long_line(root):
    """100 KB compressed; 100 MB of memory if read as one line."""
    path = mimic_tree.table(root, "split")
    path.write_bytes(gzip.compress(b"x" * 100_000_000, compresslevel=1))
    assert f"{path}, line 1: longer than 65536 bytes; this is not a table" in refused(root)


# --- mutations ---------------------------------------------------------------------------------


def mutated(content, rng):
    """Return the content with bytes changed, deleted, inserted or repeated."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(content))
        end = min(len(content), at + rng.choice((1, 1, 3, 40)))
        kind = rng.randrange(4)
        if kind == 0:
            content[at:end] = rng.randbytes(end - at)
        elif kind == 1:
            del content[at:end]
        elif kind == 2:
            content[at:at] = rng.choice((b",", b'"', b"\n", b"\r", b"\0", b"-", b"9", b"\xff"))
        else:
            content[at:at] = content[at:end]
    return bytes(content)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["split", "metadata", "chexpert"])
def test_a_mutated_table_is_read_completely_or_refused(root, name, packed):
    path = mimic_tree.table(root, name)
    before = load(root)
    content = path.read_bytes() if packed else gzip.decompress(path.read_bytes())
    rng = random.Random(f"{name} {packed}")  # noqa: S311 - nothing here is secret
    expected = []
    for _ in range(200):
        damaged_content = mutated(content, rng)
        path.write_bytes(damaged_content if packed else gzip.compress(damaged_content, 1))
        try:
            loaded = load(root, f"{ALL},missing=exclude")
        except GateError as error:
            expected.append(str(error))
            continue
        if packed:
            # The checksum of gzip detects every change except in its own header.
            assert loaded.pairs == before.pairs
        elif name == "split":
            rows = [line for line in damaged_content.splitlines() if line]
            assert len(loaded) + len(loaded.excluded) == len(rows) - 1
        else:
            assert len(loaded) + len(loaded.excluded) == len(before)
    assert len(expected) > 20
    assert packed or len(expected) < 200
    assert all(each.isprintable() for each in expected)
