"""Headings of MIMIC-CXR reports: their position in a line and the section that they open.

A heading is a name followed by a colon. At the start of a line, any name in capitals is a
heading, and its words decide which section it opens. Elsewhere, and in other letters, only the
names of :data:`NAMES` are headings. In capitals at the start of a line, these may end with a
semicolon, a dash, two spaces or the end of the line instead of a colon. A misspelt word is
corrected to the most similar word of :data:`WORDS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

FINDINGS = "findings"
IMPRESSION = "impression"
INDICATION = "indication"
COMPARISON = "comparison"
OTHER = "other"
"""A section that :class:`Report` does not have, such as the technique."""
ASIDE = "aside"
"""Text outside the final reading: wet reads, addenda, notifications, signatures."""
VIEW = "view"
"""The name of a projection, which reports use as the heading of the findings."""
UNKNOWN = "unknown"

WORDS = (
    "FINDINGS", "IMPRESSION", "INDICATION", "COMPARISON",
    "CONCLUSION", "HISTORY", "EXAMINATION", "TECHNIQUE",
)  # fmt: skip
"""Words that are recognised if they are misspelt, or singular instead of plural."""

MIN_SIMILARITY = 0.85
"""Minimum similarity of a misspelt word: 2 x common letters / letters of both words."""

# fmt: off
_NAMES = {
    FINDINGS: ("FINDINGS",),
    IMPRESSION: (
        "IMPRESSION", "CONCLUSION", "INTERPRETATION", "FINDINGS AND IMPRESSION",
        "FINDINGS IMPRESSION", "IMPRESSION AND FINDINGS", "IMPRESSION FINDINGS",
    ),
    INDICATION: (
        "INDICATION", "CLINICAL INDICATION", "HISTORY", "CLINICAL HISTORY", "PATIENT HISTORY",
        "CLINICAL INFORMATION", "REASON FOR EXAM", "REASON FOR EXAMINATION",
        "REASON FOR THE EXAM", "REASON FOR THE EXAMINATION", "REASON FOR STUDY",
    ),
    COMPARISON: ("COMPARISON", "COMPARISON EXAM", "COMPARISON FILM", "REFERENCE EXAM"),
    OTHER: (
        "EXAMINATION", "EXAM", "TYPE OF EXAMINATION", "TECHNIQUE", "PROCEDURE", "STUDY", "DATE",
        "COMMENT",
    ),
    ASIDE: (
        "ADDENDUM", "WET READ", "WETREAD", "PFI", "PROVISIONAL FINDINGS IMPRESSION",
        "PROVISIONAL FINDINGS IMPRESSION PFI", "NOTIFICATION", "RECOMMENDATION",
        "RECOMMENDATIONS", "RECOMMENDATION S",
    ),
}
NAMES = {name: kind for kind, names in _NAMES.items() for name in names}
"""The section that each name opens; names are corrected and have no punctuation."""

# The order matters: a name with words of two sections opens the first of them.
_BY_WORD = (
    ({"PFI", "PROVISIONAL", "WET", "WETREAD"}, ASIDE),
    ({"IMPRESSION", "CONCLUSION", "INTERPRETATION"}, IMPRESSION),
    ({"FINDINGS"}, FINDINGS),
    ({"INDICATION", "HISTORY", "REASON"}, INDICATION),
    ({"COMPARISON"}, COMPARISON),
    ({"ADDENDUM", "NOTIFICATION", "RECOMMENDATION", "RECOMMENDATIONS"}, ASIDE),
    ({"EXAMINATION", "TECHNIQUE"}, OTHER),
    ({"CHEST", "PORTABLE", "VIEW", "VIEWS", "FRONTAL", "LATERAL", "LAT", "PA", "AP", "RIBS",
      "UPRIGHT", "SUPINE", "DECUBITUS", "RADIOGRAPH", "RADIOGRAPHS", "WINDOWS"}, VIEW),
)
# fmt: on

MAX_NAME = 60
"""Maximum length of a name in characters; longer ones are sentences."""

_NAME = rf"\s*(?P<name>[A-Za-z][A-Za-z0-9 ()/,&_'-]{{0,{MAX_NAME - 1}}}?)"
_COLON = re.compile(rf"{_NAME}\s*:")
_OTHER_SEPARATOR = re.compile(rf"{_NAME}(\s*;|\s+-+(?=\s)|\s*$|\s\s+(?=[^\s:;]))")
_CAPITALS = re.compile(rf"(?<![A-Za-z])(?P<name>[A-Z][A-Z/&() -]{{1,{MAX_NAME - 1}}}?)\s?:")
_AFTER_SENTENCE = re.compile(
    rf"(?<=[.?!])\s+(?P<name>[A-Z][a-z]+[A-Za-z /&]{{0,{MAX_NAME - 1}}}?):(?=\s|$)"
)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading in a line.

    Attributes:
        kind: The section that it opens, one of this module's constants.
        start: Index of its name in the line.
        end: Index of its text in the line.
    """

    kind: str
    start: int
    end: int


def headings(line: str) -> list[Heading]:
    """Return the headings of a line, from left to right."""
    first = _at_start(line)
    found = [first] if first else []
    position = first.end if first else 0
    inside = sorted((*_in_capitals(line), *_after_sentence(line)), key=lambda each: each.start)
    for heading in inside:
        if heading.start >= position:
            found.append(heading)
            position = heading.end
    return found


def _at_start(line: str) -> Heading | None:
    match = _OTHER_SEPARATOR.match(line)
    # Only in capitals: the last line of a wrapped paragraph may be the word "findings".
    if match and match["name"] == match["name"].upper():
        kind = NAMES.get(_corrected_name(match["name"]))
        if kind:
            return Heading(kind, match.start("name"), match.end())
    match = _COLON.match(line)
    if not match:
        return None
    name = match["name"]
    kind = NAMES.get(_corrected_name(name))
    blank_after = not line[match.end() : match.end() + 1].strip()
    if kind is None and name == name.upper() and blank_after:
        kind = _by_word(name)
    return Heading(kind, match.start("name"), match.end()) if kind else None


def _in_capitals(line: str) -> Iterator[Heading]:
    """Yield the longest known name before each colon; anything before the name is text."""
    for match in _CAPITALS.finditer(line):
        for word in re.finditer(r"(?<![A-Z])[A-Z]", match["name"]):
            kind = NAMES.get(_corrected_name(match["name"][word.start() :]))
            if kind:
                yield Heading(kind, match.start("name") + word.start(), match.end())
                break


def _after_sentence(line: str) -> Iterator[Heading]:
    for match in _AFTER_SENTENCE.finditer(line):
        kind = NAMES.get(_corrected_name(match["name"]))
        if kind:
            yield Heading(kind, match.start("name"), match.end())


def _by_word(name: str) -> str:
    words = set(_corrected_name(name).split())
    for keywords, kind in _BY_WORD:
        if words & keywords:
            return kind
    return UNKNOWN


def _corrected_name(name: str) -> str:
    return " ".join(_corrected(word) for word in re.findall(r"[A-Z]+", name.upper()))


@lru_cache(maxsize=4096)
def _corrected(word: str) -> str:
    """Return the word of :data:`WORDS` that a word is similar to, else the word itself."""
    for correct in WORDS:
        # COMPRESSION is as similar to IMPRESSION as a typing error, so the starts must agree.
        same_start = word[0] == correct[0] or correct[1:].startswith(word[:2])
        if same_start and SequenceMatcher(None, word, correct).ratio() >= MIN_SIMILARITY:
            return correct
    return word
