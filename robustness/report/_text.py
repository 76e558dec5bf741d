"""Messages of failed cases: what failed, by how much, and what to run next."""

from __future__ import annotations

import re
import shlex

from robustness._util.text import counted
from robustness.plan import PROPERTIES, Case, Plan
from robustness.records import AnyRecord, CaseRecord, PropertyRecord


def describe_case(plan: Plan, case: Case, record: CaseRecord) -> str:
    """Return the message of a failed case: one line per measurement that failed."""
    failed = [each for each in record.measurements if each.failed]
    heading = (
        f"{case.model} on {plan.evalset}, {case.pattern} at level {case.level:g}:"
        f" {len(failed)} of {len(record.measurements)} measurements failed"
    )
    lines = [heading]
    messages = {each.message for each in failed}
    if len(messages) == 1 and len(failed) > 1:
        # A common cause, such as a missing file, is printed once.
        lines.append(f"  {messages.pop()} [{failed[0].reason}]")
    else:
        lines += [
            f"  {each.direction}, {each.fill}, n = {each.n}: {each.message} [{each.reason}]"
            for each in failed
        ]
    lines.append(f"  thresholds: {plan.thresholds.path}")
    lines.append(f"  next: {command(plan, '-k', _keywords(case.id))}")
    return "\n".join(lines)


def describe_property(plan: Plan, record: PropertyRecord) -> str:
    """Return the message of a broken property, with the command that replays it."""
    problem = "broken property:" if record.occlusion is not None else "could not test that"
    lines = [
        f"{record.model} on {plan.evalset}: {problem} {PROPERTIES[record.property]}",
        f"  {record.message} [{record.reason}]",
    ]
    arguments = ["-k", _keywords(f"test_property {record.model}-{record.property}")]
    if record.occlusion is not None:
        examples = counted(record.examples, "example")
        lines.append(f"  occlusion: {record.occlusion}, after {examples}")
        arguments.append(f"--robustness-replay={record.occlusion}")
    lines.append(f"  replay: {command(plan, *arguments)}")
    return "\n".join(lines)


def without_repeats(text: str, record: AnyRecord, name: str, shown: dict[str, str]) -> str:
    """Return a failed case's message, with causes that another case has printed replaced.

    Args:
        text: The message, of :func:`describe_case` or :func:`describe_property`.
        record: The case's record.
        name: The case's name.
        shown: For each cause, the case that printed it; new ones are added.
    """
    parts = record.measurements if isinstance(record, CaseRecord) else (record,)
    for cause in dict.fromkeys(part.message for part in parts if part.failed):
        first = shown.setdefault(cause, name)
        if cause and first != name:
            text = text.replace(cause, f"the same as in {first}")
    return text


def _keywords(name: str) -> str:
    """Return an expression for ``-k`` that selects a case by the parts of its name.

    ``-k`` allows few characters and has keywords; pytest escapes what is not ASCII.
    """
    parts = re.findall(r"[\w:+\-./\[\]]+", name, re.ASCII)
    return " and ".join(part for part in parts if part not in {"and", "or", "not"})


def command(plan: Plan, *arguments: str) -> str:
    """Return a command line that repeats a part of this run."""
    return shlex.join(["pytest", "-m", "robustness", *plan.arguments, *arguments])
