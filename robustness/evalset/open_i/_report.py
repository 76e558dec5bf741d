"""One report of the collection: an XML file, read without trust."""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from robustness.errors import EvaluationSetError
from robustness.evalset._base import SECTIONS, Report

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LARGEST = 1 << 20
"""Bytes a report may have; the collection's longest has 8,967."""

DEEPEST = 64
"""Elements a report may nest; the collection's nest 8."""

NOT_INDEXED = "no indexing"
NOT_A_FINDING = "technical quality of image unsatisfactory"


@dataclass(frozen=True, slots=True)
class Study:
    """What one XML file says.

    Attributes:
        path: The file.
        name: The study, such as ``CXR207``.
        report: The report's sections.
        labels: The findings it is indexed by; None where it is not indexed.
        images: The ids of its images, in the order they are named.
    """

    path: Path
    name: str
    report: Report
    labels: frozenset[str] | None
    images: tuple[str, ...]


def read_study(path: Path) -> Study:
    """Reads a report.

    Raises:
        EvaluationSetError: The file cannot be read, is not a report, names an image by an id
            that no file can have, or declares a document type (entities and outside files
            come by one; the collection has none).
    """
    root = _parse(path)
    identifier = root.find("uId")
    name = _plain(identifier.get("id") or "") if identifier is not None else ""
    if not name:
        raise EvaluationSetError(f"report {path} has no uId element with an id")
    return Study(
        path=path,
        name=name,
        report=Report(**_sections(root, path)),
        labels=_labels(root),
        images=tuple(_image(element, path) for element in root.iter("parentImage")),
    )


def _parse(path: Path) -> Element:
    from xml.etree.ElementTree import ParseError

    from defusedxml import DTDForbidden
    from defusedxml.ElementTree import iterparse

    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise EvaluationSetError(f"report {path} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST:
        raise EvaluationSetError(f"report {path} is longer than {LARGEST} bytes; reports are not")
    root: Element | None = None
    depth = 0
    try:
        for event, element in iterparse(BytesIO(content), ("start", "end"), forbid_dtd=True):
            root = element if root is None else root
            depth += 1 if event == "start" else -1
            if depth > DEEPEST:
                raise EvaluationSetError(
                    f"report {path} nests elements deeper than {DEEPEST}; reports do not"
                )
    except DTDForbidden as error:
        raise EvaluationSetError(
            f"report {path} declares a document type or XML entities; reports have none"
        ) from error
    # An encoding that is unknown or has several bytes a character is no ParseError.
    except (ParseError, LookupError, ValueError) as error:
        raise EvaluationSetError(f"report {path} is not well-formed XML: {error}") from error
    if root is None:
        raise EvaluationSetError(f"report {path} is not well-formed XML: it has no element")
    return root


def _sections(root: Element, path: Path) -> dict[str, str]:
    sections: dict[str, str] = {}
    for element in root.iter("AbstractText"):
        label = (element.get("Label") or "").strip()
        section = label.lower()
        if section not in SECTIONS or section in sections:
            wrong = "twice" if section in sections else "which is unknown"
            raise EvaluationSetError(
                f"report {path} has a section {label!r}, {wrong}; allowed, once each, are"
                f" {', '.join(SECTIONS).upper()}"
            )
        sections[section] = _plain("".join(element.itertext()))
    return sections


def _labels(root: Element) -> frozenset[str] | None:
    headings = {
        _plain("".join(major.itertext()).partition("/")[0]).lower()
        for mesh in root.iter("MeSH")
        for major in mesh.iter("major")
    } - {""}
    labels = headings - {NOT_INDEXED, NOT_A_FINDING}
    return frozenset(labels) if labels else None


def _image(element: Element, path: Path) -> str:
    # XML's white space alone is taken off: whatever else stands there belongs to the id.
    image = (element.get("id") or "").strip(" \t\r\n")
    if not re.fullmatch(r"\w[\w.-]*", image, re.ASCII):
        raise EvaluationSetError(f"report {path} names image {image!r}, which is no file stem")
    return image


def _plain(text: str) -> str:
    return " ".join(text.split())
