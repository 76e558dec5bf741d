"""MIMIC-CXR-JPG in PhysioNet's layout: selected images and reasons for exclusion."""

from __future__ import annotations

import itertools
import shutil
import zipfile
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PilImage
from support import mimic_tree
from support.mimic_count import SPLITS, VIEWS, Collection, expected, image_file, images_of, spec

from robustness import evalset
from robustness.errors import EvaluationSetError
from robustness.evalset import Report


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """220 studies; some image files of the train and validate splits are missing."""
    folder = tmp_path_factory.mktemp("mimic")
    tree = mimic_tree.build(folder / "jpg")
    mimic_tree.put_reports(tree.root, tree)
    mimic_tree.put_reports(folder / "apart", tree)
    mimic_tree.put_archive(folder / "mimic-cxr-reports.zip", tree)
    rows = mimic_tree.read(mimic_tree.table(tree.root, "split"))[1:]
    missing = [row for row in rows if row[3] != "test"][::9]
    assert len(missing) > 15
    for row in missing:
        image_file(tree.root, *row[:3]).unlink()
    return Collection(tree, folder / "apart", folder / "mimic-cxr-reports.zip")


def test_the_tree_is_as_varied_as_the_collection(collection):
    """Precondition of the tests below."""
    rows = images_of(collection.root, "all")
    assert rows["study_id"].nunique() >= 200
    assert rows["study_id"].iloc[0] == "50414267"
    assert set(rows["split"]) == {"test", "validate", "train"}
    assert {"PA", "AP", "LATERAL", "LL", "AP LLD", ""} <= set(rows["ViewPosition"])
    assert rows.groupby("subject_id")["study_id"].nunique().max() > 2
    frontal = rows[rows["ViewPosition"].isin(["PA", "AP"])]
    assert frontal.groupby("study_id").size().max() == 2
    times = rows["StudyTime"]
    assert (times == "").any()
    assert {len(time.split(".")[0]) for time in times if time} >= {4, 5, 6}
    as_text = rows.sort_values(["subject_id", "study_id", "rank", "date", "StudyTime", "dicom_id"])
    assert list(as_text["dicom_id"]) != list(rows["dicom_id"]), "leading zeros must matter"
    assert len(collection.tree.texts) < rows["study_id"].nunique()
    assert sum(not report.findings for report in collection.tree.expected.values()) > 20


@pytest.mark.parametrize("split", SPLITS)
def test_counts_equal_an_independent_count(collection, split):
    errors = 0
    rows = images_of(collection.root, split)
    for view, images, missing in itertools.product(
        [*VIEWS, "all"], ["one", "all"], ["error", "exclude"]
    ):
        options = {"view": view, "images": images, "missing": missing}
        count = expected(collection, rows, **options)
        options["split"] = split
        if count is None:
            errors += 1
            with pytest.raises(EvaluationSetError, match=r"split\.csv\.gz, line \d+: image .* not"):
                collection.load(**options)
            continue
        loaded = collection.load(**options)
        selected, reasons = count
        assert [pair.image_id for pair in loaded.pairs] == selected
        assert loaded.excluded_by_reason == dict(sorted(reasons.items()))
        left_out = [exclusion.item for exclusion in loaded.excluded]
        assert sorted(selected + left_out) == sorted(rows["dicom_id"])
    assert bool(errors) == (split != "test")


def test_the_default_is_one_frontal_image_per_study_of_the_test_split(collection):
    loaded = collection.load()
    named = collection.load(
        split="test", view="frontal", images="one", uncertain="negative", missing="error", side=1024
    )
    assert loaded.pairs == named.pairs
    assert loaded.excluded == named.excluded
    assert len({pair.study_id for pair in loaded.pairs}) == len(loaded) > 60
    assert {pair.view for pair in loaded.pairs} == {"PA", "AP"}


def test_a_pair_matches_the_tables(collection):
    loaded = collection.load(split="all", view="all", images="all", missing="exclude")
    rows = images_of(collection.root, "all").set_index("dicom_id")
    for pair in loaded.pairs:
        row = rows.loc[pair.image_id]
        assert (pair.study_id, pair.patient_id) == (f"s{row.study_id}", f"p{row.subject_id}")
        assert pair.view == row.ViewPosition
        assert pair.report == collection.tree.expected[row.subject_id, row.study_id]
    sections = ("indication", "comparison", "findings", "impression", "undivided")
    for section in sections:
        assert sum(bool(getattr(pair.report, section)) for pair in loaded.pairs) > 10


# --- places of the reports ----------------------------------------------------------------


