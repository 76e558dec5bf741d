"""Parser of free-text reports into sections.

The rules follow the collection's own section parser as far as it is documented:

- A line of underscores separates an addendum or a wet read from the report. The report is the
  last block that has findings or an impression.
- Sections of the same kind are joined in their order. An unknown heading (``LUNGS:``) is part of
  the text inside findings or an impression, and ends any other section.
- The name of a projection (``CHEST, TWO VIEWS:``) opens the findings. Inside findings or an
  impression it is part of the text.
- ``FINDINGS AND IMPRESSION`` is an impression.
- Without findings and impression, the undivided report is the last section without its first
  paragraph. Without any heading it is the whole text except a title. If the last section is a
  comparison of one paragraph, it is the text after the first sentence.
- Wet reads, addenda, notifications, recommendations and signatures are omitted.
- White space becomes one space; ``___``, the mark of removed text, is kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from robustness.evalset._base import SECTIONS, Report
from robustness.evalset.mimic_cxr._headings import (
    ASIDE,
    COMPARISON,
    FINDINGS,
    IMPRESSION,
    OTHER,
    UNKNOWN,
    VIEW,
    headings,
)

PREAMBLE = "preamble"
UNDIVIDED = "undivided"

_RULE = re.compile(r"\s*_{10,}\s*")
_TITLE = re.compile(r"\s*(FINAL|PRELIMINARY|INTERIM)\s+(REPORT|ADDENDUM)\s*:?\s*", re.IGNORECASE)
_SIGNATURE = re.compile(
    r"\s*((electronically\s+)?(signed|dictated|transcribed|approved|verified)\s+by\b"
    r"|electronically\s+signed\b|end\s+of\s+report\b)",
    re.IGNORECASE,
)
# A name after a sentence is a signature, but "discussed with Dr. ___." is part of the reading.
_NAME = re.compile(
    r"(?<=[.?!])\s+(dr\.?(\s+_{3,}\.?)+|_{3,},?\s*(md|m\.d\.|do|np)\.?)$", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")

MIN_READING_WORDS = 6
"""Minimum words of a reading that only its length distinguishes from a comparison."""


@dataclass(slots=True)
class _Part:
    """The lines of a report under one heading."""

    kind: str
    lines: list[str] = field(default_factory=list)

    def paragraphs(self) -> list[str]:
        """Return the paragraphs, each in one line; they are separated by empty lines."""
        text = "\n".join(line.strip() for line in self.lines)
        return [" ".join(each.split()) for each in re.split(r"\n\n+", text) if _has_content(each)]


def parse(text: str) -> Report:
    """Parse a report into its sections; findings and impression may be empty."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if _RULE.fullmatch(line):
            blocks.append([])
        else:
            blocks[-1].append(line)
    blocks_parts = [_parts(block) for block in reversed(blocks)]
    for parts in blocks_parts:
        report = _report(parts)
        if report.findings or report.impression:
            return report
    for parts in blocks_parts:
        report = _report(_with_last_paragraphs(parts))
        if report.undivided:
            return report
    return _report(blocks_parts[0])


def _parts(lines: Sequence[str]) -> list[_Part]:
    parts = [_Part(PREAMBLE)]
    for line in lines:
        title = _TITLE.fullmatch(line)
        if title:
            parts.append(_Part(ASIDE if title[2].upper() == "ADDENDUM" else PREAMBLE))
        elif _SIGNATURE.match(line):
            parts.append(_Part(ASIDE))
        else:
            _add(parts, line)
    return [part for part in parts if _has_content(*part.lines)]


def _add(parts: list[_Part], line: str) -> None:
    """Add a line to the current part, and start a part at each heading in the line."""
    open_from = 0
    for heading in headings(line):
        kind = _section_opened(heading.kind, parts[-1].kind)
        if kind is None:
            continue
        if line[open_from : heading.start].strip():
            parts[-1].lines.append(line[open_from : heading.start])
        # An unknown heading may carry information, so it stays in the text.
        open_from = heading.start if heading.kind == UNKNOWN else heading.end
        parts.append(_Part(kind))
    parts[-1].lines.append(line[open_from:])


def _section_opened(kind: str, current: str) -> str | None:
    """Return the kind of section that a heading opens; None if it is text of the current one."""
    if kind == VIEW:
        return None if current in {FINDINGS, IMPRESSION} else FINDINGS
    if kind == UNKNOWN:
        return None if current in {FINDINGS, IMPRESSION, ASIDE} else OTHER
    return kind


def _with_last_paragraphs(parts: Sequence[_Part]) -> list[_Part]:
    """Return the parts, with the reading that has no heading as a separate part."""
    remaining = [part for part in parts if part.kind != ASIDE]
    if not remaining:
        return []
    last = remaining[-1]
    first, *rest = last.paragraphs()
    if last.kind == PREAMBLE and ("." in first or not rest):
        first, rest = "", [first, *rest]
    if last.kind == COMPARISON and not rest:
        named, *after = _SENTENCE_END.split(first, maxsplit=1)
        if len(re.findall(r"[A-Za-z]+", " ".join(after))) >= MIN_READING_WORDS:
            first, rest = named, after
    return [*remaining[:-1], _Part(last.kind, [first]), _Part(UNDIVIDED, rest)]


def _report(parts: Sequence[_Part]) -> Report:
    return Report(**{section: _text(parts, section) for section in (*SECTIONS, UNDIVIDED)})


def _text(parts: Sequence[_Part], kind: str) -> str:
    lines = (line for part in parts if part.kind == kind for line in part.lines)
    text = _NAME.sub("", " ".join(" ".join(lines).split()))
    return text if _has_content(text) else ""


def _has_content(*texts: str) -> bool:
    """Return True if a text contains a letter or a digit; underscores alone are no content."""
    return any(character.isalnum() for text in texts for character in text)
