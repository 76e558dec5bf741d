"""Checkpoints: found, read without executing anything from them, loaded strictly, hashed."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models import _unpickle
from models._unpickle import READ_ERRORS, Pickled, RefusedPickleError, Stub, TensorRecord
from robustness.errors import WeightsError, WeightsNotFoundError

FOLDER_VARIABLE = "ROBUSTNESS_WEIGHTS"
"""The environment variable that names a folder of checkpoints under their published names."""

_NESTED = ("model", "state_dict", "model_state_dict")
_INSIDE_ZIP = "pytorch_model.bin"
_MAX_DEPTH = 64


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's tensors, as they stand in the file.

    Attributes:
        state: Tensors by key, of whatever dtype; some may share memory.
        sha256: The hash of the whole file.
        path: The file.
    """

    state: dict[str, Tensor]
    sha256: str
    path: Path


def unusable(path: Path, reason: str) -> WeightsError:
    """The one-line error for a checkpoint that cannot be used."""
    return WeightsError(f"weights {str(path)!r} cannot be used: {' '.join(reason.split())}")


def find(name: str, weights: str | Path | None, filenames: Sequence[str], where: str) -> Path:
    """Finds a model's checkpoint on this machine.

    Args:
        name: The model, as a person knows it.
        weights: The file, where one was named; else the folder in ROBUSTNESS_WEIGHTS is
            searched.
        filenames: The published file names, the first found wins.
        where: Where to get it and under which licence, for the error.

    Raises:
        WeightsNotFoundError: There is no such file.
        WeightsError: What was named is a folder, or ROBUSTNESS_WEIGHTS names none.
    """
    if weights is not None:
        path = Path(weights)
        if path.is_dir():
            raise unusable(path, f"it is a directory; name the file in it, such as {filenames[0]}")
        if not path.is_file():
            raise WeightsNotFoundError(
                f"{name}: weights {str(path)!r} are not there; {filenames[0]} is at {where}"
            )
        return path
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and not Path(folder).is_dir():
        raise WeightsError(
            f"{name}: {FOLDER_VARIABLE}={folder!r} is no directory; name the one that holds"
            f" {' or '.join(filenames)}"
        )
    for filename in filenames if folder else ():
        if (path := Path(folder or "", filename)).is_file():
            return path
    raise WeightsNotFoundError(
        f"{name}: no weights; download {' or '.join(filenames)} from {where}, then name the file"
        f" as the model's weights or its directory in {FOLDER_VARIABLE}"
    )


def read(path: str | Path) -> Checkpoint:
    """Reads a checkpoint's tensors; nothing in the file is executed.

    Takes safetensors, what torch.save wrote (a state dict, or a dict that holds one under
    ``model`` or ``state_dict`` beside whatever else), a TorchScript archive, and a zip
    with a ``pytorch_model.bin``.

    Raises:
        WeightsNotFoundError: There is no such file.
        WeightsError: It is none of these, truncated, damaged, or a hostile pickle.
    """
    path = Path(path)
    if path.is_dir():
        raise unusable(path, "it is a directory; name the checkpoint file in it")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            state = _read_safetensors(path) if _is_safetensors(file) else _read_pickled(file)
    except FileNotFoundError as error:
        raise WeightsNotFoundError(f"weights {str(path)!r} are not there") from error
    except RefusedPickleError as error:
        raise unusable(
            path,
            f"its pickle names {error}, which no checkpoint needs; nothing was executed;"
            " get the file from its publisher",
        ) from error
    except (*READ_ERRORS, SafetensorError) as error:
        reason = str(error) or type(error).__name__
        raise unusable(
            path, f"not a whole checkpoint file ({reason:.200}); get it from its publisher again"
        ) from error
    return Checkpoint(state, digest, path)


def _is_safetensors(file: IO[bytes]) -> bool:
    head = file.read(9)
    file.seek(0)
    return head[8:] == b"{"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _read_pickled(file: IO[bytes]) -> dict[str, Tensor]:
    if not zipfile.is_zipfile(file):
        file.seek(0)
        if file.read(4) == b"PK\x03\x04":
            raise ValueError("a truncated zip archive")
        file.seek(0)
        return _state(_unpickle.read_legacy(file))
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        for name in names:
            if name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1):
                return _state(_unpickle.read_archive(archive, name))
        for name in names:
            if name.rpartition("/")[2] == _INSIDE_ZIP and not name.startswith("__MACOSX/"):
                return _read_pickled(io.BytesIO(archive.read(name)))
    raise ValueError(f"a zip archive with neither data.pkl nor {_INSIDE_ZIP}")


