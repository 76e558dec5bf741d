"""Tests of checkpoint files: every published format is read, nothing is executed."""

from __future__ import annotations

import io
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path, PurePosixPath

import pytest
from support import published
from support.checkpoint_files import assert_same, random_state, read

from robustness.errors import WeightsError, WeightsNotFoundError


@pytest.fixture
def state():
    return random_state()


# --- supported formats -----------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False], ids=["zip archive", "before torch 1.6"])
@pytest.mark.parametrize("nested", [None, "model", "state_dict"])
def test_files_of_torch_save(state, tmp_path, zipped, nested):
    import torch

    content = state if nested is None else {"epoch": 3, nested: state, "loss": 0.1}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert_same(read(tmp_path / "a.pt").state, state)


def test_objects_next_to_the_state_dict_are_ignored(state, tmp_path):
    import typing
    from datetime import UTC, datetime

    import numpy as np
    import torch

    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])
    with published.fake_omegaconf() as node:
        content = {
            "config": node({"lr": node(1e-4), "names": ["a"], "kind": typing.Any}),
            "model": state,
            "optimizer": optimizer.state_dict(),
            "numpy": {"array": np.arange(3), "scalar": np.float64(2)},
            "others": [PurePosixPath("a/b"), datetime.now(UTC), {1, 2}, torch.float16, bytes(3)],
            "of typing": dict[str, int],
            "random": torch.get_rng_state(),
            "device": torch.device("cpu"),
        }
        torch.save(content, tmp_path / "a.tar")
    assert "omegaconf" not in sys.modules
    assert_same(read(tmp_path / "a.tar").state, state)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_torchscript_archive_is_read_without_its_code(tmp_path, how, monkeypatch):
    import torch

    inner = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    model = torch.nn.Sequential(OrderedDict(visual=inner, last=torch.nn.ReLU())).eval().half()
    script = (
        torch.jit.script(model)
        if how == "script"
        else torch.jit.trace(model, torch.zeros(1, 1, 5, 5).half())
    )
    torch.jit.save(script, tmp_path / "saved.pt")
    monkeypatch.setattr(torch.jit, "load", lambda *_a, **_k: pytest.fail("code was loaded"))
    with (
        zipfile.ZipFile(tmp_path / "saved.pt") as saved,
        zipfile.ZipFile(tmp_path / "a.pt", "w") as archive,
    ):
        for name in saved.namelist():
            archive.writestr(name, b"exit()" if "/code/" in name else saved.read(name))
    loaded = read(tmp_path / "a.pt").state
    assert_same({key: loaded[key] for key in model.state_dict()}, model.state_dict())
    assert loaded.keys() == model.state_dict().keys()


def test_a_zip_that_contains_a_model(state, tmp_path):
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._pytorch_model.bin", b"nothing")
        archive.writestr("folder/pytorch_model.bin", buffer.getvalue())
    assert_same(read(tmp_path / "a.zip").state, state)


def test_safetensors_and_the_hash_of_the_file(state, tmp_path):
    import hashlib

    from safetensors.torch import save_file

    plain = {key: tensor.detach().clone().contiguous() for key, tensor in state.items()}
    save_file(plain, tmp_path / "a.safetensors")
    checkpoint = read(tmp_path / "a.safetensors")
    assert checkpoint.state.keys() == plain.keys()
    content = (tmp_path / "a.safetensors").read_bytes()
    assert checkpoint.sha256 == hashlib.sha256(content).hexdigest()
    assert checkpoint.path == tmp_path / "a.safetensors"


def test_shared_storages_are_read_once(tmp_path):
    import torch

    matrix = torch.ones(1000, 1000)
    torch.save({f"row {index}": matrix[index] for index in range(100)}, tmp_path / "a.pt")
    loaded = read(tmp_path / "a.pt").state
    assert len({tensor.untyped_storage().data_ptr() for tensor in loaded.values()}) == 1


# --- finding, renaming, loading, hashing -----------------------------------------------


