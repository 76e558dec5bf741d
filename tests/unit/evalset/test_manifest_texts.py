"""Tables compared with an independent count, and tables of arbitrary text."""

from __future__ import annotations

import csv
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage
from support.table_files import FORMATS, load, pixels, write_table

from robustness.errors import EvaluationSetError
from robustness.evalset import Report

NO_REPORT = "no findings, no impression and no undivided report"
EMPTY = "row with every cell that is read empty"

# --- comparison with an independent count ---------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_counts_equal_those_of_pandas(tmp_path, suffix):
    rng = np.random.default_rng(7)
    rows = []
    for i in range(2500):  # more than two batches of Parquet
        name = f"{i:04}.png"
        (tmp_path / name).write_bytes(str(i).encode())
        row = {"image": name, "study": f"s{i // 2}", "patient": f"p{i // 6}"}
        for field in ("findings", "impression"):
            if rng.random() < 0.6:
                row[field] = ["Clear.", "  ", 'Größe,\n"x"', "Mass; 2 cm"][i // 2 % 4]
        row |= {"findings": row.get("findings"), "impression": row.get("impression")}
        # A study has one report.
        if i % 2:
            row |= {k: rows[-1].get(k) for k in ("findings", "impression")}
        rows.append(row if i // 2 % 9 else {})
    fields = ("image", "findings", "impression", "study", "patient", "labels")
    loaded = load(write_table(tmp_path / f"set{suffix}", rows, fields))
    frame = pd.DataFrame(rows).map(lambda cell: cell if isinstance(cell, str) else "")
    frame = frame.map(str.strip)
    empty = (frame == "").all(axis=1)
    without_report = (frame["findings"] == "") & (frame["impression"] == "") & ~empty
    used = frame[~empty & ~without_report]
    assert loaded.excluded_by_reason == {
        EMPTY: int(empty.sum()),
        NO_REPORT: int(without_report.sum()),
    }
    assert len(loaded) == len(used) > 1000
    assert [pair.image_id for pair in loaded.pairs] == list(used["image"])
    assert len({pair.study_id for pair in loaded.pairs}) == used["study"].nunique()
    assert len({pair.patient_id for pair in loaded.pairs}) == used["patient"].nunique()
    spaces = used.replace(r"\s+", " ", regex=True)
    assert [pair.report.findings for pair in loaded.pairs] == list(spaces["findings"])


# --- any text ---------------------------------------------------------------------------


MISSING = {"nan", "<na>", "nat", "null"}
TEXTS = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["NaN", "null", "None", 'a"b', '"', ",", "\t", "\r", "a\r\nb", "\0", "\ufeffx", "=1", "\\N"]
)


def refused(cell):
    word = cell.strip().casefold()
    surrogate = any(0xD800 <= ord(c) < 0xE000 for c in cell)
    return surrogate or "\0" in cell or word in MISSING or cell.strip() == "None"


def write_any(path, row):
    if path.suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist([row]), path)
    elif path.suffix == ".jsonl":
        path.write_text(json.dumps(row) + "\n")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(
                file, delimiter="\t" if path.suffix == ".tsv" else ",", quoting=csv.QUOTE_ALL
            )
            writer.writerows([list(row), list(row.values())])


@pytest.fixture(scope="module")
def one_image():
    with tempfile.TemporaryDirectory() as name:
        PilImage.fromarray(pixels(0)).save(Path(name) / "a.png")
        yield Path(name)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@settings(max_examples=60)
@given(report=TEXTS, study=TEXTS, view=TEXTS)
def test_any_text_is_read_exactly_or_refused(one_image, suffix, report, study, view):
    row = {"image": "a.png", "report": report, "study": study, "view": view}
    if suffix != ".jsonl":  # the other formats cannot encode an unpaired surrogate
        assume(not any(0xD800 <= ord(c) < 0xE000 for c in report + study + view))
    path = one_image / f"set{suffix}"
    write_any(path, row)
    bad = [field for field, cell in row.items() if refused(cell)]
    words = " ".join(report.split())
    if not bad and words:
        (pair,) = load(path).pairs
        assert pair.report == Report(undivided=words)
        assert pair.study_id == (study.strip() or "a.png")
        assert pair.view == view.strip()
        return
    with pytest.raises(EvaluationSetError) as caught:
        load(path)
    message = str(caught.value)
    assert message.isprintable()
    assert str(path) in message
    if suffix in {".csv", ".tsv"} and any("\0" in cell for cell in row.values()):
        assert re.search(r"line \d+ contains a NUL character", message)
    elif words:
        assert re.search(rf"row 1\b.*: {bad[0]} ", message)
    else:
        assert f"excluded: 1 {NO_REPORT}" in message
