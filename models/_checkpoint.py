"""Checkpoint files: find, read without executing anything, load strictly, hash."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from robustness.encoder import WEIGHTS_FOLDER_VARIABLE
from robustness.errors import UsageError, WeightsError, WeightsNotFoundError
from robustness.models import _unpickle
from robustness.models._unpickle import READ_ERRORS, Pickled, RefusedPickleError, Stub, TensorRecord

TOLERATED_KEYS = (
    "position_ids",
    "relative_position_index",
    "input_resolution",
    "context_length",
    "vocab_size",
)
"""Keys, or their last dotted parts, that every loader may drop: constants without weights.

The first two are buffers of older versions of transformers. The others describe the model in
OpenAI's archives.
"""

_NESTED = ("model", "state_dict", "model_state_dict")
_INSIDE_ZIP = "pytorch_model.bin"
_MAX_DEPTH = 64


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a checkpoint, as stored in the file.

    Attributes:
        state: Tensors by key, of any dtype; some may share memory.
        sha256: The SHA-256 of the whole file.
        path: The file.
        metadata: The metadata of a safetensors file.
    """

    state: dict[str, Tensor]
    sha256: str
    path: Path
    metadata: Mapping[str, str] = field(default_factory=dict)


def unusable(path: Path, reason: str) -> WeightsError:
    """Return the one-line error for a checkpoint that cannot be used."""
    return WeightsError(f"weights {str(path)!r} cannot be used: {' '.join(reason.split())}")


def find(name: str, weights: str | Path | None, filenames: Sequence[str], where: str) -> Path:
    """Find the checkpoint of a model on this machine.

    Args:
        name: The display name of the model.
        weights: The checkpoint file; None to search the folder in ROBUSTNESS_WEIGHTS.
        filenames: The published file names, in order of preference.
        where: The download location and the licence, for the error.

    Raises:
        WeightsNotFoundError: No such file exists.
        WeightsError: ``weights`` is a directory, or ROBUSTNESS_WEIGHTS is not one.
    """
    if weights is not None:
        path = Path(weights)
        if path.is_dir():
            raise unusable(path, f"it is a directory; name the file in it, such as {filenames[0]}")
        if not path.is_file():
            raise WeightsNotFoundError(
                f"{name}: weights file {str(path)!r} not found; {filenames[0]} is at {where}"
            )
        return path
    folder = os.environ.get(WEIGHTS_FOLDER_VARIABLE)
    if folder and not Path(folder).is_dir():
        raise WeightsError(
            f"{name}: {WEIGHTS_FOLDER_VARIABLE}={folder!r} is not a directory; name the one that"
            f" contains {' or '.join(filenames)}"
        )
    for filename in filenames if folder else ():
        if (path := Path(folder or "", filename)).is_file():
            return path
    raise WeightsNotFoundError(
        f"{name}: no weights file found; download {' or '.join(filenames)} from {where}, then"
        f" name the file as the model's weights or its directory in {WEIGHTS_FOLDER_VARIABLE}"
    )


def read(path: str | Path) -> Checkpoint:
    """Read the tensors of a checkpoint; nothing in the file is executed.

    Supported are safetensors, files of torch.save (a state dict, or a dict with one under
    ``model``, ``state_dict`` or ``model_state_dict``), TorchScript archives, and zip files
    that contain a ``pytorch_model.bin``.

    Raises:
        WeightsNotFoundError: No such file exists.
        WeightsError: The file has another format, is truncated or damaged, or has a hostile
            pickle.
    """
    path = Path(path)
    if path.is_dir():
        raise unusable(path, "it is a directory; name the checkpoint file in it")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            is_safetensors = file.read(9)[8:] == b"{"
            file.seek(0)
            if not is_safetensors:
                return Checkpoint(_read_pickled(file), digest, path)
        with safe_open(path, framework="pt") as tensors:
            state = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
            return Checkpoint(state, digest, path, tensors.metadata() or {})
    except FileNotFoundError as error:
        raise WeightsNotFoundError(f"weights file {str(path)!r} not found") from error
    except RefusedPickleError as error:
        raise unusable(
            path,
            f"its pickle names {error}, which no checkpoint needs; nothing was executed;"
            " download the file from its publisher",
        ) from error
    except (*READ_ERRORS, SafetensorError) as error:
        reason = str(error) or type(error).__name__
        raise unusable(
            path, f"not a complete checkpoint file ({reason:.200}); download it again"
        ) from error


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
            raise ValueError(f"its entry {key!r:.60} is not a tensor")  # noqa: TRY004
        state[key] = pickled.tensor(record)
    if not state:
        raise ValueError("it contains no tensors")
    return state


