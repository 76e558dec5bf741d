"""Free-text reports to their sections.

The rules, which follow what the collection's own section parser does where that is stated:

- A line of underscores parts an addendum or a wet read from the report. The last part
  that has findings or an impression is the report.
- Sections of one kind are joined in their order. A heading that is not known belongs to the
  findings or the impression it stands in (``LUNGS:``), and ends any other section.
- The name of a projection (``CHEST, TWO VIEWS:``) opens the findings, unless findings or an
  impression are open: then it belongs to them.
- ``FINDINGS AND IMPRESSION`` is an impression.
- Where there are neither findings nor an impression, the paragraphs after the first one of
  the last section are the undivided report; without any heading all are, less a title. Of a
  last section that is a comparison of one paragraph, what follows its first sentence is.
- Wet reads, addenda, notifications, recommendations and signatures are left out.
- White space becomes one space; ``___``, which stands for what was taken out, is kept.
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
# A name after a sentence is a signature; "discussed with Dr. ___." is part of the reading.
_NAME = re.compile(
    r"(?<=[.?!])\s+(dr\.?(\s+_{3,}\.?)+|_{3,},?\s*(md|m\.d\.|do|np)\.?)$", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")

FEWEST_WORDS = 6
"""Words of a reading at least, where nothing but its length tells it from a comparison."""


@dataclass(slots=True)
class _Part:
    """A stretch of a report under one heading, line by line."""

    kind: str
    lines: list[str] = field(default_factory=list)

    def paragraphs(self) -> list[str]:
        """The text between empty lines, each in one line."""
        text = "\n".join(line.strip() for line in self.lines)
        return [" ".join(each.split()) for each in re.split(r"\n\n+", text) if _says(each)]


def parse(text: str) -> Report:
    """Splits a report into its sections.

    Args:
        text: A report as it stands in the collection.

    Returns:
        The sections; without findings and without an impression where none could be told.
    """
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if _RULE.fullmatch(line):
            blocks.append([])
        else:
            blocks[-1].append(line)
    parted = [_parts(block) for block in reversed(blocks)]
    for parts in parted:
        report = _report(parts)
        if report.findings or report.impression:
            return report
    for parts in parted:
        report = _report(_with_last_paragraphs(parts))
        if report.undivided:
            return report
    return _report(parted[0])


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
    return [part for part in parts if _says(*part.lines)]


def _add(parts: list[_Part], line: str) -> None:
    """Puts a line where it belongs: under the open heading, or under those it brings."""
    open_from = 0
    for heading in headings(line):
        kind = _opens(heading.kind, parts[-1].kind)
        if kind is None:
            continue
        if line[open_from : heading.start].strip():
            parts[-1].lines.append(line[open_from : heading.start])
        # What is not known may say more than its section's name, so it stays in the text.
        open_from = heading.start if heading.kind == UNKNOWN else heading.end
        parts.append(_Part(kind))
    parts[-1].lines.append(line[open_from:])


def _opens(kind: str, current: str) -> str | None:
    """The kind of section that a heading opens, None where it belongs to the open one."""
    if kind == VIEW:
        return None if current in {FINDINGS, IMPRESSION} else FINDINGS
    if kind == UNKNOWN:
        return None if current in {FINDINGS, IMPRESSION, ASIDE} else OTHER
    return kind


def _with_last_paragraphs(parts: Sequence[_Part]) -> list[_Part]:
    """The parts, with the reading that stands under no heading of its own as one part."""
    kept = [part for part in parts if part.kind != ASIDE]
    if not kept:
        return []
    last = kept[-1]
    first, *rest = last.paragraphs()
    if last.kind == PREAMBLE and ("." in first or not rest):
        first, rest = "", [first, *rest]
    if last.kind == COMPARISON and not rest:
        named, *after = _SENTENCE_END.split(first, maxsplit=1)
        if len(re.findall(r"[A-Za-z]+", " ".join(after))) >= FEWEST_WORDS:
            first, rest = named, after
    return [*kept[:-1], _Part(last.kind, [first]), _Part(UNDIVIDED, rest)]


def _report(parts: Sequence[_Part]) -> Report:
    return Report(**{section: _text(parts, section) for section in (*SECTIONS, UNDIVIDED)})


def _text(parts: Sequence[_Part], kind: str) -> str:
    lines = (line for part in parts if part.kind == kind for line in part.lines)
    text = _NAME.sub("", " ".join(" ".join(lines).split()))
    return text if _says(text) else ""


def _says(*texts: str) -> bool:
    """Whether there is a letter or a digit in it: underscores alone say nothing."""
    return any(character.isalnum() for text in texts for character in text)
