"""Tar shards in the form of WebDataset: ``DIR/{000..015}.tar``, ``DIR/*.tar``.

A sample is the members of one key, which stand together: an image (:data:`IMAGES`), and
``.txt`` (the report), ``.json`` (columns as of a manifest, but for ``image``) or both. Its
key is the image's id. As the format has it, all that follows the first dot of a member's name
is its extension, and members ``__name__`` are skipped. Members of another extension are not
looked at. Samples without an image or a report are left out and counted.

The shards are local files, not compressed; the library groups their members to samples from
an index of where each lies. Nothing is decoded but images (by this package's rule), text and
JSON; images are read one by one where they are needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset import _cells, _shards, _spec
from robustness.evalset._base import EvaluationSet, Exclusion, Remember, forget
from robustness.evalset._rows import Picture, Row, build, see_installed
from robustness.evalset._shards import Member, Sample
from robustness.evalset.manifest._text import parse_object

KIND = _shards.KIND
OPTIONS = {"side": _spec.SIDE} | {f: t for f, t in _cells.COLUMNS.items() if f != "image"}

IMAGES = ("png", "jpg", "jpeg", "tif", "tiff", "dcm")
TEXT, JSON = "txt", "json"
MAX_TEXT = 2**24
"""Bytes of a report at most."""

NO_IMAGE = "sample without an image"
NO_KEY = "member without a key and an extension"


def check(rest: str) -> None:
    """Sees that the shards are there, and the library; reads nothing in them.

    Raises:
        UsageError: The specification is malformed, a shard is missing or compressed, or
            webdataset is not installed.
    """
    place, options = _spec.split(KIND, rest, OPTIONS)
    _spec.side(KIND, options)
    see_installed(KIND, ["webdataset", "braceexpand"], "webdataset")
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
                f"evaluation set {f'{KIND}:{place}'!r}: {shard} is no .tar file; shards are not"
                " compressed, so that an image can be read without those before it"
            )


def load(rest: str, *, remember: Remember = forget) -> EvaluationSet:  # noqa: ARG001
    """Reads shards; see the module's text.

    Args:
        rest: The shards, then options: ``DIR/{000..015}.tar,side=native``.
        remember: Not needed: nothing here is slow but reading the images.

    Raises:
        UsageError: As :func:`check`.
        EvaluationSetError: A shard or a sample cannot be used.
    """
    check(rest)
    place, options = _spec.split(KIND, rest, OPTIONS)
    samples: list[Sample] = []
    excluded: list[Exclusion] = []
    for shard in _shards.expand(f"{KIND}:{place}", place):
        found, keyless = _shards.samples(shard)
        samples += found
        excluded += [Exclusion(f"{shard.name}: {name}", NO_KEY) for name in keyless]
    said = [_said(sample) for sample in samples]
    present = list(dict.fromkeys(column for told in said for column in told))
    in_text = any(TEXT in sample.members for sample in samples)
    columns = _columns(present, options, in_text=in_text)
    unread = _cells.unread(present, columns, {"image", "report"} if in_text else {"image"})
    rows = [*excluded, *_rows(samples, said, columns)]
    return build(f"{KIND}:{rest}", rows, _spec.side(KIND, options), unread)


def _rows(
    samples: Sequence[Sample], said: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
) -> Iterator[Row | Exclusion]:
    first: dict[str, str] = {}
    for sample, told in zip(samples, said, strict=True):
        if sample.key in first:
            raise EvaluationSetError(
                f"{sample.where}: the key stands twice, first in {first[sample.key]}; members of"
                " a sample stand together, and shards share no keys"
            )
        first[sample.key] = str(sample.shard)
        image = _image(sample)
        if image is None:
            yield Exclusion(sample.key, NO_IMAGE)
            continue
        cells = {field: told.get(column) for field, column in columns.items()}
        if TEXT in sample.members:
            if _cells.text(sample.where, "report", cells.get("report")):
                raise EvaluationSetError(
                    f"{sample.where}: .{TEXT} and .{JSON} both hold a report; leave one of them"
                )
            cells["report"] = _content(sample, TEXT)
        picture = Picture(f"{sample.shard}: {image.name}", partial(_shards.read, image))
        yield Row(sample.where, sample.key, picture, cells)


def _columns(
    present: Sequence[str], options: Mapping[str, str], *, in_text: bool
) -> dict[str, str]:
    """The columns of the fields that the samples' JSON offers, all of it together."""
    where = f".{JSON} of the samples"
    columns = _cells.find_columns(where, present, options, ())
    if present and not in_text:
        _cells.see_report(where, columns, present)
    return {field: column for field, column in columns.items() if field != "image"}


def _image(sample: Sample) -> Member | None:
    """The one image of a sample; None where it has none."""
    images = [sample.members[e] for e in IMAGES if e in sample.members]
    if len(images) > 1:
        names = ", ".join(member.name for member in images)
        raise EvaluationSetError(f"{sample.where}: several images, {names}; a sample has one")
    dotted = [m.name for e, m in sample.members.items() if e.rpartition(".")[2] in IMAGES]
    if dotted and not images:
        # A DICOM file named by its UID: every one of them would be a part of sample "1".
        raise EvaluationSetError(
            f"{sample.where}: member {dotted[0]!r} has the extension"
            f" {dotted[0].rpartition('/')[2].partition('.')[2]!r}, which is all that follows its"
            " first dot; name members without dots but the extension's"
        )
    return images[0] if images else None


def _said(sample: Sample) -> dict[str, Any]:
    if JSON not in sample.members:
        return {}
    return parse_object(f"{sample.where}.{JSON}", _content(sample, JSON))


def _content(sample: Sample, extension: str) -> str:
    member = sample.members[extension]
    if member.size > MAX_TEXT:
        raise EvaluationSetError(f"{sample.where}.{extension} is longer than {MAX_TEXT:,} bytes")
    try:
        return _shards.read(member).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EvaluationSetError(
            f"{sample.where}.{extension} is not UTF-8: {error.reason} at byte {error.start}"
        ) from error
