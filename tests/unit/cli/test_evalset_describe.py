"""``python -m robustness evalset --json`` against independent counts."""

from __future__ import annotations

import json
import statistics
import xml.etree.ElementTree as ET
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness import evalset
from robustness.__main__ import main
from robustness.cli.evalset_describe import MAX_TEXTS, describe
from robustness.evalset import EvaluationSet, Exclusion, Pair, Report

KEYS = [
    *("spec", "fingerprint", "studies", "images", "patients", "views", "excluded"),
    *("columns_not_read", "reports"),
    *("distinct_texts", "repeated_reports", "frequent_texts", "length", "labels", "labelled"),
    *("without_findings", "without_labels", "label_sets"),
]
WORDS = ["reports", "min", "median", "mean", "p95", "max"]
SECTIONS = ["indication", "comparison", "findings", "impression"]


def described(capsys, spec, *arguments):
    assert main(["evalset", spec, "--json", *arguments]) == 0
    out, err = capsys.readouterr()
    assert not err
    return json.loads(out)


def words(texts):
    counts = [len(text.split()) for text in texts if text.split()]
    values = [
        len(counts),
        min(counts),
        statistics.median(counts),
        statistics.fmean(counts),
        statistics.quantiles(counts, n=20, method="inclusive")[-1],
        max(counts),
    ]
    return dict(zip(WORDS, map(pytest.approx, values), strict=True))


def pair(image, study=None, *, labels=None, view="", patient=None, **sections):
    study = study or image
    return Pair(image, study, patient or study, view, Report(**sections), "0", labels)


def made(*pairs, excluded=()):
    return EvaluationSet("x", pairs, lambda _: np.zeros((4, 4), np.uint8), excluded)


# --- the Indiana collection --------------------------------------------------------------


@pytest.fixture(scope="module")
def studies(open_i):
    """Read sections, images and labels of each study from the XML of the sample."""
    found = {}
    for path in (open_i / "ecgen-radiology").glob("*.xml"):
        root = ET.parse(path).getroot()
        sections = {a.get("Label").lower(): a.text or "" for a in root.iter("AbstractText")}
        names = {m.text.partition("/")[0].strip().lower() for m in root.iterfind("MeSH/major")}
        names -= {"technical quality of image unsatisfactory", "technical quality of image"}
        if "no indexing" in names or not names:
            names = None
        images = [image.get("id") for image in root.iter("parentImage")]
        found[root.find("uId").get("id")] = (sections, images, names)
    assert len(found) == 678
    return found


def test_the_indiana_collection_is_counted_like_its_reports(open_i, store, studies, capsys):
    """All views and images, so that the result does not depend on the view."""
    result = described(capsys, f"open_i:{open_i},view=all,images=all", "--store", str(store))
    bodies = {
        s: f"{sections['findings']} {sections['impression']}"
        for s, (sections, _, _) in studies.items()
    }
    included = {s for s, body in bodies.items() if body.strip() and studies[s][1]}
    images = {s: len(studies[s][1]) for s in included}
    assert result["studies"] == result["patients"] == result["reports"] == len(included)
    assert result["images"] == sum(images.values()) == sum(result["views"].values())
    assert set(result["views"]) == {"frontal", "lateral"}
    assert sum(result["excluded"].values()) == (
        len(studies) - len(included) + sum(len(studies[s][1]) for s in set(studies) - included)
    )

    alike = Counter(" ".join(bodies[s].lower().split()) for s in included)
    assert all(text.isascii() for text in alike)
    assert result["distinct_texts"] == len(alike)
    assert result["repeated_reports"] == sum(
        any(" ".join(bodies[o].lower().split()) == mine for o in included - {s})
        for s in included
        for mine in [" ".join(bodies[s].lower().split())]
    )
    most = [alike[" ".join(each["text"].lower().split())] for each in result["frequent_texts"]]
    assert [each["reports"] for each in result["frequent_texts"]] == most
    assert most == sorted(alike.values(), reverse=True)[:MAX_TEXTS]

    for section in SECTIONS:
        texts = [studies[s][0].get(section, "") for s in included]
        assert result["length"][section] == words(texts), section
    assert result["length"]["findings+impression"] == words([bodies[s] for s in included])

    labelled = {s for s in included if studies[s][2] is not None}
    names = Counter(n for s in labelled for n in studies[s][2] for _ in range(images[s]))
    total = sum(images[s] for s in labelled)
    assert result["labelled"] == total
    assert result["without_labels"] == result["images"] - total
    assert result["label_sets"] == len({frozenset(studies[s][2]) for s in labelled})
    assert {n: each["count"] for n, each in result["labels"].items()} == names
    for each in result["labels"].values():
        assert each["fraction"] == pytest.approx(each["count"] / total)


