"""Load a Hugging Face dataset saved by ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk``.

The columns are those of a manifest (:mod:`robustness.evalset.manifest`), except that ``image``
contains the images (a feature ``Image``, or bytes) or paths of files in the folder or in the
folder of the option ``root``. A ``ClassLabel`` is read as its name. The library reads the
table only: the images are decoded by this package, and nothing is downloaded or executed.

The id of an image stored in the dataset is its row number, starting at 0 as in ``dataset[0]``;
the id of an image in a file is its path. The table is memory-mapped, and each image is read
when it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset import _cells, _spec
from robustness.evalset._base import EvaluationSet, Exclusion, Remember, forget
from robustness.evalset._files import inside
from robustness.evalset._rows import (
    EMPTY_ROW,
    ImageSource,
    Row,
    build,
    file_source,
)
from robustness.extras import require_installed

KIND = "hf"
OPTIONS = {
    "split": "one of the splits of a DatasetDict",
    "side": _spec.SIDE,
    "root": "the folder that paths are relative to",
} | _cells.COLUMNS

DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
END = b"\xff\xff\xff\xff\0\0\0\0"
"""The end marker of an Arrow stream."""

NO_CLASS = -1
"""Value of a ``ClassLabel`` column for a row without a class."""

BATCH_ROWS = 1024
"""Rows converted from columns to cells at a time."""


def check(rest: str) -> None:
    """Check that a saved dataset and the library exist, without reading the dataset.

    Raises:
        UsageError: The specification is invalid, the folder contains no saved dataset, or
            datasets is not installed.
    """
    place, options = _spec.split(KIND, rest, OPTIONS)
    _spec.side(KIND, options)
    root = _spec.folder(KIND, place, ())
    if not any((root / name).is_file() for name in (DICT, STATE)):
        raise UsageError(
            f"evaluation set {f'{KIND}:{place}'!r}: {root} contains no dataset saved to disk"
            f" ({DICT} or {STATE}); write one with dataset.save_to_disk(DIR)"
        )
    _spec.folder(KIND, options.get("root", place), ())
    require_installed(f"evaluation set {KIND}", ["datasets"], "hf")


def load(rest: str, *, remember: Remember = forget) -> EvaluationSet:  # noqa: ARG001
    """Load a saved dataset; see the module docstring.

    Args:
        rest: ``DIR`` and options, such as ``DIR,split=test,side=native,report=COLUMN``.
        remember: Not used: only reading the images is slow.

    Raises:
        UsageError: As in :func:`check`.
        EvaluationSetError: The dataset or a row is invalid; rows are numbered from 0.
    """
    check(rest)
    place, options = _spec.split(KIND, rest, OPTIONS)
    folder = _split(Path(place).expanduser(), options.get("split"))
    dataset = _open(folder)
    columns = _cells.find_columns(str(folder), dataset.column_names, options, ("image",))
    _cells.require_report_column(str(folder), columns, dataset.column_names)
    root = Path(options.get("root", place)).expanduser()
    rows = _rows(folder, dataset, columns, root)
    unread = _cells.unread_columns(dataset.column_names, columns)
    return build(f"{KIND}:{rest}", rows, _spec.side(KIND, options), unread)


def _split(root: Path, split: str | None) -> Path:
    """Return the folder of the selected split."""
    if not (root / DICT).is_file():
        saved = _json(root / STATE).get("_split")
        if split is not None and split != saved:
            raise EvaluationSetError(
                f"{root} is a single dataset, {saved or 'without a split'}; leave out split={split}"
            )
        return root
    splits = _json(root / DICT).get("splits")
    listed = isinstance(splits, list) and all(isinstance(name, str) for name in splits)
    if not (listed and splits):
        raise EvaluationSetError(f"{root / DICT} has no list of splits; save the dataset again")
    if split is None and len(splits) == 1:
        split = str(splits[0])
    if split is None or split not in splits:
        problem = f"no split {split!r}" if split else "several splits"
        raise EvaluationSetError(
            f"{root} has {problem}; select one with the option split=NAME: {', '.join(splits)}"
        )
    return inside(root, split, str(root / DICT))


def _open(folder: Path) -> Any:
    """Open the dataset in a folder; all its files must be inside the folder and valid."""
    import datasets
    import pyarrow as pa

    files = _json(folder / STATE).get("_data_files")
    _json(folder / INFO)
    if not isinstance(files, list) or not files:
        raise EvaluationSetError(
            f"{folder / STATE} names no data files: it has no rows or is damaged; save it again"
        )
    paths: list[Path] = []
    for file in files:
        name = file.get("filename") if isinstance(file, dict) else None
        if not isinstance(name, str):
            raise EvaluationSetError(f"{folder / STATE} names a data file as {str(file)[:40]!r}")
        paths.append(inside(folder, name, str(folder / STATE)))
    try:
        for path in paths:
            # Arrow trusts its files: without this check it could read out of bounds.
            with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as stream:
                stream.read_all().validate(full=True)
                # A file cut between two batches would otherwise be read as complete.
                mapped.seek(max(mapped.size() - len(END), 0))
                if mapped.read() != END:
                    raise EvaluationSetError(
                        f"{path} is truncated: the end marker is missing; save the dataset again"
                    )
        dataset = datasets.Dataset.load_from_disk(str(folder.resolve()), keep_in_memory=False)
        # Other formats decode the cells.
        return dataset.with_format("arrow")
    except (
        pa.ArrowException,
        ImportError,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RuntimeError,
    ) as error:
        reason = " ".join(str(error).split())[:300]
        raise EvaluationSetError(
            f"{folder} is not a readable dataset: {reason}; save it again"
        ) from error


def _rows(
    folder: Path, dataset: Any, columns: Mapping[str, str], root: Path
) -> Iterator[Row | Exclusion]:
    if not len(dataset):
        raise EvaluationSetError(f"{folder} has no rows; save one for each image")
    column = columns["image"]
    image_column = dataset.select_columns([column])
    in_files = getattr(dataset.features[column], "dtype", "") in {"string", "large_string"}
    # Read texts and image paths only; image bytes are read later, one at a time.
    texts = {f: c for f, c in columns.items() if f != "image" or in_files}
    names = {f: _names(dataset.features[c]) for f, c in texts.items()}
    number = 0
    for batch in dataset.select_columns(list(dict.fromkeys(texts.values()))).iter(BATCH_ROWS):
        values = batch.to_pydict()
        for i in range(len(batch)):
            where = f"{folder}, row {number}"
            cells = {f: _cell(where, f, values[c][i], names[f]) for f, c in texts.items()}
            if in_files and _cells.is_empty_row(cells):
                yield Exclusion(f"row {number}", EMPTY_ROW)
            elif in_files:
                image = _cells.text(where, "image", cells["image"])
                yield Row(where, image, file_source(root, image, where), cells)
            else:
                read = partial(_image, image_column, number, column, root, where)
                yield Row(where, str(number), ImageSource(where, read), cells)
            number += 1


def _names(feature: Any) -> list[str] | None:
    """Return the class names of a ``ClassLabel`` or of a list of them; else None."""
    names = getattr(getattr(feature, "feature", feature), "names", None)
    return names if isinstance(names, list) else None


def _cell(where: str, field: str, value: object, names: list[str] | None) -> object:
    if names is None or value is None:
        return value
    if isinstance(value, list):
        return [_cell(where, field, one, names) for one in value]
    if value == NO_CLASS:
        return None
    if not (isinstance(value, int) and 0 <= value < len(names)):
        raise EvaluationSetError(f"{where}: {field} is class {value} of {len(names)} classes")
    return names[value]


def _image(image_column: Any, number: int, column: str, root: Path, where: str) -> bytes:
    """Return the image bytes of a row: embedded, or from the file it names."""
    value = image_column[number].column(column)[0].as_py()
    if isinstance(value, dict):
        content, path = value.get("bytes"), value.get("path")
        if content is None and isinstance(path, str):
            return file_source(root, path, where).read()
        value = content
    if not isinstance(value, bytes) or not value:
        raise EvaluationSetError(
            f"{where}: column {column!r} contains no image; allowed are a feature Image, bytes or"
            " a path"
        )
    return value


def _json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a metadata file of the dataset."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise EvaluationSetError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise EvaluationSetError(f"{path} is not JSON: {error}; save the dataset again") from error
    if not isinstance(content, dict):
        raise EvaluationSetError(f"{path} is not a JSON object; save the dataset again")
    return content
