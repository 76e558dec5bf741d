"""Labels of phantoms: the names of the drawn findings, consistent with the reports."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields

import pytest

from robustness import evalset
from robustness.evalset import phantom
from robustness.evalset.phantom import Findings, Place, Sided, Study

BASE = Place("left", "lower")

SHOWN = [
    ({"atelectasis": Sided(0, 1)}, "atelectasis"),
    ({"heart": 1}, "cardiomegaly"),
    ({"consolidations": (BASE,)}, "consolidation"),
    ({"oedema": 1}, "edema"),
    ({"fracture": "left"}, "fracture"),
    ({"mass": BASE}, "lung lesion"),
    ({"nodule": BASE}, "lung lesion"),
    ({"many_nodules": True}, "lung lesion"),
    ({"effusion": Sided(1, 0)}, "pleural effusion"),
    ({"pneumothorax": Sided(0, 2)}, "pneumothorax"),
    ({"pacemaker": "right"}, "support devices"),
    ({"line": "right"}, "support devices"),
    ({"drain": "left"}, "support devices"),
    ({"endotracheal_tube": True}, "support devices"),
    ({"gastric_tube": True}, "support devices"),
]

UNNAMED = {
    "macro": True,
    "view": "AP",
    "rotation": "left",
    "volume": "low",
    "hilum": Sided(1, 1),
    "elevated": "left",
    "scoliosis": "left",
    "emphysema": "left",
    "aorta": True,
    "hernia": True,
    "wires": True,
}


@pytest.mark.parametrize(("finding", "name"), SHOWN)
def test_each_finding_has_its_name(finding, name):
    assert phantom.finding_names(Findings(**finding)) == {name}
    assert phantom.finding_names(Findings(**finding, **UNNAMED)) == {name}


def test_every_finding_has_a_name_or_is_listed_as_unnamed():
    assert phantom.finding_names(Findings(**UNNAMED)) == frozenset()
    named = {name for finding, _ in SHOWN for name in finding}
    assert named | set(UNNAMED) == {field.name for field in fields(Findings)}
    everything = {name: value for finding, _ in SHOWN for name, value in finding.items()}
    assert phantom.finding_names(Findings(**everything)) == {name for _, name in SHOWN}


def test_pairs_have_the_labels_of_the_drawn_findings():
    for index, pair in enumerate(evalset.load("phantom:64:9").pairs):
        assert pair.labels == phantom.finding_names(Study(9, index).findings)


WORDS = {
    "atelectasis": "atelecta",
    "cardiomegaly": "enlarged heart|heart|cardiac silhouette|cardiomegaly",
    "consolidation": "consolidation|airspace|pneumonia",
    "edema": "edema|congest|interstitial|vascular",
    "fracture": "fracture",
    "lung lesion": "nodul|mass",
    "pleural effusion": "effusion|pleural fluid",
    "pneumothorax": "pneumothora",
    "support devices": r"pacemaker|pacer|(?<!septal )(?<!pleural )lines?\b|picc|catheter|drain|"
    "tube|intubated",
}
DENIED = re.compile(r"\bno\b|\bnot\b|without|normal|unremarkable|clear of|intact|within")


def test_reports_state_most_labels_and_no_others():
    """Reports omit some findings, and state none that was not drawn."""
    stated = {name: Counter() for name in WORDS}
    for pair in evalset.load("phantom:512").pairs:
        text = pair.report.text(("findings", "impression")).lower()
        affirmed = " ".join(part for part in text.split(". ") if not DENIED.search(part))
        for name, words in WORDS.items():
            is_stated = re.search(rf"\b(?:{words})", affirmed) is not None
            stated[name][name in pair.labels, is_stated] += 1
    for name, counts in stated.items():
        present = counts[True, True] + counts[True, False]
        assert counts[True, True] / present > 0.75, name
        assert counts[False, True] == 0, name


def test_label_sets_of_the_default_set_are_diverse_but_repeat():
    counts = Counter(pair.labels for pair in evalset.load("phantom:512").pairs)
    assert 50 < len(counts) < 400
    assert max(counts.values()) < 512 // 4
    assert frozenset() in counts