def test_every_study_and_image_is_counted_or_excluded(open_i, store, studies, capsys):
    result = described(capsys, f"open_i:{open_i}", "--store", str(store))
    excluded = result["excluded"]
    of_studies = sum(n for reason, n in excluded.items() if reason.startswith("study "))
    assert result["studies"] + of_studies == len(studies)
    assert result["images"] + sum(excluded.values()) - of_studies == sum(
        len(images) for _, images, _ in studies.values()
    )
    assert result["images"] == result["studies"]
    assert result["views"] == {"frontal": result["images"]}


# --- phantoms and synthetic sets -----------------------------------------------


def test_phantoms_are_counted(capsys):
    result = described(capsys, "phantom:64:3")
    pairs = evalset.load("phantom:64:3").pairs
    assert list(result) == KEYS
    assert result["spec"] == "phantom:64:3"
    assert result["fingerprint"] == evalset.load("phantom:64:3").fingerprint
    assert result["images"] == result["studies"] == result["patients"] == result["labelled"] == 64
    assert result["views"] == Counter(p.view for p in pairs)
    assert result["excluded"] == result["columns_not_read"] == {}
    assert result["without_labels"] == 0
    assert result["without_findings"] == sum(p.labels == frozenset() for p in pairs) > 0
    for name, each in result["labels"].items():
        assert each == {
            "count": sum(name in p.labels for p in pairs),
            "fraction": pytest.approx(sum(name in p.labels for p in pairs) / 64),
        }
    assert list(result["length"]) == [*SECTIONS, "findings+impression"]
    assert all(list(each) == WORDS for each in result["length"].values())
    assert result["length"]["findings"] == words([p.report.findings for p in pairs])
    assert result["length"]["comparison"] == {"reports": 0, **dict.fromkeys(WORDS[1:])}


def test_equally_frequent_labels_have_a_fixed_order():
    """The order of a frozenset differs between processes."""
    names = frozenset(f"finding {i}" for i in range(40))
    result = describe(
        made(pair("a", labels=frozenset({"often"})), pair("b", labels=names | {"often"}))
    )
    assert list(result["labels"]) == ["often", *sorted(names)]


REPORT = st.tuples(
    st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["Clear. ", " clear.", "x", ""])
)


@given(st.lists(REPORT, min_size=1, max_size=12))
def test_a_repeated_report_is_one_whose_text_another_study_has(rows):
    result = describe(made(*(pair(str(i), s, findings=t) for i, (s, t) in enumerate(rows))))
    reports = {(study, report.strip().lower()) for study, report in rows}
    assert result["reports"] == len(reports)
    assert result["studies"] == len({study for study, _ in reports})
    assert result["distinct_texts"] == len({report for _, report in reports})
    assert result["repeated_reports"] == sum(
        any(report == other and study != another for another, other in reports)
        for study, report in reports
    )
    assert sum(each["reports"] for each in result["frequent_texts"]) == result["repeated_reports"]


def test_images_of_one_study_share_a_report_and_a_patient():
    result = describe(
        made(
            *(
                pair(f"i{i}", "s1", patient="p", view="PA", findings="No  CHANGE.")
                for i in range(3)
            ),
            pair("j", "s2", patient="p", impression="no change."),
            pair("k", "s3", patient="q", undivided="All one text."),
            excluded=[Exclusion("a", "few"), Exclusion("b", "many"), Exclusion("c", "many")],
        )
    )
    assert [result[key] for key in ("images", "studies", "patients", "reports")] == [5, 3, 2, 3]
    assert (result["distinct_texts"], result["repeated_reports"]) == (2, 2)
    assert result["frequent_texts"] == [{"text": "No CHANGE.", "reports": 2}]
    assert result["views"] == {"PA": 3, "": 2}
    assert list(result["excluded"].items()) == [("many", 2), ("few", 1)]
    assert result["length"]["undivided"]["reports"] == 1
    assert result["length"]["findings+impression"]["reports"] == 3
    assert result["length"]["findings+impression"]["max"] == 3
