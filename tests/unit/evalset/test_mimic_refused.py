"""Invalid MIMIC-CXR-JPG specifications and trees: each error is one line."""

from __future__ import annotations

import os
import re
import shutil

import pytest
from PIL import Image as PilImage
from support import mimic_tree
from support.mimic_refusal import ALL, load, refused

from robustness import evalset
from robustness.errors import EvaluationSetError, UsageError


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


def test_the_undamaged_tree_is_complete(root):
    loaded = load(root)
    rows = mimic_tree.read(mimic_tree.table(root, "split"))[1:]
    assert len(loaded) + len(loaded.excluded) == len(rows) == 22
    assert len(loaded) == len(rows)


# --- specifications -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("split=dev", "option split is 'dev'; allowed are test, validate, train, all"),
        ("split=Test", "option split is 'Test'"),
        ("view=AP LLD", "option view is 'AP LLD'; allowed are frontal, PA, AP, lateral, all"),
        ("images=two", "option images is 'two'; allowed are one, all"),
        ("uncertain=ignore", "option uncertain is 'ignore'; allowed are negative, positive"),
        ("missing=", "option missing is ''; allowed are error, exclude"),
        ("side=0", "option side is '0'"),
        ("side=native,side=64", "duplicate option 'side'"),
        ("report=x.zip", "unknown option 'report'"),
        ("reports=", "option reports is ''"),
        ("reports=nowhere.zip", "option reports is 'nowhere.zip', but "),
    ],
)
def test_a_specification_is_refused_before_anything_is_read(root, options, message):
    assert message in refused(root, options, UsageError)
    with pytest.raises(UsageError, match=re.escape(message)):
        evalset.check_spec(f"mimic_cxr:{root},{options}")


@pytest.mark.parametrize("name", ["split", "metadata"])
def test_a_table_that_is_missing(root, name):
    mimic_tree.table(root, name).rename(root / f"{name}.csv.gz")
    assert f"no mimic-cxr-2.0.0-{name}.csv.gz in {root}" in refused(root, kind=UsageError)


def test_a_missing_label_table_is_an_error_if_its_option_is_used(root):
    mimic_tree.table(root, "chexpert").unlink()
    assert "no mimic-cxr-2.0.0-chexpert.csv.gz" in refused(root, "uncertain=negative", UsageError)


def test_a_wrong_folder(root):
    assert "name the folder that contains files/" in refused(root / "files", kind=UsageError)
    assert "no folder" in refused(root / "absent", kind=UsageError)
    assert "names no file or folder" in refused("", "split=test", UsageError)


# --- images ---------------------------------------------------------------------------------


def image_of(root):
    """Return the image of line 2 of the split table."""
    dicom, study, subject, _ = mimic_tree.read(mimic_tree.table(root, "split"))[1]
    return root / mimic_tree.name_of(subject, study).removesuffix(".txt") / f"{dicom}.jpg"


def test_a_missing_image(root):
    path = image_of(root)
    path.unlink()
    message = refused(root)
    assert f"split.csv.gz, line 2: image {path} does not exist" in message
    assert "missing=exclude" in message
    loaded = load(root, f"{ALL},missing=exclude")
    assert loaded.excluded_by_reason == {"image file missing": 1}


def test_an_image_that_leaves_the_folder(root, tmp_path):
    path = image_of(root)
    path.rename(tmp_path / "elsewhere.jpg")
    path.symlink_to(tmp_path / "elsewhere.jpg")
    for options in (ALL, f"{ALL},missing=exclude"):
        message = refused(root, options)
        assert re.search(r"split\.csv\.gz, line 2: '.*\.jpg' is outside", message)


def test_a_link_within_the_folder_and_a_linked_folder_are_read(root, tmp_path):
    before = load(root)
    path = image_of(root)
    path.rename(root / "files" / "moved.jpg")
    path.symlink_to(root / "files" / "moved.jpg")
    (root / "files").rename(tmp_path / "other disk")
    (root / "files").symlink_to(tmp_path / "other disk")
    path.unlink()
    path.symlink_to(tmp_path / "other disk" / "moved.jpg")
    assert load(root).pairs == before.pairs


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 no image", b"a text", None])
def test_a_damaged_image_is_named_when_it_is_decoded(root, content):
    path = image_of(root)
    path.write_bytes(path.read_bytes()[:-400] if content is None else content)
    loaded = load(root)
    (pair,) = [pair for pair in loaded.pairs if pair.image_id == path.stem]
    with pytest.raises(EvaluationSetError, match=re.escape(f"image {path} ")) as caught:
        loaded.decode(pair)
    assert str(caught.value).isprintable()


def test_an_image_of_too_many_pixels(root):
    path = image_of(root)
    PilImage.new("L", (12_000, 12_000)).save(path)
    loaded = load(root)
    (pair,) = [pair for pair in loaded.pairs if pair.image_id == path.stem]
    with pytest.raises(EvaluationSetError, match=r"decoded: .* bomb"):
        loaded.decode(pair)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_not_an_image(root):
    path = image_of(root)
    path.unlink()
    os.mkfifo(path)
    assert f"image {path} does not exist" in refused(root)
