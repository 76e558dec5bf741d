"""Baselines from records, queries with several positives, and incomplete files."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.baselines import DIRECTIONS, assert_equal_runs, counts, make_run, model_run
from support.measured_records import record, several

from robustness.errors import BaselineError, UsageError
from robustness.metrics.rank_counts import RankCounts
from robustness.records import (
    CaseRecord,
)
from robustness.regression.baseline import Key, ModelRun, Run, differences
from robustness.regression.baseline_file import find, load, save
from robustness.results.after_run import baseline_of

PLAN = SimpleNamespace(protocol={"seed": 3}, evalset="phantom:5", precision="float32")


# --- from records ------------------------------------------------------------------------


def test_the_cases_of_a_model_are_merged():
    records = [
        record(levels=(0.0,)),
        record("clip", levels=(0.0,), fingerprint="def"),
        record(levels=(0.3, 0.5)),
        record("late", ranks=(), queries=None),
        CaseRecord("absent-square-0", ()),
    ]
    run = baseline_of(PLAN, records, {"device": "cpu"})
    assert run.protocol == {"seed": 3}
    assert run.environment == {"device": "cpu", "evalset": "phantom:5", "precision": "float32"}
    assert list(run.models) == ["phantom", "clip"]
    own = run.models["phantom"]
    assert own.fingerprint == "abc"
    assert run.models["clip"].fingerprint == "def"
    assert own.measured_on == {"set": "s"}
    assert own.patients == tuple("abcde")
    assert own.text_of_image.tolist() == [0, 1, 2, 3, 4]
    assert own.text_of_image.dtype == np.int64
    assert [(key.level, key.direction) for key in own.ranks] == [
        (level, direction)
        for level in (0.0, 0.3, 0.5)
        for direction in ("image_to_report", "report_to_image")
    ]
    for key, ranks in own.ranks.items():
        assert (key.pattern, key.fill, ranks.gallery_size) == ("square", "black", 9)
        for part, array in several(int(100 * key.level)).arrays().items():
            assert ranks.arrays()[part].tolist() == array.tolist()


def test_what_is_read_from_records_is_kept(tmp_path):
    sent = json.loads(json.dumps(record(levels=(0.0, 0.3)).to_json()))
    run = baseline_of(PLAN, [CaseRecord.from_json(sent)])
    assert_equal_runs(run, load(save(run, tmp_path, "main")))


def test_nothing_measured_is_a_run_without_models():
    assert baseline_of(PLAN, []).models == {}


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32])
def test_counts_of_any_integer_dtype_become_int64(dtype):
    arrays = {name: values.astype(dtype) for name, values in several().arrays().items()}
    for values in RankCounts.of(arrays, 9).arrays().values():
        assert values.dtype == np.int64


# --- files -------------------------------------------------------------------------------


def test_queries_with_several_positives_are_loaded_unchanged(tmp_path):
    """The pair arrays are longer than the query arrays."""
    ranks = {Key("square", "black", 0.0, "image_to_report"): several()}
    run = make_run(phantom=replace(model_run(5), ranks=ranks))
    assert_equal_runs(run, load(save(run, tmp_path, "main")))


@pytest.mark.parametrize("part", ["greater", "positives", "pair_greater", "pair_equal"])
def test_truncated_counts_are_rejected(tmp_path, part):
    whole = several()
    cut = replace(whole, **{part: whole.arrays()[part][:-1]})
    ranks = {Key("square", "black", 0.0, "image_to_report"): cut}
    path = save(make_run(phantom=replace(model_run(5), ranks=ranks)), tmp_path, "main")
    with pytest.raises(BaselineError, match="is incomplete: phantom, Key"):
        load(path)


def test_negative_counts_are_rejected(tmp_path):
    whole = several()
    ranks = {Key("square", "black", 0.0, "image_to_report"): replace(whole, equal=whole.equal - 9)}
    path = save(make_run(phantom=replace(model_run(5), ranks=ranks)), tmp_path, "main")
    with pytest.raises(
        BaselineError, match=r"is incomplete: .*equal must have shape \[5\] and no negative value"
    ):
        load(path)


@pytest.mark.parametrize("change", [{"greater": 7}, {"equal": 7}, {"greater": 4, "equal": 3}])
def test_rank_counts_beyond_the_gallery_are_rejected(tmp_path, change):
    """With seven items and one positive, at most six items are above it or level with it."""
    own = model_run(levels=(0.0,))

    def moved(by):
        zeros = {
            key: replace(c, greater=0 * c.greater, equal=0 * c.equal)
            for key, c in own.ranks.items()
        }
        ranks = {
            key: replace(c, **{part: getattr(c, part) + n for part, n in by.items()})
            for key, c in zeros.items()
        }
        return save(make_run(phantom=replace(own, ranks=ranks)), tmp_path, "main")

    with pytest.raises(
        BaselineError, match="is incomplete: .*rank counts exceed the gallery of 7 items"
    ):
        load(moved(change))
    load(moved({part: n - 1 if n == max(change.values()) else n for part, n in change.items()}))


def test_texts_that_do_not_match_the_images(tmp_path):
    run = make_run(phantom=replace(model_run(), text_of_image=np.arange(6)))
    with pytest.raises(
        BaselineError, match=r"phantom has 7 images but text_of_image has shape \[6\]"
    ):
        load(save(run, tmp_path, "main"))


def test_a_model_without_images_has_no_queries():
    none = ModelRun("abc", {}, (), np.zeros(0, np.int64), {})
    assert none.queries("image_to_report") == none.queries("report_to_image") == 0
    assert model_run(7).queries("image_to_report") == 7
    assert model_run(7).queries("report_to_image") == 6


def test_the_file_does_not_depend_on_the_order_of_a_run(tmp_path):
    run = make_run(phantom=model_run(), other=model_run(9, seed=4))
    backwards = Run(
        dict(reversed(run.protocol.items())),
        {
            name: replace(own, ranks=dict(reversed(own.ranks.items())))
            for name, own in reversed(run.models.items())
        },
        run.environment,
    )
    one, other = (save(each, tmp_path, "main").read_bytes() for each in (run, backwards))
    assert one == other


def test_a_missing_file(tmp_path):
    with pytest.raises(BaselineError, match="none.safetensors cannot be read: No such file"):
        load(tmp_path / "none.safetensors")


def test_a_file_with_the_schema_but_no_content_is_damaged(tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    whole = save(make_run(), tmp_path, "main")
    with safe_open(whole, "np") as file:
        (key,) = file.metadata()
        metadata = json.loads(file.metadata()[key])
    bare = tmp_path / "bare.safetensors"
    save_file({}, bare, {key: json.dumps({"schema": metadata["schema"]})})
    with pytest.raises(BaselineError, match="bare.safetensors is damaged: checksum mismatch"):
        load(bare)


def test_all_available_baselines_are_named(tmp_path):
    for name in ("main", "v1"):
        save(make_run(), tmp_path, name)
    with pytest.raises(UsageError, match="available: 0001_main, 0002_v1; save one"):
        find(tmp_path, "mian")


# --- differences -------------------------------------------------------------------------


def differing(now, then):
    run, base = (replace(make_run(), protocol={"x": value}) for value in (now, then))
    return differences(run, base, "phantom")


def test_another_evaluation_set_is_named_first():
    """Only if the images differ; the same images under another name are comparable."""
    then = replace(make_run(), environment={"evalset": "phantom:7"})
    elsewhere = replace(make_run(), environment={"evalset": "phantom:8"})
    assert not differences(elsewhere, then, "phantom")
    own = replace(then.models["phantom"], measured_on={"images and reports": "xyz"})
    found = differences(replace(elsewhere, models={"phantom": own}), then, "phantom")
    assert found[0] == "the evaluation set is phantom:8 here and phantom:7 in the baseline"
    assert found[1].startswith("images and reports is xyz here")
    found = differences(replace(then, models={"phantom": own}), then, "phantom")
    assert found[0].startswith("images and reports is xyz here")


def test_values_up_to_sixty_characters_are_not_shortened():
    long = "a" * 11 + "b" + "c" * 36 + "d" + "e" * 11
    assert len(long) == 60
    assert differing(long, "y") == [f"x is {long} here and y in the baseline"]
    short = f"{'a' * 11}b...d{'e' * 11}"
    assert differing(long.replace("c", "cc", 1), "y") == [
        f"x is {short} here and y in the baseline"
    ]


def test_other_values_are_reported_as_json():
    assert differing([{"b": 1, "a": None}], 2.5) == [
        'x is [{"a": null, "b": 1}] here and 2.5 in the baseline'
    ]
    assert differing({"deep": {"er": 1}}, {"deep": {"er": 2}}) == [
        "x deep er is 1 here and 2 in the baseline"
    ]


def test_equal_values_of_other_types_do_not_differ():
    """A loaded baseline has been through JSON, which has no tuples."""
    assert not differing(("a", "b"), ["a", "b"])
    assert not differing({"deep": (1, 2)}, {"deep": [1, 2]})


def test_the_first_missing_ranking_is_named():
    now = make_run(phantom=model_run(levels=(0.0, 0.1, 0.5, 0.7)))
    then = make_run(phantom=model_run(levels=(0.0, 0.7)))
    own = now.models["phantom"]
    # The baseline has one of the two directions.
    ranks = {k: v for k, v in own.ranks.items() if (k.level, k.direction) != (0.1, DIRECTIONS[0])}
    now = make_run(phantom=replace(own, ranks=ranks))
    assert differences(now, then, "phantom") == [
        "the baseline lacks 3 of 7 rankings, such as square, black, level 0.1"
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patients": tuple("abcdefg")}, "the patients of the images differ"),
        ({"text_of_image": np.zeros(7, int)}, "the texts of the images differ"),
    ],
)
def test_other_images_are_one_difference(change, message):
    then = make_run()
    now = make_run(phantom=replace(then.models["phantom"], **change))
    assert differences(now, then, "phantom") == [message]


def test_all_models_of_the_baseline_are_named():
    then = make_run(one=model_run(), two=model_run())
    assert differences(make_run(), then, "phantom") == [
        "the baseline has no model 'phantom'; it has one, two"
    ]


def test_different_rank_counts_are_not_a_difference():
    """The rank counts themselves are what is compared."""
    then = make_run()
    own = then.models["phantom"]
    changed = {key: counts(len(own.patients), 7, 99) for key in own.ranks}
    assert not differences(make_run(phantom=replace(own, ranks=changed)), then, "phantom")
