"""Baseline files: found by name, written atomically, validated when read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustness._util.files import write_whole
from robustness.errors import BaselineError, Code, GateError, UsageError
from robustness.metrics.rank_counts import RankCounts
from robustness.regression.baseline import Key, ModelRun, Run

SCHEMA = "robustness-baseline-1"
SUFFIX = ".safetensors"
_KEY = "robustness"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FILE = re.compile(rf"(?P<number>\d{{4,}})_(?P<name>{NAME.pattern}){re.escape(SUFFIX)}")


def check_name(name: str) -> None:
    """Check that a baseline may have this name.

    Raises:
        UsageError: If it contains other characters or is too long.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"--robustness-save: invalid baseline name {name!r}; up to 100 letters, digits,"
            " '.', '_' and '-' are allowed, such as main"
        )


def find(folder: Path, wanted: str) -> Path:
    """Return the path of a baseline given as a file, a name, a number, or the newest one.

    Args:
        folder: The folder of baselines.
        wanted: A path, ``main``, ``0003``, ``0003_main``; empty for the newest.

    Raises:
        UsageError: If the baseline is not found.
    """
    saved = _list_baselines(folder)
    matching = [
        path
        for number, name, path in saved
        if wanted in {"", name, f"{number:04}", path.stem, path.name}
    ]
    if matching:
        return matching[-1]
    path = Path(wanted).expanduser()
    if wanted and path.is_file():
        return path
    names = ", ".join(path.stem for _, _, path in saved) or "none"
    raise UsageError(
        f"--robustness-compare {wanted!r}: baseline not found in {folder}, and no such file;"
        f" available: {names}; save one with --robustness-save NAME",
        Code.UNKNOWN_BASELINE,
    )


def _list_baselines(folder: Path) -> list[tuple[int, str, Path]]:
    """Return the number, name and path of each baseline in a folder, oldest first."""
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"baseline folder {folder} cannot be listed: {error.strerror}") from error
    matches = [(match, path) for path in paths if (match := _FILE.fullmatch(path.name))]
    return sorted((int(match["number"]), match["name"], path) for match, path in matches)


def save(run: Run, folder: Path, name: str) -> Path:
    """Save a run as the newest baseline of a name.

    Returns:
        The path of the file.

    Raises:
        GateError: If the file cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    tensors: dict[str, NDArray[Any]] = {}
    models = {}
    for model, own in sorted(run.models.items()):
        tensors[f"{model}/text_of_image"] = own.text_of_image
        ranks = [(key, own.ranks[key]) for key in sorted(own.ranks, key=astuple)]
        for number, (_, counts) in enumerate(ranks):
            for part, array in counts.arrays().items():
                tensors[f"{model}/{number}/{part}"] = array
        models[model] = {
            "fingerprint": own.fingerprint,
            "measured_on": dict(own.measured_on),
            "patients": list(own.patients),
            "rankings": [
                asdict(key) | {"gallery_size": counts.gallery_size} for key, counts in ranks
            ],
        }
    content = {
        "protocol": dict(run.protocol),
        "models": models,
        "environment": dict(run.environment),
    }
    text = json.dumps(content, sort_keys=True)
    metadata = {"schema": SCHEMA, "run": text, "sha256": _digest(text, tensors)}
    # One metadata key: safetensors writes several keys in an order that varies between runs.
    payload = to_bytes(tensors, {_KEY: json.dumps(metadata)})
    try:
        number = max((number for number, _, _ in _list_baselines(folder)), default=0) + 1
        path = folder / f"{number:04}_{name}{SUFFIX}"
        write_whole(path, payload)
    except OSError as error:
        raise GateError(
            f"baseline {name!r} cannot be written to {folder}: {error.strerror}; name another"
            " folder with --robustness-baselines"
        ) from error
    return path


def load(path: Path) -> Run:
    """Read and validate a baseline; nothing in the file is executed.

    Raises:
        BaselineError: If the file cannot be read, is damaged, or is not a baseline.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            metadata = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BaselineError(f"baseline {path} cannot be read: {reason}; save it again") from error
    if not isinstance(metadata, dict) or metadata.get("schema") != SCHEMA:
        raise BaselineError(
            f"{path} is not a baseline of schema {SCHEMA}; save one with --robustness-save NAME"
        )
    text = str(metadata.get("run", ""))
    if metadata.get("sha256") != _digest(text, tensors):
        raise BaselineError(
            f"baseline {path} is damaged: checksum mismatch; save it again", Code.BASELINE_DAMAGED
        )
    try:
        return _run(json.loads(text), tensors)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaselineError(
            f"baseline {path} is incomplete: {error}; save it again", Code.BASELINE_MALFORMED
        ) from error


def _digest(text: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape} ".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def _run(content: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Run:
    models = {}
    for model, own in content["models"].items():
        ranks = {}
        for number, ranking in enumerate(own["rankings"]):
            key = Key(**{part.name: ranking[part.name] for part in fields(Key)})
            prefix = f"{model}/{number}/"
            arrays = {
                name.removeprefix(prefix): tensor
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
            if not all(np.issubdtype(array.dtype, np.integer) for array in arrays.values()):
                raise ValueError(f"{model}, {key}: rank counts must be integers")
            ranks[key] = RankCounts.of(arrays, ranking["gallery_size"])
        models[model] = ModelRun(
            own["fingerprint"],
            own["measured_on"],
            tuple(own["patients"]),
            tensors[f"{model}/text_of_image"],
            ranks,
        )
        _check(model, models[model])
    return Run(content["protocol"], models, content["environment"])


def _check(model: str, run: ModelRun) -> None:
    """Check that every ranking is complete and within its gallery."""
    if run.text_of_image.shape != (len(run.patients),):
        raise ValueError(
            f"{model} has {len(run.patients)} images but text_of_image has shape"
            f" {list(run.text_of_image.shape)}"
        )
    for key, counts in run.ranks.items():
        queries = run.queries(key.direction)
        pairs = int(counts.positives.sum())
        for name, array in counts.arrays().items():
            expected = (pairs if name.startswith("pair_") else queries,)
            if array.shape != expected or (array < 0).any():
                raise ValueError(
                    f"{model}, {key}: {name} must have shape {list(expected)} and no negative"
                    f" value; its shape is {list(array.shape)}"
                )
        if (counts.greater + counts.equal + counts.positives > counts.gallery_size).any():
            raise ValueError(
                f"{model}, {key}: rank counts exceed the gallery of {counts.gallery_size} items"
            )
