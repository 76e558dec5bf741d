"""Bounds written from what a run observed, into the file as it stands.

Only the numbers of bounds, the comment lines of earlier updates and whole new rules are
written; every other byte of the file stays as it is, comments and order included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from robustness.errors import GateError
from robustness.metrics import PRIMARY_METRIC
from robustness.thresholds._file import load
from robustness.thresholds._observed import MARK, Found, Observed, asked, observe
from robustness.thresholds._values import DIRECTIONS, Bound, Cell, Rule, Thresholds
from robustness.thresholds._yaml import Node, read


@dataclass(frozen=True, slots=True)
class Change:
    """What an update did, or did not do, to one bound.

    Attributes:
        done: Whether it was written.
        text: For a person, one line.
        loosened: Whether it now passes what it did not: a drop of the model, accepted.
    """

    done: bool
    text: str
    loosened: bool = False


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a written bound is signed with.

    Attributes:
        weights: The hash of each model's weights, by model.
        date: When the run was.
    """

    weights: Mapping[str, str]
    date: str


@dataclass(frozen=True, slots=True)
class _Edit:
    """Text that takes the place of a stretch of the file."""

    start: int
    end: int
    text: str


def updated(
    thresholds: Thresholds, cells: Sequence[Found], stamp: Stamp, *, every: bool
) -> tuple[str, list[Change]]:
    """The thresholds file with bounds from a run.

    A bound is the interval's end less the file's slack, of the measurement that is lowest
    there among those it decides. One that a model that knows nothing would pass too is not
    written.

    Args:
        thresholds: The file as it was read.
        cells: The run's cases, as ``results.json`` has them.
        stamp: What a written bound is signed with.
        every: Whether to write anew the bounds there are, where they are numbers in rules
            that name a model; else only measurements without a bound get one.

    Returns:
        The file's new text, and what was changed or refused.

    Raises:
        GateError: The file changed since it was read, or has a form that cannot be edited.
    """
    measured = [cell for cell in cells if cell["metrics"]]
    if load(thresholds.path) != thresholds:
        raise GateError(f"{thresholds.path} changed while the gate ran; nothing was written to it")
    nodes = read(thresholds.path).mapping()["bounds"].sequence()
    text = thresholds.path.read_text(encoding="utf-8")
    edits: list[_Edit] = []
    changes: list[Change] = []
    if every:
        for rule, node in zip(thresholds.rules, nodes, strict=True):
            mine, said = _rewritten(thresholds, rule, node, measured, stamp, text)
            edits += mine
            changes += said
    lines, said = _added(thresholds, measured, stamp)
    changes += said
    if lines:
        edits.append(_behind(nodes[-1], lines, text))
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text.replace("\n", _newline(thresholds.path)), changes


def unwritten(thresholds: Thresholds, cells: Sequence[Found], *, every: bool) -> str:
    """Why an update that neither changed nor refused a bound had none to write.

    Args:
        thresholds: The file as it was read.
        cells: The run's cases, as ``results.json`` has them.
        every: Whether bounds that are there were to be written anew.

    Returns:
        For a person, the part of a line.
    """
    measured = [cell for cell in cells if cell["metrics"]]
    if not measured:
        return "nothing was measured"
    known = "every measurement has a bound"
    if not every:
        return known
    rules = [rule for rule in thresholds.rules if "model" in rule.selectors]
    if not rules:
        return f"{known}, and no rule names a model; those that name one are written anew"
    numbers = [bound for rule in rules for bound in rule.bounds if bound.reference is None]
    if not numbers:
        return f"{known}, and in rules that name a model none is a number"
    if not any(_decides(thresholds, bound, cell) for bound in numbers for cell in measured):
        return f"{known}, and none that was measured is in a rule that names a model"
    return "the bounds are those that this run gives"


def _newline(path: Path) -> str:
    """What ends the lines of a file; reading it as text turns every end into a newline."""
    raw = path.read_bytes()
    return "\r\n" if 0 < raw.count(b"\n") == raw.count(b"\r\n") else "\n"


# --- bounds that are there ---------------------------------------------------------------


def _rewritten(
    thresholds: Thresholds,
    rule: Rule,
    node: Node,
    measured: Sequence[Found],
    stamp: Stamp,
    text: str,
) -> tuple[list[_Edit], list[Change]]:
    if "model" not in rule.selectors:
        return [], []
    edits: list[_Edit] = []
    changes: list[Change] = []
    written: list[Observed] = []
    for bound, item in zip(rule.bounds, node.mapping()["require"].items(), strict=True):
        mine = [cell for cell in measured if _decides(thresholds, bound, cell)]
        if bound.reference is not None or not mine:
            continue
        observed = observe(bound.metric, mine, thresholds.slack, at_least=bound.at_least)
        where = f"{thresholds.path}:{bound.line}:"
        if isinstance(observed, str):
            changes.append(Change(done=False, text=f"{where} {bound} stays: {observed}"))
            continue
        written.append(observed)
        if observed.bound != bound:
            edits.append(_Edit(item.raw.start_mark.index, item.raw.end_mark.index, observed.text))
            loosened = observed.bound.margin(bound.limit) > 0
            how = "LOOSENED " if loosened else ""
            said = f"{where} {how}{bound} -> {observed.said}"
            changes.append(Change(done=True, text=said, loosened=loosened))
    if edits:
        edits.append(_comment(node, written, stamp, text))
    return edits, changes