def test_find_prefers_the_named_file_to_the_folder(tmp_path, monkeypatch):
    from robustness.models._checkpoint import find

    monkeypatch.delenv("ROBUSTNESS_WEIGHTS", raising=False)
    names, where = ["first.pt", "second.pt"], "https://example.org (licence: MIT)"
    with pytest.raises(WeightsNotFoundError) as caught:
        find("Model", None, names, where)
    for part in ("Model", "first.pt or second.pt", where, "ROBUSTNESS_WEIGHTS"):
        assert part in str(caught.value)
    monkeypatch.setenv("ROBUSTNESS_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsNotFoundError):
        find("Model", None, names, where)
    (tmp_path / "second.pt").touch()
    assert find("Model", None, names, where) == tmp_path / "second.pt"
    (tmp_path / "first.pt").touch()
    assert find("Model", None, names, where) == tmp_path / "first.pt"
    other = tmp_path / "other.pt"
    other.touch()
    assert find("Model", str(other), names, where) == other
    with pytest.raises(WeightsNotFoundError, match="none.pt"):
        find("Model", Path("none.pt"), names, where)
    monkeypatch.setenv("ROBUSTNESS_WEIGHTS", str(other))
    with pytest.raises(
        WeightsError, match="is not a directory; name the one that contains first.pt or second.pt"
    ):
        find("Model", None, names, where)


def test_renames_apply_in_order_and_never_collide():
    import torch

    from robustness.models._checkpoint import rename

    one = torch.ones(1)
    table = [(r"^attention\.output", "o"), ("output", "fc"), (r"(\d)\.q", r"\1.query")]
    renamed = rename({"attention.output.w": one, "output.w": one, "3.q": one}, table)
    assert list(renamed) == ["o.w", "fc.w", "3.query"]
    with pytest.raises(WeightsError, match="duplicate key 'b', once renamed from 'a'"):
        rename({"b": one, "a": one}, [("^a$", "b")])


def test_loading_is_strict(tmp_path):
    import torch

    from robustness.models._checkpoint import load_strictly

    def layer():
        return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))

    path = tmp_path / "a.pt"
    module, good = layer(), layer().state_dict()
    half = {key: value.half() for key, value in good.items()} | {"x.index": torch.ones(1)}
    load_strictly(module, half, path=path, tolerated=("index",))
    assert module[0].weight.dtype == torch.float32
    assert torch.equal(module[0].weight, good["0.weight"].half().float())
    for change, reason in (
        ({"x.index": torch.ones(1)}, r"0 missing keys \[\], 1 unexpected \['x.index'\]"),
        ({"0.weight": torch.ones(3, 4)}, r"0.weight \[3, 4\], not \[3, 2\]"),
        ({"0.bias": torch.full((3,), torch.inf)}, "'0.bias' contains values that are not finite"),
        ({"0.bias": torch.ones(3, dtype=torch.int8)}, "'0.bias' is torch.int8, not torch.float32"),
    ):
        with pytest.raises(WeightsError, match=f"a.pt.*{reason}"):
            load_strictly(layer(), {**good, **change}, path=path)
    missing = {key: value for key, value in good.items() if not key.startswith("0.")}
    with pytest.raises(WeightsError, match=r"2 missing keys \['0.bias', '0.weight'\]"):
        load_strictly(layer(), missing, path=path)


def test_a_fingerprint_changes_with_every_input(state):
    import torch

    from robustness.models._checkpoint import fingerprint

    first = fingerprint("schema", state, "option")
    assert fingerprint("schema", dict(reversed(state.items())), "option") == first
    changed = dict(state)
    changed["flags"] = torch.tensor([True, True])
    reshaped = dict(state, matrix=state["matrix"].reshape(5, 6))
    renamed = {("other" if key == "half" else key): value for key, value in state.items()}
    others = [
        fingerprint("another", state, "option"),
        fingerprint("schema", state, "other"),
        fingerprint("schema", state),
        *(fingerprint("schema", each, "option") for each in (changed, reshaped, renamed)),
    ]
    assert len({first, *others}) == 1 + len(others)


def test_check_sha256_compares_with_the_published_hash(tmp_path):
    from robustness.models._checkpoint import Checkpoint, check_sha256

    checkpoint = Checkpoint({}, "abc", tmp_path / "published.pt")
    assert check_sha256(checkpoint, "abc") == "yes"
    assert check_sha256(checkpoint, "def") == "no"
    assert check_sha256(checkpoint, "def", "published.pt") == "no"
    assert check_sha256(checkpoint, "def", "another.pt") == "unknown"
    assert check_sha256(checkpoint, None) == "unknown"