def test_reports_do_not_depend_on_their_place(collection, tmp_path):
    options = {"split": "all", "view": "all", "images": "all", "missing": "exclude"}
    default = collection.load(**options)
    for place in (collection.archive, collection.apart, collection.apart / "files"):
        other = collection.load(**options, reports=place)
        assert other.pairs == default.pairs
        assert other.excluded == default.excluded
        assert other.fingerprint == default.fingerprint
    # No reports next to the images, but the archive next to the tables.
    bare = tmp_path / "bare"
    shutil.copytree(collection.root, bare, ignore=shutil.ignore_patterns("*.txt"))
    shutil.copy(collection.archive, bare)
    packed = evalset.load(spec(bare, **options))
    assert packed.pairs == default.pairs
    assert packed.fingerprint == default.fingerprint
    relative = evalset.load(spec(bare, **options, reports="mimic-cxr-reports.zip"))
    assert relative.pairs == default.pairs


def test_an_archive_takes_precedence_over_a_tree(tmp_path):
    tree = mimic_tree.build(tmp_path, studies=6, drawn=1)
    mimic_tree.put_reports(tmp_path, tree)
    changed = dict.fromkeys(tree.texts, " IMPRESSION: Of the archive.")
    mimic_tree.put_archive(
        tmp_path / "mimic-cxr-reports.zip", mimic_tree.Tree(tmp_path, changed, {})
    )
    loaded = evalset.load(spec(tmp_path, split="all"))
    assert {pair.report for pair in loaded.pairs} == {Report(impression="Of the archive.")}


def test_an_archive_may_contain_a_parent_folder(tmp_path):
    """Some users archive the unpacked folder: mimic-cxr-reports/files/p10/..."""
    tree = mimic_tree.build(tmp_path, studies=6, drawn=1)
    with zipfile.ZipFile(tmp_path / "mimic-cxr-reports.zip", "w") as archive:
        archive.writestr("mimic-cxr-reports/LICENSE.txt", "Read it.")
        for key, text in tree.texts.items():
            archive.writestr(f"mimic-cxr-reports/{mimic_tree.name_of(*key)}", text)
    loaded = evalset.load(spec(tmp_path, split="all", images="all", view="all"))
    assert len(loaded) + len(loaded.excluded) == len(images_of(tmp_path, "all"))
    assert "no report of the study" not in loaded.excluded_by_reason


# --- labels ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("uncertain", "values"), [("negative", {1}), ("positive", {1, -1})])
def test_labels_match_the_table(collection, uncertain, values):
    loaded = collection.load(split="all", missing="exclude", uncertain=uncertain)
    labels = pd.read_csv(
        mimic_tree.table(collection.root, "chexpert"), dtype={"study_id": str}
    ).set_index("study_id")
    counts = Counter()
    for pair in loaded.pairs:
        study = pair.study_id[1:]
        if study not in labels.index:
            assert pair.labels is None
            counts["none"] += 1
            continue
        row = labels.loc[study]
        present = {name for name in mimic_tree.FINDINGS if row[name] in values}
        assert pair.labels == present
        counts.update(present)
        counts["uncertain"] += any(row[name] == -1 for name in mimic_tree.FINDINGS)
    assert min(counts[name] for name in ("none", "uncertain", "No Finding", "Edema")) > 0


def test_without_the_table_no_pair_has_labels(tmp_path):
    tree = mimic_tree.build(tmp_path, studies=6, drawn=1)
    mimic_tree.put_reports(tmp_path, tree)
    with_labels = evalset.load(spec(tmp_path, split="all"))
    assert any(pair.labels is not None for pair in with_labels.pairs)
    mimic_tree.table(tmp_path, "chexpert").unlink()
    without = evalset.load(spec(tmp_path, split="all"))
    assert {pair.labels for pair in without.pairs} == {None}
    assert without.fingerprint != with_labels.fingerprint


# --- images -----------------------------------------------------------------------------------


def thumbnail_size(image, side):
    image.thumbnail((side, side))
    return image.size


def test_images_decode_as_pillow_decodes_them(collection):
    native = collection.load(side="native")
    small = collection.load(side=64)
    default = collection.load()
    assert len({tuple(pair.digest for pair in some.pairs) for some in (native, small, default)}) > 2
    for pair, reduced, usual in list(zip(native.pairs, small.pairs, default.pairs, strict=True))[
        ::5
    ]:
        path = image_file(
            collection.root, pair.image_id, pair.study_id[1:], pair.patient_id[1:]
        )  # fmt: skip
        with PilImage.open(path) as opened:
            whole = np.array(opened)
            reduced_size = thumbnail_size(opened, 64)
        with PilImage.open(path) as opened:
            _, box = opened.draft("L", reduced_size)
            at_most = np.array(opened.resize(reduced_size, PilImage.Resampling.BICUBIC, box=box))
        image = native.decode(pair)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, whole)
        np.testing.assert_array_equal(default.decode(usual), whole)
        np.testing.assert_array_equal(small.decode(reduced), at_most)


