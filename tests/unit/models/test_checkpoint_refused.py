"""Tests of hostile, damaged and other files: refused by name, and nothing is executed."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import shutil
import subprocess
import zipfile

import pytest
from support import published
from support.checkpoint_files import assert_same, random_state, read, refusal

from robustness.errors import WeightsNotFoundError


@pytest.fixture
def state():
    return random_state()


# --- hostile files ---------------------------------------------------------------------


class Calls:
    """Object that pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Named:
    """Pickle that calls a function by its name; the function need not exist here."""

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
def test_dangerous_names_in_every_spelling_are_refused(tmp_path, monkeypatch, module, name):
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


def test_functions_that_are_not_refused_are_not_called(state, tmp_path):
    import torch

    # A function of a module in no list becomes an inert stub.
    call = Calls(published.write_vocabulary, tmp_path / "hit")
    torch.save({"model": state, "config": call}, tmp_path / "a.pt")
    assert_same(read(tmp_path / "a.pt").state, state)
    assert not (tmp_path / "hit").exists()


# --- files that are not checkpoints ------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404</html>", b"\x80", b"PK\x03\x04", pickle.dumps({"a": 1}), bytes(3000)],
    ids=["empty", "a web page", "one byte", "a zip's start", "another pickle", "zeros"],
)
def test_files_that_are_not_checkpoints(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    assert "not a complete checkpoint file" in refusal(tmp_path / "a.pt")


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_a_truncated_file_is_refused_at_every_length(state, tmp_path, form):
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


def test_a_damaged_byte_is_detected(state, tmp_path):
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


def test_directories_missing_files_and_files_without_tensors(tmp_path):
    import torch

    assert "is a directory" in refusal(tmp_path)
    with pytest.raises(WeightsNotFoundError, match="weights file .*none.pt. not found"):
        read(tmp_path / "none.pt")
    torch.save({}, tmp_path / "a.pt")
    assert "contains no tensors" in refusal(tmp_path / "a.pt")
    torch.save([torch.ones(2)], tmp_path / "a.pt")
    assert "not a dict of tensors" in refusal(tmp_path / "a.pt")
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    assert "entry 'epoch' is not a tensor" in refusal(tmp_path / "a.pt")


def test_a_tensor_larger_than_its_storage(tmp_path):
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