def _decides(thresholds: Thresholds, bound: Bound, cell: Found) -> bool:
    kind = cell["evalset"].partition(":")[0]
    return any(mine is bound for mine in thresholds.bounds(_cell(cell), kind))


def _cell(found: Found) -> Cell:
    return Cell(*(found[part] for part in ("model", "pattern", "fill", "level", "direction")))


def _comment(node: Node, written: Sequence[Observed], stamp: Stamp, text: str) -> _Edit:
    """The comment line above a rule, in the place of that of an earlier update."""
    start = text.rfind("\n", 0, node.raw.start_mark.index) + 1
    above = text.rfind("\n", 0, max(start - 1, 0)) + 1
    begin = above if text[above:start].strip().startswith(MARK) else start
    dash = text.find("-", start)
    line = f"{text[start:dash]}{_signed(written, stamp)}\n"
    return _Edit(begin, start, line)


def _signed(written: Sequence[Observed], stamp: Stamp) -> str:
    model = written[0].cell["model"]
    observed = "; ".join(each.seen for each in written)
    weights = stamp.weights.get(model, "unknown")[:12]
    n = asked(written[0].bound.metric, written[0].cell)
    return f"{MARK} {stamp.date}: {observed}, n = {n}, weights {weights}"


# --- bounds that are not there ------------------------------------------------------------


def _added(
    thresholds: Thresholds, measured: Sequence[Found], stamp: Stamp
) -> tuple[list[str], list[Change]]:
    """The lines of rules for measurements that have no bound, one a model, pattern and level."""
    bare = [cell for cell in measured if not cell["bounds"]]
    lines: list[str] = []
    changes: list[Change] = []
    blocks = [
        (where, block)
        for where, group in groupby(sorted(bare, key=_place), _place)
        for block in _blocks(list(group))
    ]
    for (model, pattern, level), cells in blocks:
        name = f"{model}, {pattern}, level {level:g}"
        observed = observe(PRIMARY_METRIC, cells, thresholds.slack)
        if model not in thresholds.models:
            observed = f"{thresholds.path} has no model {model!r}; name it under models first"
        if isinstance(observed, str):
            changes.append(Change(done=False, text=f"{name} gets no bound: {observed}"))
            continue
        lines += [_signed([observed], stamp), _rule(thresholds, cells, observed)]
        changes.append(Change(done=True, text=f"{name} now requires {observed.said}"))
    return lines, changes


def _place(cell: Found) -> tuple[str, str, float]:
    return cell["model"], cell["pattern"], cell["level"]


def _blocks(cells: Sequence[Found]) -> list[list[Found]]:
    """Cells of one place in groups of some fills, each with the same directions.

    A rule picks every direction for every fill it names; one that picked a cell beside
    those it is for would take the place of the bound that cell has.
    """
    directions: dict[str, frozenset[str]] = {}
    for cell in cells:
        known = directions.get(cell["fill"], frozenset())
        directions[cell["fill"]] = known | {cell["direction"]}
    return [
        [cell for cell in cells if directions[cell["fill"]] == same]
        for same in dict.fromkeys(directions.values())
    ]


def _rule(thresholds: Thresholds, cells: Sequence[Found], observed: Observed) -> str:
    first = cells[0]
    selectors = {
        "model": first["model"],
        "evalset": first["evalset"].partition(":")[0],
        "pattern": first["pattern"],
        "level": f"{first['level']:g}",
    }
    for name, every in (("fill", thresholds.fills), ("direction", DIRECTIONS)):
        there = [value for value in every if any(cell[name] == value for cell in cells)]
        if len(there) < len(every):
            selectors[name] = f"[{', '.join(there)}]"
    chosen = ", ".join(f"{name}: {value}" for name, value in selectors.items())
    return f"- {{{chosen}, require: [{observed.text}]}}"


def _behind(last: Node, lines: Sequence[str], text: str) -> _Edit:
    """New rules behind the last one, indented as it is."""
    begin = text.rfind("\n", 0, last.raw.start_mark.index) + 1
    indent, dash, _ = text[begin : last.raw.start_mark.index].partition("-")
    if not dash or indent.strip():
        raise last.error(
            "bounds is a list in brackets; write a rule a line, each behind '- ', so that"
            " --robustness-update can add to them"
        )
    # A block's end mark stands behind the blank and comment lines that follow it.
    end = begin + len(text[begin : last.raw.end_mark.index].rstrip())
    line_end = text.find("\n", end)
    end = len(text) if line_end < 0 else line_end
    return _Edit(end, end, "".join(f"\n{indent}{line}" for line in lines))
