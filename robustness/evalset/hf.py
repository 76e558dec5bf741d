"""A Hugging Face dataset saved to disk, by ``Dataset.save_to_disk`` or ``DatasetDict``'s.

Its columns are those of a manifest (:mod:`robustness.evalset.manifest`), but ``image`` holds
the images (a feature ``Image``, or bytes) or the paths of files in the folder, or in that of
the option ``root``. A ``ClassLabel`` is read as its names. The library reads the table; it
does not decode the images, which this package does by its own rule, and nothing is fetched
from a network or executed.

An image that the dataset holds has its row as its id, counted from 0 as ``dataset[0]`` is; an
image in a file, its path. The table is mapped into memory from its files, and an image read
where it is needed.
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
from robustness.evalset._rows import EMPTY_ROW, Picture, Row, build, picture_in, see_installed

KIND = "hf"
OPTIONS = {
    "split": "one of the splits of a DatasetDict",
    "side": _spec.SIDE,
    "root": "the folder that paths are relative to",
} | _cells.COLUMNS

DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
END = b"\xff\xff\xff\xff\0\0\0\0"
"""What an Arrow stream ends with."""

NO_CLASS = -1
"""What the library holds in a ``ClassLabel`` column for a row without a class."""

ROWS = 1024
"""Rows that are turned from columns to cells at a time."""


def check(rest: str) -> None:
    """Sees that a saved dataset is there, and the library; reads nothing in it.

    Raises:
        UsageError: The specification is malformed, the folder holds no saved dataset, or
            datasets is not installed.
    """
    place, options = _spec.split(KIND, rest, OPTIONS)
    _spec.side(KIND, options)
    root = _spec.folder(KIND, place, ())
    if not any((root / name).is_file() for name in (DICT, STATE)):
        raise UsageError(
            f"evaluation set {f'{KIND}:{place}'!r}: {root} holds no dataset saved to disk"
            f" ({DICT} or {STATE}); write one with dataset.save_to_disk(DIR)"
        )
    _spec.folder(KIND, options.get("root", place), ())
    see_installed(KIND, ["datasets"], "hf")


def load(rest: str, *, remember: Remember = forget) -> EvaluationSet:  # noqa: ARG001
    """Reads a saved dataset; see the module's text.

    Args:
        rest: ``DIR``, then options: ``DIR,split=test,side=native,report=COLUMN``.
        remember: Not needed: nothing here is slow but reading the images.

    Raises:
        UsageError: As :func:`check`.
        EvaluationSetError: The dataset or a row of it cannot be used; named by its number,
            counted from 0.
    """
    check(rest)
    place, options = _spec.split(KIND, rest, OPTIONS)
    folder = _split(Path(place).expanduser(), options.get("split"))
    dataset = _open(folder)
    columns = _cells.find_columns(str(folder), dataset.column_names, options, ("image",))
    _cells.see_report(str(folder), columns, dataset.column_names)
    root = Path(options.get("root", place)).expanduser()
    rows = _rows(folder, dataset, columns, root)
    unread = _cells.unread(dataset.column_names, columns)
    return build(f"{KIND}:{rest}", rows, _spec.side(KIND, options), unread)


def _split(root: Path, split: str | None) -> Path:
    """The folder of the one dataset that is meant."""
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
        asked = f"no split {split!r}" if split else "several splits"
        raise EvaluationSetError(
            f"{root} holds {asked}; name one with the option split=NAME: {', '.join(splits)}"
        )
    return inside(root, split, str(root / DICT))


def _open(folder: Path) -> Any:
    """The dataset in a folder, none of whose files may lie elsewhere, its columns sound."""
    import datasets
    import pyarrow as pa

    files = _json(folder / STATE).get("_data_files")
    _json(folder / INFO)
    if not isinstance(files, list) or not files:
        raise EvaluationSetError(
            f"{folder / STATE} names no data files: it has no rows, or is damaged; save it again"
        )
    paths: list[Path] = []
    for file in files:
        name = file.get("filename") if isinstance(file, dict) else None
        if not isinstance(name, str):
            raise EvaluationSetError(f"{folder / STATE} names a data file as {str(file)[:40]!r}")
        paths.append(inside(folder, name, str(folder / STATE)))
    try:
        for path in paths:
            # Arrow trusts its files: what is not checked here could be read out of bounds.
            with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as stream:
                stream.read_all().validate(full=True)
                # Cut between two batches, it would be read as if it were whole.
                mapped.seek(max(mapped.size() - len(END), 0))
                if mapped.read() != END:
                    raise EvaluationSetError(
                        f"{path} is truncated: it has no end mark; save the dataset again"
                    )
        dataset = datasets.Dataset.load_from_disk(str(folder.resolve()), keep_in_memory=False)
        # As it is stored: in no other form are cells left undecoded.
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
            f"{folder} is no dataset that can be read: {reason}; save it again"
        ) from error


def _rows(
    folder: Path, dataset: Any, columns: Mapping[str, str], root: Path
) -> Iterator[Row | Exclusion]:
    if not len(dataset):
        raise EvaluationSetError(f"{folder} has no rows; save one for each image")
    column = columns["image"]
    pictures = dataset.select_columns([column])
    in_files = getattr(dataset.features[column], "dtype", "") in {"string", "large_string"}
    # Only what is small is read here: the text, and the images' paths.
    texts = {f: c for f, c in columns.items() if f != "image" or in_files}
    names = {f: _names(dataset.features[c]) for f, c in texts.items()}
    number = 0
    for batch in dataset.select_columns(list(dict.fromkeys(texts.values()))).iter(ROWS):
        found = batch.to_pydict()
        for i in range(len(batch)):
            where = f"{folder}, row {number}"
            cells = {f: _cell(where, f, found[c][i], names[f]) for f, c in texts.items()}
            if in_files and _cells.all_empty(cells):
                yield Exclusion(f"row {number}", EMPTY_ROW)
            elif in_files:
                image = _cells.text(where, "image", cells["image"])
                yield Row(where, image, picture_in(root, image, where), cells)
            else:
                read = partial(_image, pictures, number, column, root, where)
                yield Row(where, str(number), Picture(where, read), cells)
            number += 1


def _names(feature: Any) -> list[str] | None:
    """What the numbers of a ``ClassLabel`` stand for, or of a list of them."""
    found = getattr(getattr(feature, "feature", feature), "names", None)
    return found if isinstance(found, list) else None


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


def _image(pictures: Any, number: int, column: str, root: Path, where: str) -> bytes:
    """The bytes of a row's image: those it holds, else those of the file it names."""
    value = pictures[number].column(column)[0].as_py()
    if isinstance(value, dict):
        content, path = value.get("bytes"), value.get("path")
        if content is None and isinstance(path, str):
            return picture_in(root, path, where).read()
        value = content
    if not isinstance(value, bytes) or not value:
        raise EvaluationSetError(
            f"{where}: column {column!r} holds no image; it needs a feature Image, bytes or a path"
        )
    return value


def _json(path: Path) -> dict[str, Any]:
    """A file of the dataset's own, which is a JSON object."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise EvaluationSetError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise EvaluationSetError(f"{path} is not JSON: {error}; save the dataset again") from error
    if not isinstance(found, dict):
        raise EvaluationSetError(f"{path} is no JSON object; save the dataset again")
    return found
