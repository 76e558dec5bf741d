"""Statistics of an evaluation set; no image is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from robustness.evalset._base import BODY, SECTIONS, EvaluationSet, Report
from robustness.evalset._text import normalise

MAX_TEXTS = 5
"""Repeated texts to list."""

BOTH = "+".join(BODY)
"""Name of the text that models encode and in which repetitions are counted."""


def describe(evalset: EvaluationSet) -> dict[str, Any]:
    """Count the studies, images, reports and labels of an evaluation set.

    A report is the findings and impression of a study, joined by
    :meth:`~robustness.evalset.Report.text`. The images of a study share it. Two texts are the
    same if :func:`~robustness.evalset.normalise` makes them equal. Words are separated by white
    space.

    Args:
        evalset: The set.

    Returns:
        JSON values:

        - ``spec``, ``fingerprint``: of the set.
        - ``studies``, ``images``, ``patients``: numbers; without patient ids, each study counts
          as one patient.
        - ``views``: images by view, most frequent first; ``""`` if not stated.
        - ``excluded``: items by reason of exclusion, most frequent first.
        - ``columns_not_read``: of a table; for each the missing column with a similar name, or
          None.
        - ``reports``: number of reports; ``distinct_texts``: number of different texts;
          ``repeated_reports``: reports with the same text as another study's.
        - ``frequent_texts``: the :data:`MAX_TEXTS` most frequent repeated texts, each
          ``{"text", "reports"}``, in the wording of the first report.
        - ``length``: words by section, and of findings and impression together; each
          ``{"reports", "min", "median", "mean", "p95", "max"}`` over reports with a text, None
          if there are none. ``p95`` is interpolated linearly.
        - ``labels``: ``{"count", "fraction"}`` by name, most frequent first: images, and their
          fraction of the labelled images. ``labelled``: images with labels, including an empty
          list; ``without_findings``: images with an empty list; ``without_labels``: images
          without labels; ``label_sets``: number of different combinations.
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
    """Return normalised text and report of each study; a study of a manifest may have several."""
    reports: dict[tuple[str, str], Report] = {}
    for pair in evalset.pairs:
        reports.setdefault((pair.study_id, normalise(pair.report.text(BODY))), pair.report)
    return [(text, report) for (_, text), report in reports.items()]


def _repetition(reports: list[tuple[str, Report]]) -> dict[str, Any]:
    texts = _by_count(text for text, _ in reports)
    repeated = [(text, count) for text, count in texts if count > 1]
    # Reversed, because a dictionary keeps the last of equal keys.
    wording = {text: " ".join(report.text(BODY).split()) for text, report in reversed(reports)}
    return {
        "reports": len(reports),
        "distinct_texts": len(texts),
        "repeated_reports": sum(count for _, count in repeated),
        "frequent_texts": [
            {"text": wording[text], "reports": count} for text, count in repeated[:MAX_TEXTS]
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
    labelled = [pair.labels for pair in evalset.pairs if pair.labels is not None]
    counts = _by_count(name for labels in labelled for name in sorted(labels))
    return {
        "labels": {n: {"count": count, "fraction": count / len(labelled)} for n, count in counts},
        "labelled": len(labelled),
        "without_findings": sum(not labels for labels in labelled),
        "without_labels": len(evalset) - len(labelled),
        "label_sets": len(set(labelled)),
    }


def _by_count(names: Iterable[str]) -> list[tuple[str, int]]:
    """Count each name; most frequent first, then in order of appearance."""
    return Counter(names).most_common()
