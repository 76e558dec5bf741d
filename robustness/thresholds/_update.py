"""Update of the bounds in a thresholds file from the measurements of a run.

Only the numbers of bounds, the comment lines of updates and new rules are written. Every other
byte of the file is unchanged, including comments and order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from robustness.errors import GateError
from robustness.metrics import PRIMARY_METRIC
from robustness.thresholds._file import load
from robustness.thresholds._observed import MARK, Measured, Observed, observe, query_count
from robustness.thresholds._values import DIRECTIONS, Bound, MeasurementKey, Rule, Thresholds
from robustness.thresholds._yaml import Node, read


@dataclass(frozen=True, slots=True)
class Change:
    """Change of one bound by an update, or the refusal of it.

    Attributes:
        done: Whether the bound was written.
        text: One line for the report.
        loosened: Whether the new bound is more lenient: a drop of the model is accepted.
    """

    done: bool
    text: str
    loosened: bool = False


@dataclass(frozen=True, slots=True)
class Stamp:
    """Provenance of a written bound.

    Attributes:
        weights: The hash of the weights by model.
        date: The date of the run.
    """

    weights: Mapping[str, str]
    date: str


@dataclass(frozen=True, slots=True)
class _Edit:
    """Replacement of the characters from start to end (exclusive)."""

    start: int
    end: int
    text: str


def updated(
    thresholds: Thresholds, cells: Sequence[Measured], stamp: Stamp, *, every: bool
) -> tuple[str, list[Change]]:
    """Return the text of the thresholds file with bounds from a run, and the changes.

    A bound is the lowest end of the intervals of the measurements that it applies to, less the
    file's slack. A bound that chance would pass is not written.

    Args:
        thresholds: The content of the file at the start of the run.
        cells: The measurements of the run, as in ``results.json``.
        stamp: The provenance of written bounds.
        every: Whether to also rewrite existing bounds that are numbers in rules that name a
            model; if False, only measurements without a bound get one.

    Returns:
        The new text of the file, and the changes that were made or refused.

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
            rule_edits, rule_changes = _rewrite(thresholds, rule, node, measured, stamp, text)
            edits += rule_edits
            changes += rule_changes
    lines, new_changes = _new_rules(thresholds, measured, stamp)
    changes += new_changes
    if lines:
        edits.append(_append(nodes[-1], lines, text))
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text.replace("\n", _newline(thresholds.path)), changes


def unchanged_reason(thresholds: Thresholds, cells: Sequence[Measured], *, every: bool) -> str:
    """Return why an update neither changed nor refused a bound, as part of a line.

    Args:
        thresholds: The content of the file at the start of the run.
        cells: The measurements of the run, as in ``results.json``.
        every: Whether existing bounds were to be rewritten.
    """
    measured = [cell for cell in cells if cell["metrics"]]
    if not measured:
        return "nothing was measured"
    complete = "every measurement has a bound"
    if not every:
        return complete
    rules = [rule for rule in thresholds.rules if "model" in rule.selectors]
    if not rules:
        return f"{complete}, and no rule names a model; only rules that name one are rewritten"
    numbers = [bound for rule in rules for bound in rule.bounds if bound.reference is None]
    if not numbers:
        return f"{complete}, and no bound in a rule that names a model is a number"
    if not any(_applies(thresholds, bound, cell) for bound in numbers for cell in measured):
        return f"{complete}, and no rule that names a model applies to what was measured"
    return "the bounds already equal those of this run"


def _newline(path: Path) -> str:
    """Return the line ending of a file, which reading it as text hides."""
    raw = path.read_bytes()
    return "\r\n" if 0 < raw.count(b"\n") == raw.count(b"\r\n") else "\n"


# --- existing bounds ---------------------------------------------------------------------


def _rewrite(
    thresholds: Thresholds,
    rule: Rule,
    node: Node,
    measured: Sequence[Measured],
    stamp: Stamp,
    text: str,
) -> tuple[list[_Edit], list[Change]]:
    if "model" not in rule.selectors:
        return [], []
    edits: list[_Edit] = []
    changes: list[Change] = []
    written: list[Observed] = []
    for bound, item in zip(rule.bounds, node.mapping()["require"].items(), strict=True):
        cells = [cell for cell in measured if _applies(thresholds, bound, cell)]
        if bound.reference is not None or not cells:
            continue
        observed = observe(bound.metric, cells, thresholds.slack, at_least=bound.at_least)
        where = f"{thresholds.path}:{bound.line}:"
        if isinstance(observed, str):
            changes.append(Change(done=False, text=f"{where} {bound} is unchanged: {observed}"))
            continue
        written.append(observed)
        if observed.bound != bound:
            edits.append(_Edit(item.raw.start_mark.index, item.raw.end_mark.index, observed.text))
            loosened = observed.bound.margin(bound.limit) > 0
            flag = "LOOSENED " if loosened else ""
            line = f"{where} {flag}{bound} -> {observed.description}"
            changes.append(Change(done=True, text=line, loosened=loosened))
    if edits:
        edits.append(_comment(node, written, stamp, text))
    return edits, changes


