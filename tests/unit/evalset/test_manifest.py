"""Tables of images and reports: CSV, TSV, JSON Lines and Parquet."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PilImage
from support.table_files import (
    FIELDS,
    FORMATS,
    ROWS,
    decode_with_pillow,
    full,
    load,
    pixels,
    shown,
    write_images,
    write_rows,
    write_table,
)

from robustness.errors import EvaluationSetError
from robustness.evalset import Report

NO_REPORT = "no findings, no impression and no undivided report"
EMPTY = "row with every cell that is read empty"


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_set(folder, suffix, line_end):
    loaded = load(write_table(folder / f"set{suffix}", ROWS, line_end=line_end))
    german = Report(
        indication="Husten, Fieber",
        findings='Herz größer, links "betont".',
        impression="Ödem; mild",
    )
    both = frozenset({"Edema", "Cardiomegaly"})
    plain = "Clear lungs. No effusion. Normal heart."
    assert [row[:-1] for row in shown(loaded)] == [
        ("a.png", "s1", "p1", "PA", german, both),
        ("in/b ü.jpg", "s1", "p1", "lateral", german, frozenset({"Edema"})),
        ("c.tif", "s2", "p1", "AP", Report(undivided=plain), frozenset()),
        ("e.png", "e.png", "e.png", "AP",
         Report(impression="=1+1, 'quoted' \\ end \U0001fac1"), None),
        ("in/f.png", "in/f.png", "in/f.png", "",
         Report(comparison="None.", findings="Read."), None),
    ]  # fmt: skip
    assert loaded.excluded_by_reason == {NO_REPORT: 1, EMPTY: 1}
    assert loaded.fingerprint == load(write_table(folder / "other.csv", ROWS)).fingerprint


def test_images_match_the_files(folder):
    loaded = load(write_table(folder / "set.csv", ROWS), "side=native")
    assert len({pair.digest for pair in loaded.pairs}) == len(loaded) == 5
    for pair in loaded.pairs:
        image = loaded.decode(pair)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, decode_with_pillow(folder / pair.image_id))


def test_a_digest_depends_on_the_image_and_the_decoding(folder):
    table = write_table(folder / "set.csv", ROWS)
    before = [pair.digest for pair in load(table).pairs]
    assert [pair.digest for pair in load(table, "side=512").pairs] != before
    PilImage.fromarray(pixels(9)).save(folder / "a.png")
    after = [pair.digest for pair in load(table).pairs]
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, True, True, True]


def test_the_side_is_limited(folder):
    loaded = load(write_table(folder / "set.csv", ROWS), "side=16")
    assert {loaded.decode(pair).shape for pair in loaded.pairs} == {(13, 16), (9, 8), (1, 1)}


def test_paths_are_relative_to_the_table_or_to_a_root(folder, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    table = write_table(elsewhere / "set.csv", ROWS)
    with pytest.raises(EvaluationSetError, match=r"image .*elsewhere.*a\.png does not exist"):
        load(table)
    assert len(load(table, f"root={folder}")) == 5
    monkeypatch.chdir(elsewhere)
    shutil.copytree(folder, elsewhere / "images")
    assert len(load("set.csv", "root=images")) == 5
    absolute = [row | {"image": str(folder / row["image"])} for row in ROWS if row]
    assert len(load(write_table(folder / "absolute.csv", absolute))) == 5


def test_links_within_the_folder_are_read(folder):
    (folder / "link.png").symlink_to("a.png")
    table = write_rows(folder / "set.csv", ["image", "report"], ["link.png", "Clear."])
    assert load(table).pairs[0].image_id == "link.png"


@pytest.mark.parametrize("suffix", FORMATS)
def test_columns_are_named_by_options(folder, suffix):
    names = {"image": "Path", "findings": "Befund", "study": "StudyID", "labels": "Finding Labels"}
    rows = [{names.get(k, k): v for k, v in row.items()} for row in full(ROWS)]
    fields = tuple(names.get(field, field) for field in FIELDS)
    if "labels" not in fields and suffix[1:4] in {"csv", "tsv"}:
        rows = [
            row | {"Finding Labels": "|".join(row["Finding Labels"] or []) or None} for row in rows
        ]
        fields = tuple(field for field in fields if field != "labels")
    table = write_table(folder / f"set{suffix}", rows, fields)
    options = [f"{field}={name}" for field, name in names.items()]
    pairs = {pair.image_id: pair for pair in load(table, *options).pairs}
    assert pairs["a.png"].study_id == "s1"
    assert pairs["a.png"].report.findings.startswith("Herz")
    assert pairs["a.png"].labels == {"Edema", "Cardiomegaly"}
    with pytest.raises(
        EvaluationSetError, match="no column 'image'; the columns are 'Path', 'report'"
    ):
        load(table, *options[1:])


def test_column_names_are_case_insensitive(folder):
    table = write_rows(folder / "a.csv", [" Image", "REPORT ", "x"], ["a.png", "Clear.", "1"])
    assert load(table).pairs[0].report == Report(undivided="Clear.")


def test_an_option_selects_the_column_of_the_exact_spelling(folder):
    table = write_rows(folder / "a.csv", ["image", "Report", "report", ""], ["a.png", "1", "2", ""])
    assert load(table).pairs[0].report.undivided == "2"
    assert load(table, "report=Report").pairs[0].report.undivided == "1"


def test_a_byte_order_mark_is_not_part_of_a_name(folder):
    for suffix in (".csv", ".jsonl"):
        table = write_table(folder / f"set{suffix}", ROWS)
        table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
        assert len(load(table)) == 5


def test_a_csv_file_of_excel_is_read(folder):
    """CSV UTF-8: byte order mark, Windows line ends, empty rows at the end."""
    text = '\ufeffimage,report,\r\na.png,"Größe\nnormal ""oB""",\r\n,,\r\n,,\r\n\r\n'
    (folder / "set.csv").write_bytes(text.encode())
    loaded = load(folder / "set.csv")
    assert loaded.pairs[0].report.undivided == 'Größe normal "oB"'
    assert loaded.excluded_by_reason == {EMPTY: 2}
    assert [exclusion.item for exclusion in loaded.excluded] == ["row 2 (line 4)", "row 3 (line 5)"]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("Edema|Mass", {"Edema", "Mass"}),
        (" Edema | |Edema", {"Edema"}),
        ("No Finding", set()),
        ("none", set()),
        ("", None),
    ],
)
def test_labels_as_text(folder, cell, expected):
    table = write_rows(folder / "a.csv", ["image", "report", "labels"], ["a.png", "Clear.", cell])
    assert load(table).pairs[0].labels == expected


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (["Edema", "Mass"], ["Edema", "Mass"]),
        (["No Finding"], []),
        ([], []),
        ([None, ""], []),
        ("Edema|Mass", ["Edema", "Mass"]),
        (None, None),
    ],
    ids=str,
)
def test_labels_as_a_list(folder, suffix, cell, expected):
    rows = [{"image": "a.png", "report": "Clear.", "labels": cell}]
    (pair,) = load(write_table(folder / f"a{suffix}", rows)).pairs
    assert pair.labels == (None if expected is None else frozenset(expected))


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_ids_are_read_from_whole_numbers(folder, suffix):
    """pandas converts a column of ids to floats if one is missing."""
    frame = pd.DataFrame(
        {
            "image": ["a.png", "d.png", "e.png"],
            "report": "Clear.",
            "study": [50414267, 53189527, None],
            "patient": [10000032, 10000032, 10000764],
        }
    )
    assert frame["study"].dtype == np.float64
    table = folder / f"a{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(table)
    else:
        frame.to_json(table, orient="records", lines=True)
    pairs = load(table).pairs
    assert [pair.study_id for pair in pairs] == ["50414267", "53189527", "e.png"]
    assert [pair.patient_id for pair in pairs] == ["10000032", "10000032", "10000764"]


