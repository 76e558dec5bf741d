"""Hugging Face datasets saved to disk."""

from __future__ import annotations

import socket

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image as PilImage
from support.table_files import (
    FIELDS,
    ROWS,
    decode_with_pillow,
    full,
    load,
    pixels,
    png,
    shown,
    write_images,
    write_table,
)

from robustness.errors import EvaluationSetError

NO_REPORT = "no findings, no impression and no undivided report"
EMPTY = "row with every cell that is read empty"
NAMED = [row for row in full(ROWS) if row["image"]]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments):
        raise AssertionError(f"a connection to {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path)
    return tmp_path


def save(dataset, path, **options):
    dataset.save_to_disk(path, **options)
    return path


def with_images(folder, rows=NAMED):
    rows = [row | {"image": str(folder / row["image"])} for row in rows]
    return datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())


def hf(path, *options):
    return load(path, *options, kind="hf")


# --- valid datasets -----------------------------------------------------------------------


@pytest.mark.parametrize("shards", [1, 3])
def test_images_in_the_dataset(folder, shards):
    """Digests and pixels equal those of the original files."""
    saved = save(with_images(folder), folder / "saved", num_shards=shards)
    table = load(write_table(folder / "set.csv", NAMED), "side=native")
    before = {pair.image_id: table.decode(pair) for pair in table.pairs}
    for name in before:
        (folder / name).unlink()
    loaded = hf(saved, "side=native")
    assert [pair.image_id for pair in loaded.pairs] == ["0", "1", "2", "4", "5"]
    assert loaded.excluded_by_reason == {NO_REPORT: 1}
    for pair, expected in zip(loaded.pairs, table.pairs, strict=True):
        assert (pair.digest, pair.report) == (expected.digest, expected.report)
        assert (pair.labels, pair.view) == (expected.labels, expected.view)
        assert loaded.decode(pair).dtype == np.uint8
        np.testing.assert_array_equal(loaded.decode(pair), before[expected.image_id])
    assert [pair.study_id for pair in loaded.pairs] == ["s1", "s1", "s2", "4", "5"]


def test_columns_that_are_not_read_are_named(folder):
    rows = [row | {"subject_id": "7", "seen": True} for row in NAMED]
    rows = [{key: value for key, value in row.items() if key != "patient"} for row in rows]
    saved = save(with_images(folder, rows), folder / "saved")
    assert hf(saved).misnamed == {"subject_id": "patient"}
    assert [each.column for each in hf(saved).unread] == ["subject_id", "seen"]
    assert hf(saved, "patient=subject_id").misnamed == {}


def test_images_equal_those_of_pillow(folder):
    loaded = hf(save(with_images(folder), folder / "saved"), "side=native")
    files = [NAMED[int(pair.image_id)]["image"] for pair in loaded.pairs]
    for pair, file in zip(loaded.pairs, files, strict=True):
        np.testing.assert_array_equal(loaded.decode(pair), decode_with_pillow(folder / file))


def test_images_given_as_pillow_images(folder):
    images = [PilImage.fromarray(pixels(seed)) for seed in range(2)]
    made = datasets.Dataset.from_dict({"image": images, "report": ["Clear.", "Mass."]})
    assert isinstance(made.features["image"], datasets.Image)
    loaded = hf(save(made, folder / "saved"))
    for seed, pair in enumerate(loaded.pairs):
        np.testing.assert_array_equal(loaded.decode(pair), pixels(seed))


def test_images_as_bytes(folder):
    made = datasets.Dataset.from_dict({"image": [png(0), png(1)], "report": ["Clear.", "Mass."]})
    loaded = hf(save(made, folder / "saved"))
    for seed, pair in enumerate(loaded.pairs):
        np.testing.assert_array_equal(loaded.decode(pair), pixels(seed))


def test_text_paths_equal_a_manifest(folder):
    saved = save(datasets.Dataset.from_list(full(ROWS)), folder / "saved")
    loaded = hf(saved, f"root={folder}")
    table = load(write_table(folder / "set.jsonl", ROWS))
    assert shown(loaded) == shown(table)
    assert loaded.fingerprint == table.fingerprint
    assert loaded.excluded_by_reason == table.excluded_by_reason == {NO_REPORT: 1, EMPTY: 1}
    with pytest.raises(EvaluationSetError, match=r"row 0: image .*saved/a\.png does not exist"):
        hf(saved)


