"""What an evaluation set holds, in numbers: no image is decoded for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from robustness.evalset._base import BODY, SECTIONS, EvaluationSet, Report
from robustness.evalset._text import normalise

MOST_FREQUENT = 5
"""Texts that repeat are listed up to this many, the most frequent first."""

BOTH = "+".join(BODY)
"""The name of the text that models are given and that repetitions are counted in."""


def describe(evalset: EvaluationSet) -> dict[str, Any]:
    """Counts what an evaluation set holds.

    A report is a study's text: its findings and impression, joined as
    :meth:`~robustness.evalset.Report.text` joins them. Images of one study share it. Two
    texts are the same where :func:`~robustness.evalset.normalise` makes them equal. Words
    are what stands between white space.

    Args:
        evalset: The set.

    Returns:
        JSON values:

        - ``spec``, ``fingerprint``: of the set.
        - ``studies``, ``images``, ``patients``: how many; where a collection names no
          patients, a study stands for its own.
        - ``views``: images by view, the most frequent first; ``""`` where none is stated.
        - ``excluded``: items left out, by reason, the most frequent first.
        - ``columns_not_read``: of a table, each with the column that its name is near to and that
          the table lacks; None where there is none.
        - ``reports``: how many, ``distinct_texts``: how many different ones among them,
          ``repeated_reports``: how many have the same text as another study's.
        - ``frequent_texts``: the first :data:`MOST_FREQUENT` texts that repeat, each
          ``{"text", "reports"}``, worded as in the first report that has it.
        - ``length``: words by section, and of findings and impression together; each
          ``{"reports", "min", "median", "mean", "p95", "max"}`` over the reports where it is
          not empty, the numbers None where there is none. ``p95`` interpolates linearly.
        - ``labels``: ``{"count", "fraction"}`` by name, the most frequent first: images, and
          their share of the labelled ones. ``labelled``: images of which the collection says
          what they show, ``without_findings``: those of them where it names nothing,
          ``without_labels``: images of which it says nothing, ``label_sets``: how many
          different combinations there are.
    """
    reports = _reports(evalset)
    return {
        "spec": evalset.spec,
        "fingerprint": evalset.fingerprint,
        "studies": len({pair.study_id for pair in evalset.pairs}),
        "images": len(evalset),
        "patients": len({pair.patient_id for pair in evalset.pairs}),
        "views": dict(_by_count(pair.view for pair in evalset.pairs)),
        "excluded": dict(_by_count(exclusion.reason for exclusion in evalset.excluded)),
        "columns_not_read": {each.column: each.meant or None for each in evalset.unread},
        **_repetition(reports),
        "length": _lengths([report for _, report in reports]),
        **_labels(evalset),
    }


def _reports(evalset: EvaluationSet) -> list[tuple[str, Report]]:
    """Each study's reports with their normalised texts; a manifest's study may have several."""
    reports: dict[tuple[str, str], Report] = {}
    for pair in evalset.pairs:
        reports.setdefault((pair.study_id, normalise(pair.report.text(BODY))), pair.report)
    return [(text, report) for (_, text), report in reports.items()]


def _repetition(reports: list[tuple[str, Report]]) -> dict[str, Any]:
    texts = _by_count(text for text, _ in reports)
    repeated = [(text, count) for text, count in texts if count > 1]
    # Of several wordings the first: a dictionary keeps the last of equal keys.
    wording = {text: " ".join(report.text(BODY).split()) for text, report in reversed(reports)}
    return {
        "reports": len(reports),
        "distinct_texts": len(texts),
        "repeated_reports": sum(count for _, count in repeated),
        "frequent_texts": [
            {"text": wording[text], "reports": count} for text, count in repeated[:MOST_FREQUENT]
        ],
    }


def _lengths(reports: list[Report]) -> dict[str, dict[str, float | None]]:
    undivided = ("undivided",) if any(report.undivided.strip() for report in reports) else ()
    texts = {
        section: [getattr(report, section) for report in reports]
        for section in (*SECTIONS, *undivided)
    }
    texts[BOTH] = [report.text(BODY) for report in reports]
    return {name: _words(each) for name, each in texts.items()}


def _words(texts: list[str]) -> dict[str, float | None]:
    counts = [count for text in texts if (count := len(text.split()))]
    if not counts:
        return {"reports": 0, **dict.fromkeys(("min", "median", "mean", "p95", "max"))}
    return {
        "reports": len(counts),
        "min": min(counts),
        "median": float(np.median(counts)),
        "mean": float(np.mean(counts)),
        "p95": float(np.percentile(counts, 95)),
        "max": max(counts),
    }


def _labels(evalset: EvaluationSet) -> dict[str, Any]:
    known = [pair.labels for pair in evalset.pairs if pair.labels is not None]
    counts = _by_count(name for labels in known for name in sorted(labels))
    return {
        "labels": {n: {"count": count, "fraction": count / len(known)} for n, count in counts},
        "labelled": len(known),
        "without_findings": sum(not labels for labels in known),
        "without_labels": len(evalset) - len(known),
        "label_sets": len(set(known)),
    }


def _by_count(names: Iterable[str]) -> list[tuple[str, int]]:
    """Each name with how often it stands there, the most frequent first, then as they come."""
    return Counter(names).most_common()