def test_default_ids_do_not_collide_with_named_ids(folder):
    """The default study is the image, and not another study of the same name."""
    rows = [
        {"image": "a.png", "report": "A.", "study": "d.png", "patient": "e.png"},
        {"image": "d.png", "report": "B."},
        {"image": "e.png", "report": "C.", "study": "image d.png"},
    ]
    pairs = load(write_table(folder / "set.csv", rows)).pairs
    assert [pair.study_id for pair in pairs] == ["d.png", "image image d.png", "image d.png"]
    assert len({pair.patient_id for pair in pairs}) == 3


def test_parquet_types_of_other_programs_are_read(folder):
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table(
        {
            "image": pa.array(["a.png", "d.png"]).dictionary_encode(),
            "report": pa.array(["Clear.", "Mass."], pa.large_string()),
            "labels": pa.array([["Edema"], None], pa.large_list(pa.string())),
            "study": pa.array([7, 8], pa.uint8()),
            "thumbnail": [b"not read", b""],
            "meta": [{"not": "read"}, None],
        }
    )
    parquet.write_table(table, folder / "a.parquet", compression="zstd", row_group_size=1)
    pairs = load(folder / "a.parquet").pairs
    assert [(p.image_id, p.report.undivided, p.study_id) for p in pairs] == [
        ("a.png", "Clear.", "7"),
        ("d.png", "Mass.", "8"),
    ]
    assert [pair.labels for pair in pairs] == [{"Edema"}, None]