def _state(pickled: Pickled) -> dict[str, Tensor]:
    records: Mapping[object, object]
    if pickled.is_script:
        records = dict(_script_records(pickled.root, "", 0))
    else:
        records = _state_dict(pickled.root)
    state = {}
    for key, record in records.items():
        if not (isinstance(key, str) and isinstance(record, TensorRecord)):
            raise ValueError(f"its entry {key!r:.60} is no tensor")  # noqa: TRY004
        state[key] = pickled.tensor(record)
    if not state:
        raise ValueError("it holds no tensors")
    return state


def _state_dict(root: object) -> dict[object, object]:
    if isinstance(root, dict):
        for name in _NESTED:
            if isinstance(inner := root.get(name), dict):
                return inner
        return root
    raise ValueError(f"it holds a {type(root).__name__}, not a dict of tensors")


def _script_records(module: object, prefix: str, depth: int) -> Iterable[tuple[str, TensorRecord]]:
    state = module.state if isinstance(module, Stub) else None
    if depth > _MAX_DEPTH or not isinstance(state, dict):
        return
    for name, value in state.items():
        if isinstance(value, TensorRecord):
            yield f"{prefix}{name}", value
        else:
            yield from _script_records(value, f"{prefix}{name}.", depth + 1)


def rename(
    state: Mapping[str, Tensor],
    table: Sequence[tuple[str, str]],
    *,
    path: Path | None = None,
) -> dict[str, Tensor]:
    """Renames keys by a table of regular expressions, each replaced in turn.

    Args:
        state: Tensors by key.
        table: Pairs of a pattern and its replacement, as ``re.sub`` takes them.
        path: The checkpoint, for the error.

    Raises:
        WeightsError: Two keys would become one.
    """
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        new = key
        for pattern, replacement in table:
            new = re.sub(pattern, replacement, new)
        if new in renamed:
            raise unusable(path or Path("<memory>"), f"it holds {new!r} twice, once as {key!r}")
        renamed[new] = tensor
    return renamed


def load_strictly(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    path: Path,
    tolerated: Sequence[str] = (),
) -> None:
    """Loads a state dict whole: every key used or tolerated by name, every parameter filled.

    Args:
        module: Where the tensors go; its floating tensors are float32.
        state: Tensors by key; floating ones of any precision are cast to float32.
        path: The checkpoint, for errors.
        tolerated: Keys, or their last dotted parts, that may be there and are dropped.

    Raises:
        WeightsError: A key is missing or unexpected, a shape is wrong, a value not finite.
    """
    expected = module.state_dict()
    tails = tuple(f".{name}" for name in tolerated)
    used = {
        key: tensor
        for key, tensor in state.items()
        if key in expected or not f".{key}".endswith(tails)
    }
    missing, unexpected = sorted(expected.keys() - used), sorted(used.keys() - expected)
    if missing or unexpected:
        raise unusable(
            path,
            f"it is of another model or incomplete: {len(missing)} missing keys {missing[:3]},"
            f" {len(unexpected)} unexpected {unexpected[:3]}",
        )
    wrong = [
        f"{key} {list(used[key].shape)}, not {list(tensor.shape)}"
        for key, tensor in expected.items()
        if used[key].shape != tensor.shape
    ]
    if wrong:
        raise unusable(path, f"wrong shapes: {'; '.join(wrong[:3])}")
    for key, tensor in used.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise unusable(path, f"tensor {key!r} holds values that are not finite")
        # A counter may have become a float with the rest; a weight in integers is quantised.
        if expected[key].is_floating_point() and not tensor.is_floating_point():
            raise unusable(path, f"tensor {key!r} is {tensor.dtype}, not {expected[key].dtype}")
    module.load_state_dict(used, strict=True)


def fingerprint(schema: str, state: Mapping[str, Tensor], *extras: str) -> str:
    """A SHA-256 over tensors and over what else shapes an embedding.

    Args:
        schema: A version of the code that turns these tensors into embeddings.
        state: Tensors by key; the order does not matter.
        *extras: Options, vocabularies and the like.
    """
    digest = hashlib.sha256(repr((schema, extras)).encode())
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(repr((key, str(tensor.dtype), list(tensor.shape))).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_sha256(checkpoint: Checkpoint, known: str | None, filename: str | None = None) -> str:
    """Whether a file is the published one: ``yes``, ``no`` or ``unknown``, for the details.

    Args:
        checkpoint: The checkpoint.
        known: The published SHA-256, where one is known.
        filename: The published file name; a file of another name does not claim to be it.
    """
    if checkpoint.sha256 == known:
        return "yes"
    claims = filename is None or checkpoint.path.name == filename
    return "no" if known is not None and claims else "unknown"
