"""Checkpoints: every published form is read, nothing in any of them is executed."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path, PurePosixPath

import published
import pytest

from robustness.errors import WeightsError, WeightsNotFoundError


@pytest.fixture
def state():
    import torch

    generator = torch.Generator().manual_seed(4)
    matrix = torch.randn(6, 5, generator=generator)
    state = OrderedDict(
        matrix=matrix,
        turned=matrix.T,
        part=matrix[1:3, ::2],
        half=torch.randn(7, generator=generator).half(),
        bfloat=torch.randn(7, generator=generator).bfloat16(),
        double=torch.randn(2, 2, generator=generator).double(),
        whole=torch.tensor([3, -4]),
        flags=torch.tensor([True, False]),
        scalar=torch.tensor(2.5),
        none=torch.zeros(0, 4),
        parameter=torch.nn.Parameter(torch.ones(3)),
    )
    state._metadata = OrderedDict({"": {"version": 1}})
    return state


def read(path):
    from models import _checkpoint

    return _checkpoint.read(path)


def assert_same(found, expected):
    import torch

    assert list(found) == list(expected)
    for key, tensor in expected.items():
        assert found[key].dtype == tensor.dtype, key
        assert torch.equal(found[key], tensor), key


def refusal(path):
    """The one line that a file is refused with."""
    with pytest.raises(WeightsError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


# --- the forms that are read -----------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False], ids=["zip archive", "before torch 1.6"])
@pytest.mark.parametrize("nested", [None, "model", "state_dict"])
def test_what_torch_saves(state, tmp_path, zipped, nested):
    import torch

    content = state if nested is None else {"epoch": 3, nested: state, "loss": 0.1}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert_same(read(tmp_path / "a.pt").state, state)


def test_objects_beside_the_state_dict_are_passed_over(state, tmp_path):
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
def test_a_torchscript_archive_without_its_code(tmp_path, how, monkeypatch):
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
    found = read(tmp_path / "a.pt").state
    assert_same({key: found[key] for key in model.state_dict()}, model.state_dict())
    assert found.keys() == model.state_dict().keys()


def test_a_zip_with_a_model_in_it(state, tmp_path):
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
    found = read(tmp_path / "a.pt").state
    assert len({tensor.untyped_storage().data_ptr() for tensor in found.values()}) == 1


# --- hostile files ---------------------------------------------------------------------


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Named:
    """Pickles as a call of a function that need not exist here, by its name."""

    def __init__(self, module, name):
        self.text = f"c{module}\n{name}\n(S'touch hit'\ntR.".encode()


HOSTILE = {
    "os.system": Calls(os.system, "touch hit"),
    "builtins.exec": Calls(builtins.exec, "open('hit', 'w').close()"),
    "builtins.eval": Calls(builtins.eval, "open('hit', 'w').close()"),
    "builtins.__import__": Calls(builtins.__import__, "antigravity"),
    "io.open": Calls(builtins.open, "hit", "w"),
    "subprocess.check_output": Calls(subprocess.check_output, ["touch", "hit"]),
    "shutil.rmtree": Calls(shutil.rmtree, "folder"),
    "pickle.loads": Calls(pickle.loads, pickle.dumps(Calls(os.system, "touch hit"))),
}


@pytest.mark.parametrize("form", ["zip archive", "before torch 1.6", "inside a zip", "bare"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_by_name(state, tmp_path, monkeypatch, name, form):
    import torch

    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    content = {"model": state, "config": [{"deep": (HOSTILE[name],)}]}
    path = tmp_path / "evil.pt"
    if form == "bare":
        path.write_bytes(pickle.dumps(HOSTILE[name]))
    elif form == "inside a zip":
        buffer = io.BytesIO()
        torch.save(content, buffer)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("pytorch_model.bin", buffer.getvalue())
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip archive")
    before = sorted(tmp_path.iterdir())
    message = refusal(path)
    assert f"names {name}" in message
    assert "nothing was executed" in message
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("nt", "system"),
        ("__builtin__", "eval"),
        ("torch.hub", "load"),
        ("torch.serialization", "os.system"),
        ("numpy.testing._private.utils", "runstring"),
        ("pip._internal", "main"),
        ("operator", "methodcaller"),
        ("importlib", "import_module"),
        ("collections", "abc.sys.modules"),
    ],
)
def test_dangerous_names_in_any_spelling(tmp_path, monkeypatch, module, name):
    monkeypatch.chdir(tmp_path)
    for protocol in (0, 4):
        pickled = Named(module, name).text
        if protocol == 4:
            strings = b"".join(
                b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name)
            )
            pickled = b"\x80\x04" + strings + b"\x93)R."
        (tmp_path / "evil.pt").write_bytes(pickled)
        assert f"{module}.{name}" in refusal(tmp_path / "evil.pt").partition("its pickle names")[2]
    assert not (tmp_path / "hit").exists()


def test_what_is_not_refused_is_not_called_either(state, tmp_path):
    import torch

    # A function of a module that no list knows: it becomes an inert stub, whatever it is.
    call = Calls(published.write_vocabulary, tmp_path / "hit")
    torch.save({"model": state, "config": call}, tmp_path / "a.pt")
    assert_same(read(tmp_path / "a.pt").state, state)
    assert not (tmp_path / "hit").exists()


# --- files that are no checkpoint ------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404</html>", b"\x80", b"PK\x03\x04", pickle.dumps({"a": 1}), bytes(3000)],
    ids=["empty", "a web page", "one byte", "a zip's start", "another pickle", "zeros"],
)
def test_a_file_that_is_no_checkpoint(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    assert "not a whole checkpoint file" in refusal(tmp_path / "a.pt")


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_a_truncated_file_wherever_it_is_cut(state, tmp_path, form):
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "a.pt"
    if form == "safetensors":
        save_file({"matrix": state["matrix"].contiguous()}, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    for end in range(0, len(whole), max(1, len(whole) // 50)):
        path.write_bytes(whole[:end])
        refusal(path)


def test_a_damaged_byte_is_noticed(state, tmp_path):
    import torch

    torch.save({"matrix": state["matrix"]}, tmp_path / "a.pt")
    content = bytearray((tmp_path / "a.pt").read_bytes())
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        record = next(info for info in archive.infolist() if "/data/0" in info.filename)
    start = record.header_offset + 30 + int.from_bytes(
        content[record.header_offset + 26 : record.header_offset + 28], "little"
    ) + int.from_bytes(
        content[record.header_offset + 28 : record.header_offset + 30], "little"
    )  # fmt: skip
    content[start] ^= 1
    (tmp_path / "a.pt").write_bytes(content)
    assert "CRC" in refusal(tmp_path / "a.pt")


def test_directories_absent_files_and_what_holds_no_tensors(tmp_path):
    import torch

    assert "is a directory" in refusal(tmp_path)
    with pytest.raises(WeightsNotFoundError, match="are not there"):
        read(tmp_path / "none.pt")
    torch.save({}, tmp_path / "a.pt")
    assert "holds no tensors" in refusal(tmp_path / "a.pt")
    torch.save([torch.ones(2)], tmp_path / "a.pt")
    assert "not a dict of tensors" in refusal(tmp_path / "a.pt")
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    assert "entry 'epoch' is no tensor" in refusal(tmp_path / "a.pt")


def test_a_tensor_beyond_its_storage(tmp_path):
    import torch

    torch.save({"a": torch.ones(10)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    # 10 elements become 99, in the storage's record or in the tensor's shape.
    for first, last in ((b"K\n", b"Kc"), (b"K\n\x85", b"Kc\x85")):
        changed = {
            name: data.replace(first, last) if name.endswith("data.pkl") else data
            for name, data in content.items()
        }
        assert changed != content
        with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
            for name, data in changed.items():
                archive.writestr(name, data)
        refusal(tmp_path / "b.pt")


# --- finding, renaming, loading, hashing -----------------------------------------------


def test_the_named_file_then_the_folder(tmp_path, monkeypatch):
    from models._checkpoint import find

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
    with pytest.raises(WeightsError, match="is no directory"):
        find("Model", None, names, where)


def test_renames_follow_the_order_and_never_collide():
    import torch

    from models._checkpoint import rename

    one = torch.ones(1)
    table = [(r"^attention\.output", "o"), ("output", "fc"), (r"(\d)\.q", r"\1.query")]
    renamed = rename({"attention.output.w": one, "output.w": one, "3.q": one}, table)
    assert list(renamed) == ["o.w", "fc.w", "3.query"]
    with pytest.raises(WeightsError, match="'b' twice, once as 'a'"):
        rename({"b": one, "a": one}, [("^a$", "b")])


def test_loading_is_strict(tmp_path):
    import torch

    from models._checkpoint import load_strictly

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
        ({"0.bias": torch.full((3,), torch.inf)}, "'0.bias' holds values that are not finite"),
        ({"0.bias": torch.ones(3, dtype=torch.int8)}, "'0.bias' is torch.int8, not torch.float32"),
    ):
        with pytest.raises(WeightsError, match=f"a.pt.*{reason}"):
            load_strictly(layer(), {**good, **change}, path=path)
    missing = {key: value for key, value in good.items() if not key.startswith("0.")}
    with pytest.raises(WeightsError, match=r"2 missing keys \['0.bias', '0.weight'\]"):
        load_strictly(layer(), missing, path=path)


def test_a_fingerprint_changes_with_everything_that_counts(state):
    import torch

    from models._checkpoint import fingerprint

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


def test_a_known_hash_is_compared(tmp_path):
    from models._checkpoint import Checkpoint, check_sha256

    checkpoint = Checkpoint({}, "abc", tmp_path / "published.pt")
    assert check_sha256(checkpoint, "abc") == "yes"
    assert check_sha256(checkpoint, "def") == "no"
    assert check_sha256(checkpoint, "def", "published.pt") == "no"
    assert check_sha256(checkpoint, "def", "another.pt") == "unknown"
    assert check_sha256(checkpoint, None) == "unknown"