def _applies(thresholds: Thresholds, bound: Bound, cell: Measured) -> bool:
    kind = cell["evalset"].partition(":")[0]
    return any(each is bound for each in thresholds.bounds(_cell(cell), kind))


def _cell(cell: Measured) -> MeasurementKey:
    return MeasurementKey(
        *(cell[part] for part in ("model", "pattern", "fill", "level", "direction"))
    )


def _comment(node: Node, written: Sequence[Observed], stamp: Stamp, text: str) -> _Edit:
    """Return the comment line above a rule; it replaces that of an earlier update."""
    start = text.rfind("\n", 0, node.raw.start_mark.index) + 1
    above = text.rfind("\n", 0, max(start - 1, 0)) + 1
    begin = above if text[above:start].strip().startswith(MARK) else start
    dash = text.find("-", start)
    line = f"{text[start:dash]}{_comment_text(written, stamp)}\n"
    return _Edit(begin, start, line)


def _comment_text(written: Sequence[Observed], stamp: Stamp) -> str:
    model = written[0].cell["model"]
    observed = "; ".join(each.estimate for each in written)
    weights = stamp.weights.get(model, "unknown")[:12]
    n = query_count(written[0].bound.metric, written[0].cell)
    return f"{MARK} {stamp.date}: {observed}, n = {n}, weights {weights}"


# --- new rules ---------------------------------------------------------------------------


def _new_rules(
    thresholds: Thresholds, measured: Sequence[Measured], stamp: Stamp
) -> tuple[list[str], list[Change]]:
    """Return rules for measurements without a bound: one per model, pattern and level."""
    unbounded = [cell for cell in measured if not cell["bounds"]]
    lines: list[str] = []
    changes: list[Change] = []
    blocks = [
        (place, block)
        for place, group in groupby(sorted(unbounded, key=_place), _place)
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
        lines += [_comment_text([observed], stamp), _rule(thresholds, cells, observed)]
        changes.append(Change(done=True, text=f"{name} now requires {observed.description}"))
    return lines, changes


def _place(cell: Measured) -> tuple[str, str, float]:
    return cell["model"], cell["pattern"], cell["level"]


def _blocks(cells: Sequence[Measured]) -> list[list[Measured]]:
    """Group measurements into fills that have the same directions.

    A rule applies to every direction of every fill it names. If it also applied to another
    measurement, it would replace the bound of that one.
    """
    directions: dict[str, frozenset[str]] = {}
    for cell in cells:
        previous = directions.get(cell["fill"], frozenset())
        directions[cell["fill"]] = previous | {cell["direction"]}
    return [
        [cell for cell in cells if directions[cell["fill"]] == same]
        for same in dict.fromkeys(directions.values())
    ]


def _rule(thresholds: Thresholds, cells: Sequence[Measured], observed: Observed) -> str:
    first = cells[0]
    selectors = {
        "model": first["model"],
        "evalset": first["evalset"].partition(":")[0],
        "pattern": first["pattern"],
        "level": f"{first['level']:g}",
    }
    for name, every in (("fill", thresholds.fills), ("direction", DIRECTIONS)):
        values = [value for value in every if any(cell[name] == value for cell in cells)]
        if len(values) < len(every):
            selectors[name] = f"[{', '.join(values)}]"
    keys = ", ".join(f"{name}: {value}" for name, value in selectors.items())
    return f"- {{{keys}, require: [{observed.text}]}}"


def _append(last: Node, lines: Sequence[str], text: str) -> _Edit:
    """Return new rules after the last one, with its indentation."""
    begin = text.rfind("\n", 0, last.raw.start_mark.index) + 1
    indent, dash, _ = text[begin : last.raw.start_mark.index].partition("-")
    if not dash or indent.strip():
        raise last.error(
            "bounds is a list in brackets; write each rule on a line that begins with '- ', so"
            " that --robustness-update can add rules"
        )
    # PyYAML's end mark of a block is after the blank and comment lines that follow it.
    end = begin + len(text[begin : last.raw.end_mark.index].rstrip())
    line_end = text.find("\n", end)
    end = len(text) if line_end < 0 else line_end
    return _Edit(end, end, "".join(f"\n{indent}{line}" for line in lines))
