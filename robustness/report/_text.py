"""What a failed case says: what, where, by how much, and what to run next."""

from __future__ import annotations

import re
import shlex

from robustness.plan import PROPERTIES, Case, Plan
from robustness.results import Record
from robustness.wording import counted


def describe_case(plan: Plan, case: Case, record: Record) -> str:
    """A failed case in a few lines, one for each measurement that failed."""
    failed = [cell for cell in record["cells"] if cell["verdict"] == "fail"]
    heading = (
        f"{case.model} on {plan.evalset}, {case.pattern} at level {case.level:g}:"
        f" {len(failed)} of {len(record['cells'])} measurements failed"
    )
    lines = [heading]
    messages = {cell["message"] for cell in failed}
    if len(messages) == 1 and len(failed) > 1:
        # One cause for all of them, such as a missing file, is said once.
        lines.append(f"  {messages.pop()} [{failed[0]['reason']}]")
    else:
        lines += [
            (
                f"  {cell['direction']}, {cell['fill']}, n = {cell['n']}: {cell['message']}"
                f" [{cell['reason']}]"
            )
            for cell in failed
        ]
    lines.append(f"  thresholds: {plan.thresholds.path}")
    lines.append(f"  next: {command(plan, '-k', _keywords(case.id))}")
    return "\n".join(lines)


def describe_property(plan: Plan, record: Record) -> str:
    """A broken property in a few lines, with the command that replays it."""
    name = record["property"]
    what = "broken is that" if record["occlusion"] is not None else "it could not be seen whether"
    lines = [
        f"{record['model']} on {plan.evalset}: {what} {PROPERTIES[name]}",
        f"  {record['message']} [{record['reason']}]",
    ]
    arguments = ["-k", _keywords(f"test_property {record['model']}-{name}")]
    if record["occlusion"] is not None:
        tried = counted(record["examples"], "example")
        lines.append(f"  occlusion: {record['occlusion']}, after {tried}")
        arguments.append(f"--robustness-replay={record['occlusion']}")
    lines.append(f"  replay: {command(plan, *arguments)}")
    return "\n".join(lines)


def say_once(text: str, record: Record, name: str, told: dict[str, str]) -> str:
    """What a failed case says, without what another has said of itself before.

    Args:
        text: As :func:`describe_case` or :func:`describe_property` has it.
        record: The case's.
        name: The case's.
        told: The case that told each cause in full; what is new is added.
    """
    items = [record["property"]] if "property" in record else record["cells"]
    for cause in dict.fromkeys(item["message"] for item in items if item["verdict"] == "fail"):
        first = told.setdefault(cause, name)
        if cause and first != name:
            text = text.replace(cause, f"the same as in {first}")
    return text


def _keywords(name: str) -> str:
    """An expression for ``-k`` that picks a case by its name: its parts, as ``-k`` takes few signs.

    Pytest writes what is not ASCII otherwise in a case's name, and ``-k`` has words of its own.
    """
    parts = re.findall(r"[\w:+\-./\[\]]+", name, re.ASCII)
    return " and ".join(part for part in parts if part not in {"and", "or", "not"})


def command(plan: Plan, *arguments: str) -> str:
    """A command line that runs a part of this run again."""
    return shlex.join(["pytest", "-m", "robustness", *plan.arguments, *arguments])
