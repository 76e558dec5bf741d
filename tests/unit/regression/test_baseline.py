"""Baselines: saved atomically, found by name, validated when read, checked for differences."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from support.baselines import assert_equal_runs, counts, make_run, model_run

from robustness.errors import BaselineError, GateError, UsageError
from robustness.regression.baseline import Key, check_protocol, differences
from robustness.regression.baseline_file import check_name, find, load, save


def test_a_saved_run_is_loaded_unchanged(tmp_path):
    run = make_run(phantom=model_run(), other=model_run(9, seed=4))
    path = save(run, tmp_path / "saved", "main")
    assert path.name == "0001_main.safetensors"
    assert_equal_runs(run, load(path))


def test_each_save_gets_the_next_number(tmp_path):
    paths = [save(make_run(), tmp_path, name) for name in ("main", "v1.2", "main")]
    assert [path.stem for path in paths] == ["0001_main", "0002_v1.2", "0003_main"]
    assert find(tmp_path, "main") == paths[2]
    assert find(tmp_path, "v1.2") == paths[1]
    assert find(tmp_path, "") == paths[2]
    assert find(tmp_path, "0001") == find(tmp_path, "0001_main") == paths[0]
    assert find(tmp_path / "elsewhere", str(paths[0])) == paths[0]


def test_a_missing_baseline_is_reported_with_the_available_ones(tmp_path):
    with pytest.raises(
        UsageError, match="'main': baseline not found .*; available: none; save one"
    ):
        find(tmp_path / "nowhere", "main")
    save(make_run(), tmp_path, "main")
    (tmp_path / "notes.txt").write_text("no baseline")
    with pytest.raises(
        UsageError, match="'mian': baseline not found .*; available: 0001_main; save one"
    ):
        find(tmp_path, "mian")


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "a b", "x" * 101, "né"])
def test_invalid_names(name):
    with pytest.raises(UsageError, match="invalid baseline name .*; up to 100 letters, digits"):
        check_name(name)


def test_a_folder_that_is_not_writable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((GateError, UsageError), match="baseline.* cannot be"):
        save(make_run(), tmp_path / "file", "main")


def test_every_flipped_bit_is_detected(tmp_path):
    path = save(make_run(), tmp_path, "main")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        position = int(rng.integers(len(whole)))
        changed = bytes([whole[position] ^ (1 << int(rng.integers(8)))])
        path.write_bytes(whole[:position] + changed + whole[position + 1 :])
        with pytest.raises(BaselineError) as caught:
            load(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x03\x04", b"\x08\0\0\0\0\0\0\0{}      "])
def test_files_that_are_not_baselines(tmp_path, content):
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


def test_a_weights_file_is_not_a_baseline(tmp_path):
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(3)}, tmp_path / "w.safetensors", {"format": "pt"})
    with pytest.raises(BaselineError, match="is not a baseline of schema robustness-baseline-1"):
        load(tmp_path / "w.safetensors")


def test_rank_counts_of_too_few_queries(tmp_path):
    """As in a run that was cut short or a file assembled by hand."""
    whole = model_run()
    key = Key("square", "black", 0.3, "report_to_image")
    short = replace(whole, ranks={**whole.ranks, key: counts(3, 7, 0)})
    path = save(make_run(phantom=short), tmp_path, "main")
    with pytest.raises(BaselineError, match=r"is incomplete: .*greater must have shape \[6\]"):
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
def test_differences_are_reported(change, message):
    saved = make_run()
    current = make_run(phantom=replace(saved.models["phantom"], **change))
    messages = differences(current, saved, "phantom")
    assert any(message in text for text in messages) if message else not messages


@pytest.mark.parametrize("name", ["evalset", "positives", "seed"])
def test_runs_under_another_protocol_differ(name):
    then = make_run()
    now = replace(then, protocol=then.protocol | {name: "else"})
    (text,) = differences(now, then, "phantom")
    assert text == f"{name} is else here and {then.protocol[name]} in the baseline"
    assert json.dumps(text)


@pytest.mark.parametrize("name", ["evalset", "positives", "seed"])
def test_the_protocol_is_checked_before_the_run(name):
    protocol = make_run().protocol
    check_protocol(protocol, dict(protocol), "0001_main")
    with pytest.raises(UsageError, match=f"baseline 0001_main: {name} is else here and") as refused:
        check_protocol(protocol | {name: "else"}, protocol, "0001_main")
    assert refused.value.code == "baseline_mismatch"


def test_a_model_or_a_level_missing_in_the_baseline():
    then = make_run(clip=model_run())
    assert differences(make_run(), then, "phantom") == [
        "the baseline has no model 'phantom'; it has clip"
    ]
    now = make_run(clip=model_run(levels=(0.0, 0.3, 0.5)))
    (text,) = differences(now, then, "clip")
    assert text == "the baseline lacks 2 of 6 rankings, such as square, black, level 0.5"
    assert not differences(then, now, "clip"), "additional rankings in the baseline are ignored"
