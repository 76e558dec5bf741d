"""Invalid Hugging Face datasets are refused in one line that names them."""

from __future__ import annotations

import json
import shutil
import struct

import datasets
import pyarrow as pa
import pytest
from support.table_files import load, png

from robustness.errors import EvaluationSetError, UsageError

ROWS = {"image": [png(0), png(1)], "report": ["Clear.", "Größer."], "labels": [["Edema"], []]}


def save(dataset, path):
    dataset.save_to_disk(path)
    return path


def hf(path, *options):
    return load(path, *options, kind="hf")


def edit(file, **changes):
    found = json.loads(file.read_text())
    found.update(changes)
    file.write_text(json.dumps(found))


def unset(file, key):
    found = json.loads(file.read_text())
    del found[key]
    file.write_text(json.dumps(found))


ARROW = "data-00000-of-00001.arrow"
DAMAGE = {
    "no arrow file": (lambda s: (s / ARROW).unlink(), f"{ARROW}"),
    "a truncated arrow file": (
        lambda s: (s / ARROW).write_bytes((s / ARROW).read_bytes()[:700]), "not a readable data"),
    "an empty arrow file": (lambda s: (s / ARROW).write_bytes(b""), "not a readable dataset"),
    "no arrow file at all": (lambda s: edit(s / "state.json", _data_files=[]), "names no data"),
    "a file elsewhere": (
        lambda s: edit(s / "state.json", _data_files=[{"filename": "../other.arrow"}]),
        "state.json: '../other.arrow' is outside"),
    "an absolute file": (
        lambda s: edit(s / "state.json", _data_files=[{"filename": "/etc/passwd"}]),
        "state.json: '/etc/passwd' is outside"),
    "a remote file": (
        lambda s: edit(s / "state.json", _data_files=[{"filename": "s3://bucket/x.arrow"}]),
        "s3:/bucket/x.arrow"),
    "a link elsewhere": (
        lambda s: (shutil.move(s / ARROW, s.parent), (s / ARROW).symlink_to(s.parent / ARROW)),
        f"state.json: '{ARROW}' is outside"),
    "a file without a name": (
        lambda s: edit(s / "state.json", _data_files=["x"]), "names a data file as 'x'"),
    "no info": (lambda s: (s / "dataset_info.json").unlink(), "info.json cannot be read: No such"),
    "info that is not JSON": (
        lambda s: (s / "dataset_info.json").write_text("{"), "dataset_info.json is not JSON"),
    "a state that is a list": (
        lambda s: (s / "state.json").write_text("[]"), "state.json is not a JSON object"),
    "a state that lacks a key": (
        lambda s: unset(s / "state.json", "_fingerprint"), "not a readable dataset"),
    "an unknown format": (
        lambda s: edit(s / "state.json", _format_type="jax2"), "not a readable dataset"),
    "features of other columns": (
        lambda s: edit(s / "dataset_info.json", features={"a": {"_type": "Value", "dtype": "x"}}),
        "not a readable dataset"),
    "features that nest without end": (
        lambda s: (s / "dataset_info.json").write_text('{"a":' * 3000 + "1" + "}" * 3000),
        "dataset_info.json is not JSON"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_datasets_and_paths_outside(tmp_path, damage, message):
    saved = save(datasets.Dataset.from_dict(ROWS), tmp_path / "saved")
    damage(saved)
    with pytest.raises(EvaluationSetError) as caught:
        hf(saved)
    assert message in str(caught.value)
    assert str(saved) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (struct.pack("<3i", 0, 6, 12), struct.pack("<3i", 0, 6, 5_000_000)),
        (struct.pack("<3i", 0, 6, 12), struct.pack("<3i", 0, 9, 3)),
        (b"Clear.", b"Clea\xff\xfe"),
    ],
    ids=["beyond the end", "backwards", "not UTF-8"],
)
def test_invalid_text_offsets(tmp_path, before, after):
    rows = {"image": ["a.png", "b.png"], "report": ["Clear.", "Mass.."]}
    saved = save(datasets.Dataset.from_dict(rows), tmp_path / "saved")
    for name in rows["image"]:
        (saved / name).write_bytes(png())
    assert len(hf(saved)) == 2
    content = (saved / ARROW).read_bytes()
    assert content.count(before) == 1
    (saved / ARROW).write_bytes(content.replace(before, after))
    with pytest.raises(EvaluationSetError, match="saved is not a readable dataset: "):
        hf(saved)


