"""Reports of the collection: untrusted XML files."""

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

MAX_BYTES = 1 << 20
"""Maximum size of a report in bytes; the longest of the collection has 8,967."""

MAX_DEPTH = 64
"""Maximum depth of nested elements; the collection has 8."""

NOT_INDEXED = "no indexing"
NOT_A_FINDING = "technical quality of image unsatisfactory"


@dataclass(frozen=True, slots=True)
class Study:
    """The content of one XML file.

    Attributes:
        path: The file.
        name: The study, such as ``CXR207``.
        report: The sections of the report.
        labels: The findings of its index terms; None if it is not indexed.
        images: The ids of its images, in the order of the report.
    """

    path: Path
    name: str
    report: Report
    labels: frozenset[str] | None
    images: tuple[str, ...]


def read_study(path: Path) -> Study:
    """Read a report.

    Raises:
        EvaluationSetError: The file cannot be read, is not a report, contains an image id that is
            not a valid file stem, or declares a document type (the collection has none; one
            could define entities or load external files).
    """
    root = _parse(path)
    identifier = root.find("uId")
    name = _one_line(identifier.get("id") or "") if identifier is not None else ""
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
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise EvaluationSetError(f"report {path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise EvaluationSetError(
            f"report {path} is longer than {MAX_BYTES} bytes, the maximum of a report"
        )
    root: Element | None = None
    depth = 0
    try:
        for event, element in iterparse(BytesIO(content), ("start", "end"), forbid_dtd=True):
            root = element if root is None else root
            depth += 1 if event == "start" else -1
            if depth > MAX_DEPTH:
                raise EvaluationSetError(
                    f"report {path} nests elements deeper than {MAX_DEPTH}, the maximum of a report"
                )
    except DTDForbidden as error:
        raise EvaluationSetError(
            f"report {path} declares a document type or XML entities, which is not allowed"
        ) from error
    # Unknown and multi-byte encodings raise LookupError and ValueError.
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
            fault = "a duplicate" if section in sections else "an unknown"
            raise EvaluationSetError(
                f"report {path} has {fault} section {label!r}; allowed, once each, are"
                f" {', '.join(SECTIONS).upper()}"
            )
        sections[section] = _one_line("".join(element.itertext()))
    return sections


def _labels(root: Element) -> frozenset[str] | None:
    headings = {
        _one_line("".join(major.itertext()).partition("/")[0]).lower()
        for mesh in root.iter("MeSH")
        for major in mesh.iter("major")
    } - {""}
    labels = headings - {NOT_INDEXED, NOT_A_FINDING}
    return frozenset(labels) if labels else None


def _image(element: Element, path: Path) -> str:
    # Only the white space of XML is removed; other characters belong to the id.
    image = (element.get("id") or "").strip(" \t\r\n")
    if not re.fullmatch(r"\w[\w.-]*", image, re.ASCII):
        raise EvaluationSetError(
            f"report {path} names image {image!r}, which is not a valid file stem"
        )
    return image


def _one_line(text: str) -> str:
    return " ".join(text.split())
