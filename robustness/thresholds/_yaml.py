"""YAML nodes with their position, for errors that name line and column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from robustness.errors import Code, ThresholdsError

ROOT = "the file"
"""Name of the root node."""

_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a YAML file.

    Attributes:
        path: The file.
        name: The path of the value in the file, such as ``occlusion.levels[1]``; for errors.
        raw: PyYAML's node.
    """

    path: Path
    name: str
    raw: yaml.Node

    @property
    def line(self) -> int:
        """The line of the value's first character, from 1."""
        return int(self.raw.start_mark.line) + 1

    @property
    def column(self) -> int:
        """The column of the value's first character, from 1."""
        return int(self.raw.start_mark.column) + 1

    def error(self, problem: str, code: Code | None = None) -> ThresholdsError:
        """Return an error whose message starts with the file, the line and the column."""
        return ThresholdsError(f"{self.path}:{self.line}:{self.column}: {problem}", code)

    def mapping(self, allowed: Iterable[str] | None = None) -> dict[str, Node]:
        """Return the entries of a mapping by key.

        Args:
            allowed: The allowed keys; None allows any.

        Raises:
            ThresholdsError: The value is not a mapping, or a key is unknown or duplicate.
        """
        keys = None if allowed is None else tuple(allowed)
        prefix = f"{self.name}." if self.name != ROOT else ""
        entries: dict[str, Node] = {}
        for key, (_, value) in zip(self.key_nodes(), self.raw.value, strict=True):
            text = key.text()
            if text in entries:
                raise key.error(f"duplicate key {text!r} in {self.name}", Code.DUPLICATE_KEY)
            if keys is not None and text not in keys:
                raise key.unknown("key", text, keys, f" in {self.name}")
            entries[text] = Node(self.path, f"{prefix}{text}", value)
        return entries

    def key_nodes(self) -> list[Node]:
        """Return the keys of a mapping.

        Raises:
            ThresholdsError: The value is not a mapping.
        """
        if not isinstance(self.raw, yaml.MappingNode):
            raise self._type_error("a mapping of keys to values")
        return [Node(self.path, f"a key of {self.name}", key) for key, _ in self.raw.value]

    def unknown(
        self, what: str, text: str, allowed: Sequence[str], where: str = ""
    ) -> ThresholdsError:
        """Return the error for an unknown word; it suggests the closest allowed one."""
        near = get_close_matches(text, allowed, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        return self.error(
            f"unknown {what} {text!r}{where}; allowed: {', '.join(allowed)}{guess}",
            Code(f"unknown_{what.partition(' ')[0]}"),
        )

    def sequence(self) -> list[Node]:
        """Return the items of a list with at least one item.

        Raises:
            ThresholdsError: The value is not a list, or is empty.
        """
        if not isinstance(self.raw, yaml.SequenceNode):
            raise self._type_error("a list")
        if not self.raw.value:
            raise self.error(f"{self.name} is empty; name at least one")
        return [
            Node(self.path, f"{self.name}[{index}]", item)
            for index, item in enumerate(self.raw.value)
        ]

    def items(self) -> list[Node]:
        """Return the items of a list, or a single value as a list of one."""
        return self.sequence() if isinstance(self.raw, yaml.SequenceNode) else [self]

    def text(self) -> str:
        """Return text; raise ThresholdsError if the value is anything else."""
        return str(self._scalar(str, "text"))

    def whole(self) -> int:
        """Return an integer; raise ThresholdsError if the value is anything else."""
        return int(self._scalar(int, "a whole number"))

    def number(self) -> float:
        """Return a number; raise ThresholdsError if the value is anything else."""
        # YAML 1.1 reads 1e-5 as text, since it has no dot.
        plain = isinstance(self.raw, yaml.ScalarNode) and not self.raw.style
        if plain and _EXPONENT.fullmatch(self.raw.value):
            return float(self.raw.value)
        return float(self._scalar((int, float), "a number"))

    def flag(self) -> bool:
        """Return a Boolean; raise ThresholdsError if the value is anything else."""
        return bool(self._scalar(bool, "true or false"))

    def _scalar(self, kind: type | tuple[type, ...], expected: str) -> Any:
        if not isinstance(self.raw, yaml.ScalarNode):
            raise self._type_error(expected)
        try:
            value = yaml.SafeLoader("").construct_object(self.raw)
        except (yaml.YAMLError, ValueError):
            # An unknown tag, a merge key, or an invalid date.
            value = None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._type_error(expected)
        return value

    def _type_error(self, expected: str) -> ThresholdsError:
        if isinstance(self.raw, yaml.ScalarNode):
            actual = repr(self.raw.value) if self.raw.value else "empty"
        else:
            actual = "a list" if isinstance(self.raw, yaml.SequenceNode) else "a mapping"
        return self.error(f"{self.name} must be {expected}, not {actual}", Code.WRONG_TYPE)


def read(path: Path) -> Node:
    """Return the root of a YAML file; nothing in it is executed.

    Raises:
        ThresholdsError: The file is missing, unreadable, empty or not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ThresholdsError(
            f"thresholds file {path} cannot be read: {error.strerror}; name one with"
            " --robustness-thresholds",
            Code.THRESHOLDS_UNREADABLE,
        ) from error
    except UnicodeDecodeError as error:
        raise ThresholdsError(f"thresholds file {path} is not UTF-8 text", Code.NOT_YAML) from error
    try:
        raw = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        position = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise ThresholdsError(
            f"{path}:{position}: invalid YAML: {error.problem}", Code.NOT_YAML
        ) from error
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise ThresholdsError(f"{path}:1:1: invalid YAML: {first}", Code.NOT_YAML) from error
    if raw is None:
        raise ThresholdsError(
            f"{path}:1:1: the file is empty; it needs version, evalset, models, ..."
        )
    return Node(path, ROOT, raw)
