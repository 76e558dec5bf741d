"""Headings of MIMIC-CXR reports: where one stands in a line, and which section it opens.

A heading is a name and a colon. In capitals at the start of a line any name is one, and
the words in it say which section it opens; elsewhere, and in other letters, only the names of
:data:`NAMES` are. In capitals at the start of a line these do with a semicolon, a dash, two
spaces or the line's end. A misspelt word is read as the known word it is close to.
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
"""A section that a report object does not keep, such as the technique."""
ASIDE = "aside"
"""What is no part of the final reading: wet reads, addenda, notifications, signatures."""
VIEW = "view"
"""The name of a projection; reports use it in place of the heading of the findings."""
UNKNOWN = "unknown"

WORDS = (
    "FINDINGS", "IMPRESSION", "INDICATION", "COMPARISON",
    "CONCLUSION", "HISTORY", "EXAMINATION", "TECHNIQUE",
)  # fmt: skip
"""The words that are recognised where they are misspelt or in the other number."""

CLOSE = 0.85
"""How alike a misspelt word must be: twice the letters in common by the letters of both."""

NAMES = {
    "FINDINGS": FINDINGS,
    "IMPRESSION": IMPRESSION,
    "CONCLUSION": IMPRESSION,
    "INTERPRETATION": IMPRESSION,
    "FINDINGS AND IMPRESSION": IMPRESSION,
    "FINDINGS IMPRESSION": IMPRESSION,
    "IMPRESSION AND FINDINGS": IMPRESSION,
    "IMPRESSION FINDINGS": IMPRESSION,
    "INDICATION": INDICATION,
    "CLINICAL INDICATION": INDICATION,
    "HISTORY": INDICATION,
    "CLINICAL HISTORY": INDICATION,
    "PATIENT HISTORY": INDICATION,
    "CLINICAL INFORMATION": INDICATION,
    "REASON FOR EXAM": INDICATION,
    "REASON FOR EXAMINATION": INDICATION,
    "REASON FOR THE EXAM": INDICATION,
    "REASON FOR THE EXAMINATION": INDICATION,
    "REASON FOR STUDY": INDICATION,
    "COMPARISON": COMPARISON,
    "COMPARISON EXAM": COMPARISON,
    "COMPARISON FILM": COMPARISON,
    "REFERENCE EXAM": COMPARISON,
    "EXAMINATION": OTHER,
    "EXAM": OTHER,
    "TYPE OF EXAMINATION": OTHER,
    "TECHNIQUE": OTHER,
    "PROCEDURE": OTHER,
    "STUDY": OTHER,
    "DATE": OTHER,
    "COMMENT": OTHER,
    "ADDENDUM": ASIDE,
    "WET READ": ASIDE,
    "WETREAD": ASIDE,
    "PFI": ASIDE,
    "PROVISIONAL FINDINGS IMPRESSION": ASIDE,
    "PROVISIONAL FINDINGS IMPRESSION PFI": ASIDE,
    "NOTIFICATION": ASIDE,
    "RECOMMENDATION": ASIDE,
    "RECOMMENDATIONS": ASIDE,
    "RECOMMENDATION S": ASIDE,
}
"""The section each name opens, in corrected words and without punctuation."""

# In this order: a name with words of two sections opens the first of them.
_BY_WORD = (
    (frozenset({"PFI", "PROVISIONAL", "WET", "WETREAD"}), ASIDE),
    (frozenset({"IMPRESSION", "CONCLUSION", "INTERPRETATION"}), IMPRESSION),
    (frozenset({"FINDINGS"}), FINDINGS),
    (frozenset({"INDICATION", "HISTORY", "REASON"}), INDICATION),
    (frozenset({"COMPARISON"}), COMPARISON),
    (frozenset({"ADDENDUM", "NOTIFICATION", "RECOMMENDATION", "RECOMMENDATIONS"}), ASIDE),
    (frozenset({"EXAMINATION", "TECHNIQUE"}), OTHER),
    (
        frozenset(
            {
                "CHEST",
                "PORTABLE",
                "VIEW",
                "VIEWS",
                "FRONTAL",
                "LATERAL",
                "LAT",
                "PA",
                "AP",
                "RIBS",
                "UPRIGHT",
                "SUPINE",
                "DECUBITUS",
                "RADIOGRAPH",
                "RADIOGRAPHS",
                "WINDOWS",
            }
        ),
        VIEW,
    ),
)

LONGEST = 60
"""Characters of a name at most: longer ones are sentences."""

_NAME = rf"\s*(?P<name>[A-Za-z][A-Za-z0-9 ()/,&_'-]{{0,{LONGEST - 1}}}?)"
_COLON = re.compile(rf"{_NAME}\s*:")
_OTHER_MARK = re.compile(rf"{_NAME}(\s*;|\s+-+(?=\s)|\s*$|\s\s+(?=[^\s:;]))")
_CAPITALS = re.compile(rf"(?<![A-Za-z])(?P<name>[A-Z][A-Z/&() -]{{1,{LONGEST - 1}}}?)\s?:")
_AFTER_SENTENCE = re.compile(
    rf"(?<=[.?!])\s+(?P<name>[A-Z][a-z]+[A-Za-z /&]{{0,{LONGEST - 1}}}?):(?=\s|$)"
)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading in a line.

    Attributes:
        kind: The section it opens, one of this module's constants.
        start: Where its name begins in the line.
        end: Where its text begins.
    """

    kind: str
    start: int
    end: int


def headings(line: str) -> list[Heading]:
    """The headings of a line, from left to right."""
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
    found = _OTHER_MARK.match(line)
    # In capitals only: a wrapped paragraph may end in a line of one word, "findings".
    if found and found["name"] == found["name"].upper():
        kind = NAMES.get(_corrected_name(found["name"]))
        if kind:
            return Heading(kind, found.start("name"), found.end())
    found = _COLON.match(line)
    if not found:
        return None
    name = found["name"]
    kind = NAMES.get(_corrected_name(name))
    blank_after = not line[found.end() : found.end() + 1].strip()
    if kind is None and name == name.upper() and blank_after:
        kind = _by_word(name)
    return Heading(kind, found.start("name"), found.end()) if kind else None


def _in_capitals(line: str) -> Iterator[Heading]:
    """The longest known name that ends at a colon: what stands before it is text."""
    for found in _CAPITALS.finditer(line):
        for word in re.finditer(r"(?<![A-Z])[A-Z]", found["name"]):
            kind = NAMES.get(_corrected_name(found["name"][word.start() :]))
            if kind:
                yield Heading(kind, found.start("name") + word.start(), found.end())
                break


def _after_sentence(line: str) -> Iterator[Heading]:
    for found in _AFTER_SENTENCE.finditer(line):
        kind = NAMES.get(_corrected_name(found["name"]))
        if kind:
            yield Heading(kind, found.start("name"), found.end())


def _by_word(name: str) -> str:
    words = set(_corrected_name(name).split())
    for some, kind in _BY_WORD:
        if words & some:
            return kind
    return UNKNOWN


def _corrected_name(name: str) -> str:
    return " ".join(_corrected(word) for word in re.findall(r"[A-Z]+", name.upper()))


@lru_cache(maxsize=4096)
def _corrected(word: str) -> str:
    """The known word that a word is close to, else the word itself."""
    for known in WORDS:
        # COMPRESSION is as close to IMPRESSION as a slip of the pen: beginnings must agree.
        begins_alike = word[0] == known[0] or known[1:].startswith(word[:2])
        if begins_alike and SequenceMatcher(None, word, known).ratio() >= CLOSE:
            return known
    return word