def test_a_digest_depends_on_the_content_of_its_file(tmp_path):
    tree = mimic_tree.build(tmp_path, studies=6, drawn=1)
    mimic_tree.put_reports(tmp_path, tree)
    before = evalset.load(spec(tmp_path, split="all"))
    assert len({pair.digest for pair in before.pairs}) == len(before)
    pair = before.pairs[1]
    path = image_file(tmp_path, pair.image_id, pair.study_id[1:], pair.patient_id[1:])
    content = path.read_bytes()
    path.write_bytes(content + b"\0")
    after = evalset.load(spec(tmp_path, split="all"))
    differ = [a.digest != b.digest for a, b in zip(before.pairs, after.pairs, strict=True)]
    assert differ == [row == 1 for row in range(len(before))]
    assert after.fingerprint != before.fingerprint
    path.write_bytes(content)
    assert evalset.load(spec(tmp_path, split="all")).fingerprint == before.fingerprint


# --- tables -------------------------------------------------------------------------------------


def test_newer_and_unpacked_tables_are_read(collection, tmp_path):
    """The newest version is used, compressed or not, in any order of rows."""
    root = tmp_path / "jpg"
    shutil.copytree(collection.root, root)
    options = {"split": "all", "view": "all", "missing": "exclude"}
    before = evalset.load(spec(root, **options))
    for name in ("split", "metadata", "chexpert"):
        path = mimic_tree.table(root, name)
        header, *rows = mimic_tree.read(path)
        mimic_tree.write(root / f"mimic-cxr-2.10.0-{name}.csv", [header, *reversed(rows)])
        path.write_bytes(b"an older table, which must be ignored")
    after = evalset.load(spec(root, **options))
    assert after.pairs == before.pairs
    assert after.excluded_by_reason == before.excluded_by_reason


def test_line_ends_quotes_and_a_byte_order_mark_change_nothing(tmp_path):
    tree = mimic_tree.build(tmp_path, studies=6, drawn=1)
    mimic_tree.put_reports(tmp_path, tree)
    before = evalset.load(spec(tmp_path, split="all"))
    for name in ("split", "metadata", "chexpert"):
        path = mimic_tree.table(tmp_path, name)
        quoted = [",".join(f'"{value}"' for value in row) for row in mimic_tree.read(path)]
        path.with_suffix("").write_bytes("\r\n".join([*quoted, "", ""]).encode("utf-8-sig"))
        path.unlink()
    assert evalset.load(spec(tmp_path, split="all")).pairs == before.pairs


# --- through the gate -----------------------------------------------------------------------------


def test_the_gate_measures_it_from_end_to_end(repository, collection):
    repository.edit("[square, grid]", "[grid]")
    repository.edit("[black, grey]", "[grey]")
    outcome = repository.gate(f"--robustness-evalset={spec(collection.root)}", "-k", "occlusion")
    assert outcome.ret in {0, 1}, "a verdict, pass or fail"
    results = repository.results()
    selected, reasons = expected(
        collection, images_of(collection.root, "test"), "frontal", "one", "error"
    )
    measured = results["protocol"]["evalset"]
    assert measured["images"] == len(selected)
    assert measured["excluded"] == reasons
    cells = results["measurements"]
    assert len(cells) == 2 * 2
    by_labels = {f"{name}@{k}" for name in ("precision", "ndcg") for k in (1, 5, 10)}
    for cell in cells:
        assert cell["evalset"] == spec(collection.root)
        assert by_labels <= set(cell["metrics"])
        for name in by_labels:
            metric = cell["metrics"][name]
            assert 0 <= metric["low"] <= metric["value"] <= metric["high"] <= 1
            assert 0 < cell["chance"][name] < 1
    clean = [cell for cell in cells if cell["level"] == 0]
    for cell in clean:
        # The reference encoder was trained on such phantoms.
        assert cell["metrics"]["hit@10"]["value"] > 3 * cell["chance"]["hit@10"]
        assert cell["metrics"]["ndcg@10"]["value"] > cell["chance"]["ndcg@10"]
