"""YAML read into nodes that know their line, so that an error can name it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from robustness.errors import ThresholdsError

_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a YAML file, and what it is called there.

    Attributes:
        path: The file.
        name: What an error calls the value, such as ``occlusion.levels``.
        raw: PyYAML's node.
    """

    path: Path
    name: str
    raw: yaml.Node

    @property
    def line(self) -> int:
        """The line the value begins on, from 1."""
        return int(self.raw.start_mark.line) + 1

    @property
    def column(self) -> int:
        """The column the value begins in, from 1."""
        return int(self.raw.start_mark.column) + 1

    def error(self, problem: str, code: str | None = None) -> ThresholdsError:
        """An error that begins with the file, the line and the column."""
        return ThresholdsError(f"{self.path}:{self.line}:{self.column}: {problem}", code)

    def mapping(self, allowed: Iterable[str] | None = None) -> dict[str, Node]:
        """The entries of a mapping, by key.

        Args:
            allowed: The keys there may be; any, where there are none.

        Raises:
            ThresholdsError: It is no mapping, or a key is unknown or stands twice.
        """
        if not isinstance(self.raw, yaml.MappingNode):
            raise self.error(
                f"{self.name} is a mapping of keys to values, not {self._kind()}", "wrong_type"
            )
        known = None if allowed is None else tuple(allowed)
        entries: dict[str, Node] = {}
        for key_node, value in self.raw.value:
            key = Node(self.path, f"a key of {self.name}", key_node)
            text = key.text()
            if text in entries:
                raise key.error(f"key {text!r} stands twice in {self.name}", "duplicate_key")
            if known is not None and text not in known:
                raise key.unknown("key", text, known, f" in {self.name}")
            entries[text] = Node(self.path, f"{self.name}.{text}", value)
        return entries

    def unknown(
        self, what: str, text: str, allowed: Sequence[str], where: str = ""
    ) -> ThresholdsError:
        """The error for a word that is none of the allowed ones; it names the nearest."""
        near = get_close_matches(text, allowed, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        return self.error(
            f"unknown {what} {text!r}{where}; allowed: {', '.join(allowed)}{guess}",
            f"unknown_{what.partition(' ')[0]}",
        )

    def sequence(self) -> list[Node]:
        """The items of a list that is not empty.

        Raises:
            ThresholdsError: It is no list, or an empty one.
        """
        if not isinstance(self.raw, yaml.SequenceNode):
            raise self.error(f"{self.name} is a list, not {self._kind()}", "wrong_type")
        if not self.raw.value:
            raise self.error(f"{self.name} is empty; name at least one")
        return [Node(self.path, f"an item of {self.name}", item) for item in self.raw.value]

    def items(self) -> list[Node]:
        """The items of a list, or the one value that stands in its place."""
        return self.sequence() if isinstance(self.raw, yaml.SequenceNode) else [self]

    def text(self) -> str:
        """A single text; raises ThresholdsError where it is something else."""
        return str(self._scalar(str, "text"))

    def whole(self) -> int:
        """A single whole number; raises ThresholdsError where it is something else."""
        return int(self._scalar(int, "a whole number"))

    def number(self) -> float:
        """A single number; raises ThresholdsError where it is something else."""
        # YAML 1.1 takes 1e-5 for text, since it has no dot; no person does.
        plain = isinstance(self.raw, yaml.ScalarNode) and not self.raw.style
        if plain and _EXPONENT.fullmatch(self.raw.value):
            return float(self.raw.value)
        return float(self._scalar((int, float), "a number"))

    def flag(self) -> bool:
        """True or false; raises ThresholdsError where it is something else."""
        return bool(self._scalar(bool, "true or false"))

    def _scalar(self, kind: type | tuple[type, ...], what: str) -> Any:
        if not isinstance(self.raw, yaml.ScalarNode):
            raise self.error(f"{self.name} is {what}, not {self._kind()}", "wrong_type")
        try:
            value = yaml.SafeLoader("").construct_object(self.raw)
        except (yaml.YAMLError, ValueError):
            # A tag or a merge key, or a day that no calendar has.
            value = None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(f"{self.name} is {what}, not {self._kind()}", "wrong_type")
        return value

    def _kind(self) -> str:
        if isinstance(self.raw, yaml.ScalarNode):
            return repr(self.raw.value) if self.raw.value else "empty"
        return "a list" if isinstance(self.raw, yaml.SequenceNode) else "a mapping"


def read(path: Path) -> Node:
    """The root of a YAML file; nothing in it is executed.

    Raises:
        ThresholdsError: The file is missing, unreadable, empty or no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ThresholdsError(
            f"thresholds file {path} cannot be read: {error.strerror}; name one with"
            " --robustness-thresholds",
            "thresholds_unreadable",
        ) from error
    except UnicodeDecodeError as error:
        raise ThresholdsError(f"thresholds file {path} is not UTF-8 text", "not_yaml") from error
    try:
        raw = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise ThresholdsError(f"{path}:{place}: no YAML: {error.problem}", "not_yaml") from error
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise ThresholdsError(f"{path}:1:1: no YAML: {first}", "not_yaml") from error
    if raw is None:
        raise ThresholdsError(
            f"{path}:1:1: the file is empty; it needs version, evalset, models, ..."
        )
    return Node(path, "the file", raw)
