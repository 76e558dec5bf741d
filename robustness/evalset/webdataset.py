"""Load tar shards in WebDataset format: ``DIR/{000..015}.tar``, ``DIR/*.tar``.

A sample consists of consecutive members with the same key: an image (:data:`IMAGES`), and
``.txt`` (the report), ``.json`` (the columns of a manifest except ``image``) or both. The key
is the image id. By the rules of the format, the extension is everything after the first dot of
the name, and members ``__name__`` are skipped. Members with other extensions are ignored.
Samples without an image or a report are excluded and counted.

The shards are uncompressed local files. The library groups their members from an index of
positions. Only images (by this package), text and JSON are decoded; each image is read when it
is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset import _cells, _shards, _spec
from robustness.evalset._base import EvaluationSet, Exclusion, Remember, forget
from robustness.evalset._rows import ImageSource, Row, build
from robustness.evalset._shards import Member, Sample
from robustness.evalset.manifest._text import parse_object
from robustness.extras import require_installed

KIND = _shards.KIND
OPTIONS = {"side": _spec.SIDE} | {f: t for f, t in _cells.COLUMNS.items() if f != "image"}

IMAGES = ("png", "jpg", "jpeg", "tif", "tiff", "dcm")
TEXT, JSON = "txt", "json"
MAX_TEXT_BYTES = 2**24
"""Maximum bytes of a text or JSON member."""

NO_IMAGE = "sample without an image"
NO_KEY = "member without a key and an extension"


def check(rest: str) -> None:
    """Check that the shards and the library exist, without reading the shards.

    Raises:
        UsageError: The specification is invalid, a shard is missing or compressed, or
            webdataset is not installed.
    """
    place, options = _spec.split(KIND, rest, OPTIONS)
    _spec.side(KIND, options)
    require_installed(f"evaluation set {KIND}", ["webdataset", "braceexpand"], "webdataset")
    for shard in _shards.expand(f"{KIND}:{place}", place):
        if shard.is_dir():
            raise UsageError(
                f"evaluation set {f'{KIND}:{place}'!r}: {shard} is a folder; name the shards in"
                f" it, {KIND}:{shard}/*.tar"
            )
        if not shard.is_file():
            raise UsageError(f"evaluation set {f'{KIND}:{place}'!r}: no shard {shard}")
        if shard.suffix.lower() != ".tar":
            raise UsageError(
                f"evaluation set {f'{KIND}:{place}'!r}: {shard} is not a .tar file; shards must"
                " not be compressed, so that images can be read in any order"
            )


def load(rest: str, *, remember: Remember = forget) -> EvaluationSet:  # noqa: ARG001
    """Load shards; see the module docstring.

    Args:
        rest: The shards and options, such as ``DIR/{000..015}.tar,side=native``.
        remember: Not used: only reading the images is slow.

    Raises:
        UsageError: As in :func:`check`.
        EvaluationSetError: A shard or a sample is invalid.
    """
    check(rest)
    place, options = _spec.split(KIND, rest, OPTIONS)
    samples: list[Sample] = []
    excluded: list[Exclusion] = []
    for shard in _shards.expand(f"{KIND}:{place}", place):
        shard_samples, keyless = _shards.samples(shard)
        samples += shard_samples
        excluded += [Exclusion(f"{shard.name}: {name}", NO_KEY) for name in keyless]
    records = [_json(sample) for sample in samples]
    present = list(dict.fromkeys(column for record in records for column in record))
    in_text = any(TEXT in sample.members for sample in samples)
    columns = _columns(present, options, in_text=in_text)
    unread = _cells.unread_columns(present, columns, {"image", "report"} if in_text else {"image"})
    rows = [*excluded, *_rows(samples, records, columns)]
    return build(f"{KIND}:{rest}", rows, _spec.side(KIND, options), unread)


def _rows(
    samples: Sequence[Sample], records: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
) -> Iterator[Row | Exclusion]:
    first: dict[str, str] = {}
    for sample, record in zip(samples, records, strict=True):
        if sample.key in first:
            raise EvaluationSetError(
                f"{sample.where}: duplicate key, first in {first[sample.key]}; members of a"
                " sample must be consecutive, and keys must be unique over all shards"
            )
        first[sample.key] = str(sample.shard)
        image = _image(sample)
        if image is None:
            yield Exclusion(sample.key, NO_IMAGE)
            continue
        cells = {field: record.get(column) for field, column in columns.items()}
        if TEXT in sample.members:
            if _cells.text(sample.where, "report", cells.get("report")):
                raise EvaluationSetError(
                    f"{sample.where}: .{TEXT} and .{JSON} both contain a report; remove one of them"
                )
            cells["report"] = _content(sample, TEXT)
        source = ImageSource(f"{sample.shard}: {image.name}", partial(_shards.read, image))
        yield Row(sample.where, sample.key, source, cells)


def _columns(
    present: Sequence[str], options: Mapping[str, str], *, in_text: bool
) -> dict[str, str]:
    """Return the column of each field, over the JSON of all samples."""
    where = f".{JSON} of the samples"
    columns = _cells.find_columns(where, present, options, ())
    if present and not in_text:
        _cells.require_report_column(where, columns, present)
    return {field: column for field, column in columns.items() if field != "image"}


def _image(sample: Sample) -> Member | None:
    """Return the image member of a sample; None if there is none."""
    images = [sample.members[e] for e in IMAGES if e in sample.members]
    if len(images) > 1:
        names = ", ".join(member.name for member in images)
        raise EvaluationSetError(f"{sample.where}: several images, {names}; allowed is one")
    dotted = [m.name for e, m in sample.members.items() if e.rpartition(".")[2] in IMAGES]
    if dotted and not images:
        # DICOM files named by their UID would all belong to the sample "1".
        raise EvaluationSetError(
            f"{sample.where}: member {dotted[0]!r} has the extension"
            f" {dotted[0].rpartition('/')[2].partition('.')[2]!r}, which starts at its first dot;"
            " use member names without other dots"
        )
    return images[0] if images else None


def _json(sample: Sample) -> dict[str, Any]:
    if JSON not in sample.members:
        return {}
    return parse_object(f"{sample.where}.{JSON}", _content(sample, JSON))


def _content(sample: Sample, extension: str) -> str:
    member = sample.members[extension]
    if member.size > MAX_TEXT_BYTES:
        raise EvaluationSetError(
            f"{sample.where}.{extension} is longer than the limit of {MAX_TEXT_BYTES:,} bytes"
        )
    try:
        return _shards.read(member).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EvaluationSetError(
            f"{sample.where}.{extension} is not UTF-8: {error.reason} at byte {error.start}"
        ) from error