def test_a_file_cut_between_batches(tmp_path):
    """Arrow would read it as a complete file."""
    made = datasets.Dataset.from_dict(
        {"image": [f"{i}.png" for i in range(2500)], "report": ["Clear."] * 2500}
    )
    saved = save(made, tmp_path / "saved")
    for i in range(2500):
        (saved / f"{i}.png").write_bytes(b"")
    assert len(hf(saved)) == 2500
    whole = (saved / ARROW).read_bytes()
    with pa.ipc.open_stream(whole) as stream:
        assert stream.read_next_batch().num_rows < 2500
    sink = pa.BufferOutputStream()
    with pa.ipc.open_stream(whole) as stream, pa.ipc.new_stream(sink, stream.schema) as writer:
        writer.write_batch(stream.read_next_batch())
    part = sink.getvalue().to_pybytes().removesuffix(b"\xff\xff\xff\xff\0\0\0\0")
    with pa.ipc.open_stream(part) as stream:
        assert 0 < stream.read_all().num_rows < 2500
    (saved / ARROW).write_bytes(part)
    with pytest.raises(
        EvaluationSetError, match=f"{ARROW} is truncated: the end marker is missing"
    ):
        hf(saved)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"image": [1], "report": ["Clear."]}, "row 0: column 'image' contains no image; allowed"),
        ({"image": [None], "report": ["Clear."]}, "row 0: column 'image' contains no image"),
        ({"image": [b""], "report": ["Clear."]}, "row 0: column 'image' contains no image"),
        ({"image": [["a.png"]], "report": ["Clear."]}, "row 0: column 'image' contains no image"),
        ({"image": ["../a.png"], "report": ["Clear."]}, r"row 0: '\.\./a\.png' is outside"),
        ({"image": ["a.png"], "report": [["Clear."]]}, r"row 0: report is \['Clear\.'\], of type"),
        ({"image": ["a.png"], "report": [float("nan")]}, "image with a usable report"),
        ({"image": ["a.png"], "report": ["nan"]}, "row 0: report is 'nan', which stands for a"),
        ({"image": ["a.png"], "report": ["Clear."], "labels": [3]}, "row 0: labels is 3, of type"),
        ({"image": ["a.png", "a.png"], "report": ["A.", "A."]}, "row 1: duplicate image 'a.png'"),
        ({"image": ["a.png"], "text": ["Clear."]}, "no column 'report', 'findings' or"),
        ({"image": [], "report": []}, "names no data files: it has no rows"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used(tmp_path, rows, message):
    made = datasets.Dataset.from_dict(rows)
    saved = save(made, tmp_path / "saved")
    (saved / "a.png").write_bytes(png())
    with pytest.raises(EvaluationSetError, match=message):
        hf(saved)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (["../other"], "dataset_dict.json: '../other' is outside"),
        (["/etc"], "dataset_dict.json: '/etc' is outside"),
        (["gone"], "gone/state.json cannot be read: No such file"),
        (["test", "train"], "several splits; select one with the option split=NAME: test, train"),
        ("test", "dataset_dict.json has no list of splits"),
        ([1], "dataset_dict.json has no list of splits"),
        ([], "dataset_dict.json has no list of splits"),
    ],
)
def test_invalid_splits(tmp_path, splits, message):
    made = datasets.Dataset.from_dict(ROWS)
    saved = save(datasets.DatasetDict({"test": made}), tmp_path / "saved")
    assert len(hf(saved)) == 2
    (saved / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
    with pytest.raises(EvaluationSetError) as caught:
        hf(saved)
    assert message in str(caught.value)


def test_a_class_beyond_the_names(tmp_path):
    features = datasets.Features(
        image=datasets.Value("string"),
        report=datasets.Value("string"),
        labels=datasets.Value("int64"),
    )
    rows = {"image": ["a.png"], "report": ["Clear."], "labels": [7]}
    saved = save(datasets.Dataset.from_dict(rows, features), tmp_path / "saved")
    info = json.loads((saved / "dataset_info.json").read_text())
    info["features"]["labels"] = {"names": ["Edema"], "_type": "ClassLabel"}
    (saved / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(EvaluationSetError, match="row 0: labels is class 7 of 1 classes"):
        hf(saved, f"root={tmp_path}")


@pytest.mark.parametrize("name", ["", "nowhere", "."])
def test_folder_without_a_dataset(tmp_path, name):
    message = (
        "names no file" if not name else "no folder" if name == "nowhere" else "contains no data"
    )
    with pytest.raises(UsageError, match=message):
        hf(tmp_path / name if name else "")


def test_invalid_image_is_named_when_decoded(tmp_path):
    made = datasets.Dataset.from_dict({"image": [png(), b"no image"], "report": ["A.", "B."]})
    loaded = hf(save(made, tmp_path / "saved"))
    with pytest.raises(
        EvaluationSetError, match=r"image .*saved, row 1 is not in a supported format"
    ):
        loaded.decode(loaded.pairs[1])
