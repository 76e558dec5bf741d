"""Files that are not valid tables: each is a one-line error that names the row, if any."""

from __future__ import annotations

import gzip

import pytest
from support.table_files import load, png, refuses, write_rows

from robustness.errors import EvaluationSetError

HEAD = "image,report\n"
GOOD = "a.png,Clear.\n"


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png())
    return tmp_path


# --- text that is not a table ----------------------------------------------------------------

TEXTS = {
    "nothing": (b"", "is empty; its first line must name the columns"),
    "a header alone": (HEAD.encode(), "has no rows; write one row per image"),
    "semicolons": (
        b"image;report\na.png;Clear.\n",
        "the header has one column, 'image;report'; the separator seems to be ';'; a"),
    "tabs": (b"image\treport\n", "the separator seems to be '\\t'; a .csv file is"),
    "Latin-1": (
        (HEAD + "a.png,Größe\n").encode("latin-1"),
        "line 2: byte 0xf6 is not UTF-8; save the file as UTF-8, or convert it: iconv"),
    "UTF-16": ((HEAD + GOOD).encode("utf-16"), "is UTF-16; save it as UTF-8 (in Excel: CSV UTF-8)"),
    "UTF-16 without a mark": ((HEAD + GOOD).encode("utf-16-le"), "line 1 contains a NUL character"),
    "a NUL": ((HEAD + "a.png,Cl\0ear\n").encode(), "line 2 contains a NUL character"),
    "a cell too few": ((HEAD + GOOD + "b.png\n").encode(), "row 2 (line 3) has 1 cells, but the"),
    "a cell too many": (
        (HEAD + "a.png,Clear, no effusion.\n").encode(),
        "row 1 (line 2) has 3 cells, but the header has 2; quote cells that contain"),
    "an open quote": (
        (HEAD + GOOD + 'b.png,"Mass\n' + GOOD).encode(),
        "row 2 (line 3) is malformed: unexpected end of data; quote a cell that"),
    "text after a quote": (
        (HEAD + 'a.png,"Mass" in the lung\n').encode(),
        "row 1 (line 2) is malformed: ',' expected after '\"'"),
    "line ends of an old Macintosh": (
        b"image,report\ra.png,Clear.\r", "row 0 (line 1) is malformed: new-line character seen"),
    "a column twice": (
        b"image,report,report\na.png,x,y\n", "duplicate column 'report' in the header; rename one"),
    "columns that differ in case": (
        b"image,Report,REPORT\na.png,x,y\n", "2 columns are named 'report'; keep only one"),
    "no image": (
        b"path,report\na.png,x\n",
        "no column 'image'; the columns are 'path', 'report'; select one with the option image="),
    "no report": (
        b"image,report_text\na.png,x\n",
        "the columns are 'image', 'report_text'; select one with the option report=report_text"),
    "a section's name misspelt": (
        b"image,Impresion\na.png,x\n",
        "the columns are 'image', 'Impresion'; select one with the option impression=Impresion"),
    "no name like a section's": (
        b"image,note\na.png,x\n",
        "the columns are 'image', 'note'; select one with the option report=COLUMN"),
    "no rows but empty ones": (
        b"image,report\n,\n , \n", "is empty: no image with a usable report (excluded: 2 row with"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
def test_text_that_is_not_a_table(folder, content, message, zipped):
    path = folder / ("set.csv.gz" if zipped else "set.csv")
    path.write_bytes(gzip.compress(content) if zipped else content)
    refuses(path, message)


LINES = {
    "nothing": ("", "is empty; write one JSON object per line"),
    "an array": ('["a.png"]\n', "row 1 (line 1) is a JSON list, not an object such as"),
    "one array of objects": ('[{"image": "a.png"}]', "row 1 (line 1) is a JSON list, not an"),
    "a text": ('\n"a.png"\n', "row 1 (line 2) is a JSON str, not an object"),
    "an object over lines": ('{\n"image": "a.png"\n}', "row 1 (line 1) is not a JSON object: Ex"),
    "a key twice": (
        '{"image":"a.png","report":"A","report":"B"}', "not a JSON object: duplicate key"),
    "NaN": ('{"image":"a.png","report":NaN}', "(line 1) is not a JSON object: NaN is not JSON"),
    "Infinity": ('{"image":"a.png","study":Infinity}', "not a JSON object: Infinity is"),
    "a number beyond float": (
        '{"image":"a.png","report":"A","study":1e999}', "study is inf, of type float; write it as"),
    "a fraction": ('{"image":"a.png","report":"A","study":1.5}', "study is 1.5, of type float"),
    "a huge number": ('{"image":"a.png","study":' + "9" * 5000 + "}", "not a JSON object: Exceeds"),
    "a truth": ('{"image":"a.png","report":"A","patient":true}', "patient is True, of type bool"),
    "a number for a report": ('{"image":"a.png","report":3}', "report is 3, of type int; write it"),
    "a number for an image": ('{"image":3,"report":"A"}', "image is 3, of type int; write"),
    "a list for a report": ('{"image":"a.png","report":["A"]}', "report is ['A'], of type list"),
    "an object for labels": ('{"image":"a.png","report":"A","labels":{}}', "labels is {}, of type"),
    "a list in labels": ('{"image":"a.png","report":"A","labels":[["M"]]}', "labels is ['M'], of"),
    "half a character": (
        '{"image":"a.png","report":"\\ud83e"}', "row 1 (line 1): report contains an unpaired surr"),
    "half a character in a name": ('{"image\\ud83e":"a.png"}', "the columns are 'image\\ud83e'"),
    "a NUL": ('{"image":"a.png","report":"A\\u0000"}', "row 1 (line 1): report contains a NUL"),
    "a truncated line": ('{"image":"a.png","report":"A"}\n{"image":"b', "row 2 (line 2) is not"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), LINES.values(), ids=LINES)
def test_lines_that_are_not_a_table(folder, content, message):
    path = folder / "set.jsonl"
    path.write_text(content)
    refuses(path, message)


@pytest.mark.parametrize("field", ["report", "labels"])
def test_json_of_any_depth(folder, field):
    """Near Python's recursion limit, parsing may succeed and repr fail."""
    path = folder / "set.jsonl"
    for depth in [*range(900, 1000), 10_000]:
        nested = "[" * depth + "]" * depth
        cells = {"image": '"a.png"', "report": '"A"', field: nested}
        path.write_text("{" + ", ".join(f'"{key}": {cells[key]}' for key in cells) + "}")
        with pytest.raises(
            EvaluationSetError, match="row 1 .line 1.(: .* of type list| is not a JSON object: max)"
        ):
            load(path)


# --- Parquet, gzip and sizes ------------------------------------------------------------------


def parquet(path, **columns):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path)
    return path


def test_parquet_columns_that_are_not_text(folder):
    import pyarrow as pa

    path, image = folder / "set.parquet", ["a.png"]
    words = pa.array([b"Clear."])
    for report in (
        words,
        words.cast(pa.large_binary()),
        pa.array([b"Clear."], pa.binary(6)),
        words.dictionary_encode(),
        pa.array([[b"Clear."]]),
        pa.array([{"bytes": b"Clear."}]),
        pa.array([[{"bytes": b"Clear."}]]),
        pa.array([[("a", b"Clear.")]], pa.map_(pa.string(), pa.binary())),
    ):
        refuses(parquet(path, image=image, report=report), "column 'report' contains ")
    refuses(parquet(path, image=image, report=[3]), "row 1: report is 3, of type int")
    refuses(
        parquet(path, image=image, report=["x"], study=pa.array([0], pa.timestamp("s"))), "study"
    )
    refuses(parquet(path, image=pa.array([], pa.string()), report=[]), "has no rows; write one")
    refuses(parquet(path, image=["a.png"] * 2, report=["A"] * 2), "row 2: duplicate image 'a.png'")
    refuses(parquet(path, image=image, report=[float("nan")]), "is empty: no image with a usable")


def test_parquet_rows_are_numbered_over_all_batches(folder):
    rows = [""] * 3000
    rows[2499] = "gone.png"
    path = parquet(folder / "set.parquet", image=rows, report=["A" if row else "" for row in rows])
    refuses(path, "row 2500: image ")


def test_damaged_parquet_files(folder):
    path = parquet(folder / "set.parquet", image=["a.png"], report=["Clear."])
    whole = path.read_bytes()
    for content in (b"", b"PAR1", whole[:-1], whole[: len(whole) // 2], b"image,report\n", png()):
        path.write_bytes(content)
        refuses(path, "is not a readable Parquet file: ")


def test_damaged_gzip_files(folder):
    path, whole = folder / "set.csv.gz", gzip.compress((HEAD + GOOD * 100).encode())
    for content in (whole[:-9], whole[:30], b"image,report\n", whole[:20] + b"x" + whole[21:]):
        path.write_bytes(content)
        refuses(path, "set.csv.gz")


def test_the_size_of_tables_is_limited(folder, monkeypatch):
    from robustness.evalset.manifest import _parquet, _text

    table = write_rows(folder / "set.csv", ["image", "report"], ["a.png", "A"], ["b.png", "B"])
    binary = parquet(folder / "set.parquet", image=["a.png", "b.png"], report=["A", "B"])
    for name in ("MAX_ROWS", "MAX_TEXT"):
        assert len(load(table)) == len(load(binary)) == 2
        with monkeypatch.context() as smaller:
            for module in (_parquet, _text):
                smaller.setattr(module, name, 1)
            refuses(table, "split it")
            refuses(binary, "split it")
    monkeypatch.setattr(_text, "MAX_LINE", 10)
    refuses(table, "line 1 is longer than 10 bytes")
