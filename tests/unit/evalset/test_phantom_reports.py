"""Reports of phantoms: they are true of the drawn findings, and they vary."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness.evalset import phantom
from robustness.evalset.phantom import Findings, Place, Sided, Study
from robustness.evalset.phantom._report import dictate

STUDIES = [Study(3, index) for index in range(400)]


def test_some_reports_repeat_word_for_word_and_most_do_not():
    texts = [pair.report.text(("findings", "impression")) for pair in phantom.load("512").pairs]
    counts = Counter(texts)
    repeated = sum(count for count in counts.values() if count > 1)
    assert 0.04 < repeated / 512 < 0.10
    assert max(counts.values()) < 20


def test_every_report_has_findings_and_an_impression_and_most_an_indication():
    reports = [study.report() for study in STUDIES]
    assert all(report.findings and report.impression for report in reports)
    indicated = sum(bool(report.indication) for report in reports)
    assert 0.6 * len(reports) < indicated < len(reports)


def test_only_normal_studies_are_dictated_with_a_macro():
    macros = [study.findings for study in STUDIES if study.findings.macro]
    assert macros
    assert all(not phantom.labels(findings)[1:].any() for findings in macros)


def test_labels_have_one_length_and_distinguish_sides_and_zones():
    right = phantom.labels(Findings(nodule=Place("right", "upper")))
    left = phantom.labels(Findings(nodule=Place("left", "upper")))
    assert right.dtype == np.float32
    assert right.shape == left.shape == phantom.labels(Findings()).shape
    assert right.sum() == left.sum() == 1
    assert right @ left == 0
    assert {phantom.labels(study.findings).shape for study in STUDIES} == {right.shape}


DENIED = re.compile(r"\bno\b|\bnot\b|normal|sharp|unremarkable|clear of|ribs are intact|within")
UNSPECIFIC = re.compile(
    r"no acute (?!osseous)|no evidence of acute|as above|as described|see findings"
)
ZONE_WORDS = {"upper": "upper", "mid": r"\bmid\b|perihilar", "lower": "lower|base"}


def sentences_of(report):
    text = f"{report.findings} {report.impression}".lower()
    return [part.strip() for part in re.split(r"\.(?:\s|$)|\b\d\.\s", text) if part.strip()]


def sides_in(sentence):
    if re.search(r"bilateral|both|bibasilar", sentence):
        return {"right", "left"}
    return set(re.findall(r"\bright\b|\bleft\b", sentence))


def grade_in(sentence, sizes):
    return next((grade for grade, size in enumerate(sizes, 1) if size in sentence), 1)


def graded_by_side(name, *sizes):
    def is_true(sentence, f):
        grades, sides = getattr(f, name), sides_in(sentence)
        if DENIED.search(sentence):
            return not any(grades)
        return bool(sides) and all(grades.on(s) == grade_in(sentence, sizes) for s in sides)

    return is_true


def graded(name, *sizes):
    def is_true(sentence, f):
        return getattr(f, name) == (0 if DENIED.search(sentence) else grade_in(sentence, sizes))

    return is_true


def on_a_side(name):
    def is_true(sentence, f):
        denied = DENIED.search(sentence)
        return getattr(f, name) is None if denied else {getattr(f, name)} == sides_in(sentence)

    return is_true


def at_a_place(name):
    def is_true(sentence, f):
        shown, sides = getattr(f, name), sides_in(sentence)
        if DENIED.search(sentence):
            return not shown
        zones = [zone for zone, words in ZONE_WORDS.items() if re.search(words, sentence)]
        stated = Place(*sides, *zones)
        return stated in shown if name == "consolidations" else stated == shown

    return is_true


def flag(name):
    return lambda sentence, f: getattr(f, name) is not bool(DENIED.search(sentence))


def nodules(sentence, f):
    if DENIED.search(sentence):
        return f.nodule is None and not f.many_nodules
    return f.many_nodules


READERS = [
    (r"\bap\b", lambda _, f: f.view == "AP"),
    (r"\bpa\b", lambda _, f: f.view == "PA"),
    (r"low lung volumes|volumes are low|shallow", lambda _, f: f.volume == "low"),
    (r"hyper", lambda _, f: f.volume == "high"),
    (r"effusion|pleural fluid|costophrenic", graded_by_side("effusion", "small", "moder", "large")),
    (r"pneumothorax", graded_by_side("pneumothorax", "small", "large")),
    (r"atelectasis", graded_by_side("atelectasis")),
    (r"\bhil(?:um|a|ar)\b", graded_by_side("hilum")),
    (r"fracture|\bribs\b|osseous", on_a_side("fracture")),
    (r"scolio|convex|spine", on_a_side("scoliosis")),
    (r"subcutaneous|soft tissues", on_a_side("emphysema")),
    (r"hemidiaphragm", on_a_side("elevated")),
    (r"rotat", on_a_side("rotation")),
    (r"pacemaker|cardiac device", on_a_side("pacemaker")),
    (r"jugular|central", on_a_side("line")),
    (r"chest tube|chest drain|thoracostomy", on_a_side("drain")),
    (r"heart|cardiomegaly|cardiac silhouette", graded("heart", "mild", "moderate", "severe")),
    (r"edema|vascular|congestive", graded("oedema", "mild", "severe")),
    (r"aort|mediastinal", flag("aorta")),
    (r"hernia", flag("hernia")),
    (r"stern(?:al|otomy)", flag("wires")),
    (r"endotracheal|intubated", flag("endotracheal_tube")),
    (r"enteric|nasogastric|feeding", flag("gastric_tube")),
    (r"nodules|no pulmonary nodule", nodules),
    (r"nodule", at_a_place("nodule")),
    (r"\bmass\b", at_a_place("mass")),
    (
        r"consolidation|opacity|opacification|infiltrate|airspace|pneumonia",
        at_a_place("consolidations"),
    ),
]
"""The topic of a sentence, by its words, and a check of its truth; the first match counts."""


def truth_of(sentence, findings):
    """Return True if a sentence about a study is true; independent of the code under test."""
    for words, is_true in READERS:
        if re.search(words, sentence):
            return is_true(sentence, findings)
    raise AssertionError(f"no reader for {sentence!r}")


def test_every_statement_of_a_report_is_true():
    read = 0
    for study in STUDIES:
        if study.findings.macro:
            continue
        for sentence in sentences_of(study.report()):
            if UNSPECIFIC.search(sentence):
                continue
            assert truth_of(sentence, study.findings), (sentence, study.findings)
            read += 1
    assert read > 5 * len(STUDIES)


def test_truth_of_detects_false_sentences():
    shown = Findings(effusion=Sided(right=2), mass=Place("left", "upper"))
    assert truth_of("there is a moderate right pleural effusion", shown)
    assert not truth_of("there is a moderate left pleural effusion", shown)
    assert not truth_of("there is a small right pleural effusion", shown)
    assert not truth_of("no pleural effusion", shown)
    assert not truth_of("there is a mass in the left lower lobe", shown)
    assert not truth_of("the patient is intubated", shown)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_reports_of_the_same_findings_are_true_for_any_seed(seed):
    shown = Findings(
        view="AP",
        effusion=Sided(1, 1),
        consolidations=(Place("left", "mid"), Place("right", "upper")),
        heart=3,
        drain="left",
    )
    report = dictate(shown, np.random.default_rng(seed))
    for sentence in sentences_of(report):
        assert UNSPECIFIC.search(sentence) or truth_of(sentence, shown), sentence


def test_a_finding_is_described_in_most_reports_but_not_all():
    described, drawn = 0, 0
    for study in STUDIES:
        if study.findings.pacemaker:
            drawn += 1
            described += bool(re.search("pacemaker|cardiac device", study.report().findings))
    assert drawn > 20
    assert 0.5 * drawn < described < drawn