def _state_dict(root: object) -> dict[object, object]:
    if isinstance(root, dict):
        for name in _NESTED:
            if isinstance(inner := root.get(name), dict):
                return inner
        return root
    raise ValueError(f"it contains a {type(root).__name__}, not a dict of tensors")


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
    """Rename keys by a table of regular expressions, applied in order.

    Args:
        state: Tensors by key.
        table: Pairs of a pattern and its replacement, in the syntax of ``re.sub``.
        path: The checkpoint, for the error message.

    Raises:
        WeightsError: Two keys get the same new name.

    Example:
        >>> rename({"module.weight": torch.ones(2)}, [("^module[.]", "")])
        {'weight': tensor([1., 1.])}
    """
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        new = key
        for pattern, replacement in table:
            new = re.sub(pattern, replacement, new)
        if new in renamed:
            raise unusable(
                path or Path("<memory>"), f"duplicate key {new!r}, once renamed from {key!r}"
            )
        renamed[new] = tensor
    return renamed


def load_strictly(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    path: Path,
    tolerated: Sequence[str] = TOLERATED_KEYS,
) -> None:
    """Load a state dict strictly: no key may be missing, or unexpected and not tolerated.

    Args:
        module: The module to fill; its floating-point tensors are float32.
        state: Tensors by key; floating-point ones of any precision are cast to float32.
        path: The checkpoint, for error messages.
        tolerated: Keys, or their last dotted parts, that are dropped if unexpected.

    Raises:
        WeightsError: A key is missing or unexpected, or a tensor has another shape, an
            integer dtype in place of a floating-point one, or values that are not finite.
    """
    expected = module.state_dict()
    used = {
        key: tensor
        for key, tensor in state.items()
        if key in expected or not is_tolerated(key, tolerated)
    }
    check_keys(path, expected.keys() - used, used.keys() - expected)
    wrong = [
        f"{key} {list(used[key].shape)}, not {list(tensor.shape)}"
        for key, tensor in expected.items()
        if used[key].shape != tensor.shape
    ]
    if wrong:
        raise unusable(path, f"wrong shapes: {'; '.join(wrong[:3])}")
    check_finite(path, used)
    for key, tensor in used.items():
        # A cast to fp16 also casts counters, so float to integer is allowed. An integer weight
        # is quantised, so integer to float is not.
        if expected[key].is_floating_point() and not tensor.is_floating_point():
            raise unusable(path, f"tensor {key!r} is {tensor.dtype}, not {expected[key].dtype}")
    module.load_state_dict(used, strict=True)


def is_tolerated(key: str, tolerated: Sequence[str] = TOLERATED_KEYS) -> bool:
    """Return True if an unexpected key may be dropped.

    Example:
        >>> is_tolerated("text_model.embeddings.position_ids"), is_tolerated("my_position_ids")
        (True, False)
    """
    return f".{key}".endswith(tuple(f".{name}" for name in tolerated))


def check_keys(path: Path, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """Raise if keys are missing or unexpected.

    Raises:
        WeightsError: There is such a key.
    """
    missing, unexpected = sorted(missing), sorted(unexpected)
    if missing or unexpected:
        raise unusable(
            path,
            f"it is of another model or incomplete: {len(missing)} missing keys {missing[:3]},"
            f" {len(unexpected)} unexpected {unexpected[:3]}",
        )


def check_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raise if a tensor contains NaN or infinity.

    Raises:
        WeightsError: There is such a tensor.
    """
    for key, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise unusable(path, f"tensor {key!r} contains values that are not finite")


def reject_unknown_options(
    loader: str, options: Mapping[str, object], allowed: Sequence[str]
) -> None:
    """Raise if the user's options contain one that a loader does not have.

    Raises:
        UsageError: An option is unknown.
    """
    if unknown := sorted(options.keys() - set(allowed)):
        raise UsageError(
            f"{loader} takes no option {', '.join(map(repr, unknown))};"
            f" it takes {', '.join(allowed) or 'weights and device only'}"
        )


def fingerprint(schema: str, state: Mapping[str, Tensor], *extras: str) -> str:
    """Return the SHA-256 of tensors and of the settings that change an embedding.

    Args:
        schema: The version of the code that computes embeddings from these tensors.
        state: Tensors by key, in any order.
        *extras: Options, hashes of vocabularies and the like.
    """
    digest = hashlib.sha256(repr((schema, extras)).encode())
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(repr((key, str(tensor.dtype), list(tensor.shape))).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_sha256(checkpoint: Checkpoint, published: str | None, filename: str | None = None) -> str:
    """Return ``yes``, ``no`` or ``unknown``: the file has the published SHA-256.

    A file with another name than the published ``filename`` may be another checkpoint.
    """
    if checkpoint.sha256 == published:
        return "yes"
    has_published_name = filename is None or checkpoint.path.name == filename
    return "no" if published is not None and has_published_name else "unknown"