def test_an_image_may_name_a_file_of_the_folder(folder):
    saved = save(with_images(folder), folder / "saved")
    rewrite(saved, lambda row: row | {"image": {"bytes": None, "path": row["labels"][0] + ".png"}})
    for name in ("Edema", "Cardiomegaly", "Mass"):
        PilImage.fromarray(pixels(len(name))).save(saved / f"{name}.png")
    loaded = hf(saved)
    np.testing.assert_array_equal(loaded.decode(loaded.pairs[0]), pixels(len("Edema")))
    with pytest.raises(EvaluationSetError, match=r"row 0: .*Edema\.png' is outside|not exist"):
        hf(saved, f"root={folder}")


def rewrite(saved, change):
    """Rewrite the Arrow file of a dataset with changed rows where there are labels."""
    (file,) = saved.glob("*.arrow")
    with pa.ipc.open_stream(file.read_bytes()) as stream:
        table = stream.read_all()
    rows = [change(row) for row in table.to_pylist() if row["labels"]]
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=table.schema))


def test_splits(folder):
    made = with_images(folder)
    saved = save(
        datasets.DatasetDict({"train": made, "test": made.select([0, 5])}), folder / "saved"
    )
    assert len(hf(saved, "split=train")) == 5
    assert [pair.image_id for pair in hf(saved, "split=test").pairs] == ["0", "1"]
    with pytest.raises(EvaluationSetError, match=r"several splits; select one .*: train, test"):
        hf(saved)
    with pytest.raises(EvaluationSetError, match=r"no split 'dev'; select one .*: train, test"):
        hf(saved, "split=dev")
    one = save(datasets.DatasetDict({"test": made}), folder / "one")
    assert len(hf(one)) == len(hf(one, "split=test")) == len(hf(one / "test")) == 5
    plain = save(made, folder / "plain")
    with pytest.raises(EvaluationSetError, match="is a single dataset, without a split; leave"):
        hf(plain, "split=test")


@pytest.mark.parametrize("form", [None, "numpy", "torch", "pandas", "arrow"])
def test_selected_rows_and_a_set_format(folder, form):
    made = with_images(folder).filter(lambda row: row["view"] == "PA").with_format(form)
    (pair,) = hf(save(made, folder / "saved")).pairs
    assert (pair.view, pair.study_id, pair.labels) == ("PA", "s1", {"Edema", "Cardiomegaly"})


def test_classes_are_read_as_their_names(folder):
    names = datasets.ClassLabel(names=["Edema", "No Finding", "Mass"])
    views = datasets.ClassLabel(names=["PA", "AP"])
    features = datasets.Features(
        image=datasets.Value("string"),
        report=datasets.Value("string"),
        view=views,
        labels=datasets.List(names),
    )
    rows = {
        "image": ["a.png", "c.tif", "d.png", "e.png"],
        "report": ["Clear."] * 4,
        "view": [0, 1, -1, None],
        "labels": [[0, 2], [1], [], None],
    }
    made = datasets.Dataset.from_dict(rows, features)
    pairs = hf(save(made, folder / "saved"), f"root={folder}").pairs
    assert [pair.view for pair in pairs] == ["PA", "AP", "", ""]
    assert [pair.labels for pair in pairs] == [{"Edema", "Mass"}, set(), set(), None]
    one = made.remove_columns("labels").add_column("labels", [2, 1, 0, None], feature=names)
    pairs = hf(save(one, folder / "one"), f"root={folder}").pairs
    assert [pair.labels for pair in pairs] == [{"Mass"}, set(), {"Edema"}, None]


def test_columns_are_named_by_options(folder):
    made = with_images(folder).rename_columns({"image": "xray", "findings": "text"})
    saved = save(made, folder / "saved")
    assert hf(saved, "image=xray", "findings=text").pairs[0].report.findings.startswith("Herz")
    with pytest.raises(EvaluationSetError, match="no column 'image'; the columns are 'xray'"):
        hf(saved)


def test_fields_are_those_of_a_manifest():
    from robustness.evalset import hf as kind
    from robustness.evalset import manifest

    assert set(FIELDS) <= set(kind.OPTIONS)
    assert set(kind.OPTIONS) - {"split"} == set(manifest.OPTIONS)
