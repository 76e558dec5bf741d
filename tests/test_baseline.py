"""Baselines: kept whole, found by name, checked when read, compared only with their like."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from robustness.baseline import (
    Key,
    ModelRun,
    Run,
    check_name,
    check_protocol,
    differences,
    find,
    load,
    save,
)
from robustness.counts import RankCounts
from robustness.errors import BaselineError, GateError, UsageError

DIRECTIONS = ("image_to_report", "report_to_image")


def counts(n, gallery, seed):
    rng = np.random.default_rng(seed)
    greater = rng.integers(0, gallery - 1, n)
    one = np.ones(n, np.int64)
    return RankCounts(greater, 0 * one, one, one, greater, 0 * one, gallery)


def model_run(n=7, seed=0, levels=(0.0, 0.3)):
    texts = np.array([*range(n - 1), 0])
    sizes = dict(zip(DIRECTIONS, (n, n - 1), strict=True))
    ranks = {
        Key("square", "black", level, d): counts(sizes[d], n, [seed, i, int(10 * level)])
        for level in levels
        for i, d in enumerate(DIRECTIONS)
    }
    measured_on = {"images and reports": "abc", "text policy": {"sections": ["findings"]}}
    return ModelRun(f"weights-{seed}", measured_on, tuple(f"p{i}" for i in range(n)), texts, ranks)


def make_run(**models):
    protocol = {"evalset": "phantom:7", "positives": "identical_text", "seed": 0}
    return Run(protocol, models or {"phantom": model_run()}, {"device": ["cpu"]})


def equal(one, other):
    assert one.protocol == other.protocol
    assert one.environment == other.environment
    assert one.models.keys() == other.models.keys()
    for name, mine in one.models.items():
        theirs = other.models[name]
        assert mine.fingerprint == theirs.fingerprint
        assert not differences(one, other, name)
        for key, ranks in mine.ranks.items():
            for part, array in ranks.arrays().items():
                assert np.array_equal(array, theirs.ranks[key].arrays()[part])
            assert ranks.gallery_size == theirs.ranks[key].gallery_size
    return True


def test_what_is_kept_comes_back(tmp_path):
    run = make_run(phantom=model_run(), other=model_run(9, seed=4))
    path = save(run, tmp_path / "kept", "main")
    assert path.name == "0001_main.safetensors"
    assert equal(run, load(path))


def test_a_name_is_kept_anew_under_the_next_number(tmp_path):
    paths = [save(make_run(), tmp_path, name) for name in ("main", "v1.2", "main")]
    assert [path.stem for path in paths] == ["0001_main", "0002_v1.2", "0003_main"]
    assert find(tmp_path, "main") == paths[2]
    assert find(tmp_path, "v1.2") == paths[1]
    assert find(tmp_path, "") == paths[2]
    assert find(tmp_path, "0001") == find(tmp_path, "0001_main") == paths[0]
    assert find(tmp_path / "elsewhere", str(paths[0])) == paths[0]


def test_a_baseline_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(UsageError, match="'main': no such baseline .*; there are: none; keep one"):
        find(tmp_path / "nowhere", "main")
    save(make_run(), tmp_path, "main")
    (tmp_path / "notes.txt").write_text("no baseline")
    with pytest.raises(UsageError, match="'mian': no such .*; there are: 0001_main; keep one"):
        find(tmp_path, "mian")


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "a b", "x" * 101, "né"])
def test_names_that_cannot_be_files(name):
    with pytest.raises(UsageError, match="is no name of a baseline"):
        check_name(name)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((GateError, UsageError), match="baseline.* cannot be"):
        save(make_run(), tmp_path / "file", "main")


def test_any_damage_is_seen(tmp_path):
    path = save(make_run(), tmp_path, "main")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        place = int(rng.integers(len(whole)))
        changed = bytes([whole[place] ^ (1 << int(rng.integers(8)))])
        path.write_bytes(whole[:place] + changed + whole[place + 1 :])
        with pytest.raises(BaselineError) as caught:
            load(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x03\x04", b"\x08\0\0\0\0\0\0\0{}      "])
def test_what_is_no_baseline(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(BaselineError, match="x.safetensors"):
        load(path)


def test_a_truncated_file(tmp_path):
    path = save(make_run(), tmp_path, "main")
    whole = path.read_bytes()
    for size in (1, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(BaselineError, match="cannot be read"):
            load(path)


def test_weights_are_no_baseline(tmp_path):
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(3)}, tmp_path / "w.safetensors", {"format": "pt"})
    with pytest.raises(BaselineError, match="is no baseline of this form"):
        load(tmp_path / "w.safetensors")


def test_ranks_of_fewer_queries_than_there_are(tmp_path):
    """As a run that was cut short, or a file put together by hand, would have them."""
    whole = model_run()
    key = Key("square", "black", 0.3, "report_to_image")
    short = replace(whole, ranks={**whole.ranks, key: counts(3, 7, 0)})
    path = save(make_run(phantom=short), tmp_path, "main")
    with pytest.raises(BaselineError, match="is incomplete: .*greater is not that of 6 queries"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "other weights"}, None),
        ({"measured_on": {"images and reports": "xyz"}}, "images and reports is xyz here and abc"),
        ({"measured_on": {"images and reports": "xyz"}}, "text policy sections is null here"),
        ({"patients": tuple("abcdefg")}, "the patients of the images differ"),
        ({"text_of_image": np.arange(7) % 6 + 0}, None),
        ({"text_of_image": np.array([0, 1, 2, 3, 4, 5, 1])}, "the texts of the images differ"),
    ],
)
def test_what_differs_is_said(change, message):
    then = make_run()
    now = make_run(phantom=replace(then.models["phantom"], **change))
    found = differences(now, then, "phantom")
    assert any(message in text for text in found) if message else not found


@pytest.mark.parametrize("name", ["evalset", "positives", "seed"])
def test_runs_under_another_protocol_differ(name):
    then = make_run()
    now = replace(then, protocol=then.protocol | {name: "else"})
    (text,) = differences(now, then, "phantom")
    assert text == f"{name} is else here and {then.protocol[name]} in the baseline"
    assert json.dumps(text)


@pytest.mark.parametrize("name", ["evalset", "positives", "seed"])
def test_what_is_known_before_the_run_is_compared_before_it(name):
    protocol = make_run().protocol
    check_protocol(protocol, dict(protocol), "0001_main")
    with pytest.raises(UsageError, match=f"baseline 0001_main: {name} is else here and") as refused:
        check_protocol(protocol | {name: "else"}, protocol, "0001_main")
    assert refused.value.code == "baseline_mismatch"


def test_a_model_or_a_level_that_the_baseline_lacks():
    then = make_run(clip=model_run())
    assert differences(make_run(), then, "phantom") == [
        "the baseline has no model 'phantom'; it has clip"
    ]
    now = make_run(clip=model_run(levels=(0.0, 0.3, 0.5)))
    (text,) = differences(now, then, "clip")
    assert text == "the baseline lacks 2 of 6 rankings, such as square, black, level 0.5"
    assert not differences(then, now, "clip"), "what was measured then and is not now is no matter"
