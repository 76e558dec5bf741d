"""Images, rows and files of table-based evaluation sets for tests."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image as PilImage

from robustness import evalset
from robustness.errors import EvaluationSetError

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".csv.gz", ".tsv.gz", ".jsonl.gz")
FIELDS = (
    "image", "report", "indication", "comparison", "findings", "impression", "study", "patient",
    "view", "labels",
)  # fmt: skip

ROWS = [
    {
        "image": "a.png", "findings": "Herz größer, links\n\"betont\".", "impression": "Ödem; mild",
        "indication": "Husten, Fieber", "study": "s1", "patient": "p1", "view": "PA",
        "labels": ["Edema", "Cardiomegaly"],
    },
    {
        "image": "in/b ü.jpg", "findings": "Herz größer, links \"betont\".",
        "impression": "Ödem; mild", "indication": "Husten, Fieber", "study": "s1", "patient": "p1",
        "view": "lateral", "labels": ["Edema"],
    },
    {},
    {
        "image": "c.tif", "report": "Clear lungs.\r\nNo effusion.\tNormal heart.", "study": "s2",
        "patient": "p1", "view": "AP", "labels": [],
    },
    {"image": "d.png", "study": "s3", "patient": "p2", "view": "PA", "labels": ["Mass"]},
    {"image": "e.png", "impression": "  =1+1, 'quoted' \\ \u2028 end \U0001fac1 ", "view": "AP"},
    {"image": "in/f.png", "report": "Not read.", "findings": "Read.", "comparison": "None."},
]  # fmt: skip
"""Two images of one study, an empty row, a row without a report, and unusual report texts."""


def pixels(seed, *, dtype=np.uint8, shape=(20, 24)):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def write_images(root):
    """Write the images of :data:`ROWS`: greyscale and colour, 8 and 16 bit, lossless and JPEG."""
    (root / "in").mkdir(parents=True)
    PilImage.fromarray(pixels(0)).save(root / "a.png")
    PilImage.fromarray(pixels(1)).save(root / "in/b ü.jpg", quality=90)
    PilImage.fromarray(pixels(2, dtype=np.uint16)).save(root / "c.tif")
    PilImage.fromarray(pixels(3, shape=(9, 8, 3))).save(root / "d.png")
    PilImage.fromarray(pixels(4, shape=(9, 8, 3))).save(root / "e.png")
    PilImage.fromarray(pixels(5, shape=(1, 1))).save(root / "in/f.png")


def png(seed=0):
    file = io.BytesIO()
    PilImage.fromarray(pixels(seed)).save(file, "PNG")
    return file.getvalue()


def decode_with_pillow(path):
    """Decode to uint8 greyscale with Pillow; 16 bits are scaled linearly."""
    with PilImage.open(path) as opened:
        if not opened.mode.startswith("I"):
            return np.asarray(opened.convert("L"))
        values = np.asarray(opened).astype(np.float64)
    return np.rint((values - values.min()) / (values.max() - values.min()) * 255).astype(np.uint8)


def full(rows, fields=FIELDS):
    return [{field: row.get(field) for field in fields} for row in rows]


def as_text(labels):
    """Return labels in the form of a text cell."""
    return "" if labels is None else "|".join(labels) if labels else "none"


def write_table(path, rows, fields=FIELDS, *, line_end="\n"):
    """Write a table in the format of the file name, with the library a user would choose."""
    rows = full(rows, fields)
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist(rows), path)
        return path
    if name.endswith(("jsonl", "ndjson")):
        text = "".join(json.dumps(row, ensure_ascii=False) + line_end for row in rows)
    else:
        import pandas as pd

        rows = [row | {"labels": as_text(row.get("labels"))} for row in rows]
        frame = pd.DataFrame(rows, columns=list(fields))
        separator = "\t" if name.endswith(".tsv") else ","
        text = frame.to_csv(index=False, sep=separator, lineterminator=line_end)
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_rows(path, *rows):
    """Write a CSV file of these rows; the first row is the header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def tar_of(path, samples):
    """Write a shard with tarfile: the members of each key by extension; dicts become JSON."""
    with tarfile.open(path, "w") as archive:
        for key, members in samples:
            for extension, content in members.items():
                if isinstance(content, dict):
                    content = json.dumps(content)
                content = content.encode() if isinstance(content, str) else content
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def shown(loaded):
    """Return the data of all pairs of a set, without the images."""
    return [
        (p.image_id, p.study_id, p.patient_id, p.view, p.report, p.labels, p.digest)
        for p in loaded.pairs
    ]


def load(path, *options, kind="manifest"):
    return evalset.load(",".join([f"{kind}:{path}", *options]))


def refuses(path, message, *options, kind="manifest"):
    """Assert that loading fails with a one-line error with the file name and ``message``."""
    with pytest.raises(EvaluationSetError) as caught:
        load(path, *options, kind=kind)
    text = str(caught.value)
    assert message in text
    assert path.name in text
    assert text.isprintable(), "must be one line without terminal escapes"
    assert len(text) < 1000
