"""Sections of MIMIC-CXR reports: hand-written expectations for each form of report."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness.evalset import SECTIONS, Report
from robustness.evalset.mimic_cxr._sections import parse

RULE = " " + "_" * 78 + "\n"
TITLE = " " * 33 + "FINAL REPORT\n"

# Name, text and expected sections; sections that are not listed are empty.
CASES: list[tuple[str, str, dict[str, str]]] = [
    (
        "the template",
        TITLE
        + (
            " EXAMINATION:  CHEST (PA AND LAT)\n"
            " \n"
            " INDICATION:  ___ year old woman with ?effusion  // ?effusion\n"
            " \n"
            " TECHNIQUE:  Chest PA and lateral\n"
            " \n"
            " COMPARISON:  ___\n"
            " \n"
            " FINDINGS: \n"
            " \n"
            " Large left effusion is new.  Small\n"
            " right effusion is new.\n"
            " \n"
            " There is no pneumothorax.\n"
            " \n"
            " IMPRESSION: \n"
            " \n"
            " Large left effusion.\n"
        ),
        {
            "indication": "___ year old woman with ?effusion // ?effusion",
            "findings": "Large left effusion is new. Small right effusion is new."
            " There is no pneumothorax.",
            "impression": "Large left effusion.",
        },
    ),
    ("nothing", "", {}),
    ("white space", " \n\t\n  ", {}),
    ("a title alone", TITLE, {}),
    ("only underscores", "___ ___\n___", {}),
    ("empty sections", " FINDINGS:\n \n IMPRESSION:\n", {}),
    ("a section of underscores", " FINDINGS: ___.\n IMPRESSION: Clear.\n",
     {"impression": "Clear."}),
    ("windows line ends", " FINDINGS: Clear.\r\n\r\n IMPRESSION: Normal.\r\n",
     {"findings": "Clear.", "impression": "Normal."}),
    ("no indentation", "FINDINGS: Clear.\nIMPRESSION: Normal.",
     {"findings": "Clear.", "impression": "Normal."}),
    ("deep indentation", "\t\tFINDINGS: Clear.\n          IMPRESSION: Normal.",
     {"findings": "Clear.", "impression": "Normal."}),
    ("white space within", " FINDINGS:   Clear \t lungs.\n\n  No  effusion.",
     {"findings": "Clear lungs. No effusion."}),
    ("space before the colon", " FINDINGS : Clear.", {"findings": "Clear."}),
    ("no space after the colon", " IMPRESSION:Clear.", {"impression": "Clear."}),
    ("a semicolon", " IMPRESSION; Clear.", {"impression": "Clear."}),
    ("a dash", " IMPRESSION - Clear.", {"impression": "Clear."}),
    ("no colon", " FINDINGS\n Clear lungs.\n\n IMPRESSION\n Normal.",
     {"findings": "Clear lungs.", "impression": "Normal."}),
    ("numbered", " IMPRESSION:\n 1. No pneumonia.\n 2. Tube in place.",
     {"impression": "1. No pneumonia. 2. Tube in place."}),
    # Odd spellings, one or two letters off.
    ("FINDIGS", " FINDIGS: Clear.", {"findings": "Clear."}),
    ("FINDINS", " FINDINS: Clear.", {"findings": "Clear."}),
    ("FINDNGS", " FINDNGS: Clear.", {"findings": "Clear."}),
    ("FINIDNGS", " FINIDNGS: Clear.", {"findings": "Clear."}),
    ("FINDGINGS", " FINDGINGS: Clear.", {"findings": "Clear."}),
    ("FINDING", " FINDING: Clear.", {"findings": "Clear."}),
    ("IMPRESSON", " IMPRESSON: Clear.", {"impression": "Clear."}),
    ("IMPRESSOIN", " IMPRESSOIN: Clear.", {"impression": "Clear."}),
    ("IMOPRESSION", " IMOPRESSION: Clear.", {"impression": "Clear."}),
    ("IMPERSSION", " IMPERSSION: Clear.", {"impression": "Clear."}),
    ("MPRESSION", " MPRESSION: Clear.", {"impression": "Clear."}),
    ("IMPRESSIONS", " IMPRESSIONS: Clear.", {"impression": "Clear."}),
    ("IDICATION", " IDICATION: Cough.\n FINDINGS: Clear.",
     {"indication": "Cough.", "findings": "Clear."}),
    ("NDICATION", " NDICATION: Cough.\n FINDINGS: Clear.",
     {"indication": "Cough.", "findings": "Clear."}),
    ("COMPARISION", " COMPARISION: None.\n FINDINGS: Clear.",
     {"comparison": "None.", "findings": "Clear."}),
    ("COMPARRISON", " COMPARRISON: None.\n FINDINGS: Clear.",
     {"comparison": "None.", "findings": "Clear."}),
    ("COMPARISONS", " COMPARISONS: None.\n FINDINGS: Clear.",
     {"comparison": "None.", "findings": "Clear."}),
    ("COMPRESSION is no impression", " FINDINGS: Old spine.\n COMPRESSION: L1, unchanged.",
     {"findings": "Old spine. COMPRESSION: L1, unchanged."}),
    ("MEDICATION is no indication", " INDICATION: Cough.\n MEDICATION: None.\n FINDINGS: Clear.",
     {"indication": "Cough.", "findings": "Clear."}),
    # Other names of a section.
    ("CONCLUSION", " CONCLUSION: Clear.", {"impression": "Clear."}),
    ("FINDINGS AND IMPRESSION", " FINDINGS AND IMPRESSION: Clear.", {"impression": "Clear."}),
    ("FINDINGS/IMPRESSION", " FINDINGS/IMPRESSION: Clear.", {"impression": "Clear."}),
    ("FINDINGS/ IMPRESSON", " FINDINGS/ IMPRESSON: Clear.", {"impression": "Clear."}),
    ("FINDINGS & IMPRESSION", " FINDINGS & IMPRESSION: Clear.", {"impression": "Clear."}),
    ("HISTORY", " HISTORY: Cough.\n IMPRESSION: Clear.",
     {"indication": "Cough.", "impression": "Clear."}),
    ("CLINICAL HISTORY", " CLINICAL HISTORY: Cough.\n IMPRESSION: Clear.",
     {"indication": "Cough.", "impression": "Clear."}),
    ("REASON FOR EXAM", " REASON FOR EXAM: Cough.\n IMPRESSION: Clear.",
     {"indication": "Cough.", "impression": "Clear."}),
    ("REASON FOR EXAMINATION", " REASON FOR EXAMINATION: Cough.\n IMPRESSION: Clear.",
     {"indication": "Cough.", "impression": "Clear."}),
    ("CLINICAL INFORMATION", " CLINICAL INFORMATION: Cough.\n IMPRESSION: Clear.",
     {"indication": "Cough.", "impression": "Clear."}),
    ("REFERENCE EXAM",
     " REFERENCE EXAM: ___.\n COMPARISON FILM: Chest of ___.\n IMPRESSION: Clear.",
     {"comparison": "Chest of ___.", "impression": "Clear."}),
    ("HISTORY within INDICATION", " INDICATION: History: ___F with cough\n FINDINGS: Clear.",
     {"indication": "History: ___F with cough", "findings": "Clear."}),
    ("two indications",
     " REASON FOR EXAM: Line placed.\n HISTORY: ___ with sepsis.\n FINDINGS: Ok.",
     {"indication": "Line placed. ___ with sepsis.", "findings": "Ok."}),
    # Case, and headings inside a line.
    ("lower case", " indication: cough.\n findings: clear.\n impression: normal.",
     {"indication": "cough.", "findings": "clear.", "impression": "normal."}),
    ("title case", " Comparison: None.\n Findings: Clear.\n Impression: Normal.",
     {"comparison": "None.", "findings": "Clear.", "impression": "Normal."}),
    ("all in one line",
     "INDICATION: Cough. COMPARISON: None. FINDINGS: Clear lungs. IMPRESSION: Normal.",
     {"indication": "Cough.", "comparison": "None.", "findings": "Clear lungs.",
      "impression": "Normal."}),
    ("all in one line in capitals",
     "INDICATION: COUGH COMPARISON: NONE FINDINGS: LUNGS CLEAR IMPRESSION: NORMAL",
     {"indication": "COUGH", "comparison": "NONE", "findings": "LUNGS CLEAR",
      "impression": "NORMAL"}),
    ("title case after a sentence", " FINDINGS: Lungs are clear. Impression: Normal chest.",
     {"findings": "Lungs are clear.", "impression": "Normal chest."}),
    ("after a sentence, in capitals", " The lungs are clear. IMPRESSION: Normal.",
     {"impression": "Normal."}),
    ("a word in a sentence is no heading",
     " FINDINGS: In comparison: no change. The findings: as before.",
     {"findings": "In comparison: no change. The findings: as before."}),
    ("a line of one wrapped word", " FINDINGS: The study shows no new\n findings.\n No effusion.",
     {"findings": "The study shows no new findings. No effusion."}),
    ("a time is no heading", " FINDINGS: Film of ___ at\n AT 10:30 the line was moved.",
     {"findings": "Film of ___ at AT 10:30 the line was moved."}),
    # Headings of projections and of anatomy.
    ("CHEST, TWO VIEWS", " CHEST, TWO VIEWS: Lungs are clear.\n IMPRESSION: Normal.",
     {"findings": "Lungs are clear.", "impression": "Normal."}),
    ("PORTABLE AP CHEST RADIOGRAPH", " COMPARISON: ___\n\n PORTABLE AP CHEST RADIOGRAPH:  Clear.",
     {"findings": "Clear."}),
    ("PA AND LATERAL VIEWS", " PA AND LATERAL VIEWS OF THE CHEST:\n Clear lungs.",
     {"findings": "Clear lungs."}),
    ("a projection as a title", " CHEST, PA LATERAL:\n \n INDICATION: Cough.\n\n FINDINGS: Clear.",
     {"indication": "Cough.", "findings": "Clear."}),
    ("a projection under the impression",
     " IMPRESSION:  AP chest compared to ___:\n\n CHEST, ONE VIEW: Edema is worse.",
     {"impression": "AP chest compared to ___: CHEST, ONE VIEW: Edema is worse."}),
    ("anatomy under the findings",
     " FINDINGS:\n LUNGS: Clear.\n HEART: Normal.\n BONES: Intact.\n IMPRESSION: Normal.",
     {"findings": "LUNGS: Clear. HEART: Normal. BONES: Intact.", "impression": "Normal."}),
    ("an unknown heading ends the indication",
     " INDICATION: Cough.\n CONTRAST AND DOSE: None.\n FINDINGS: Clear.",
     {"indication": "Cough.", "findings": "Clear."}),
    ("several findings", " FINDINGS: Chest clear.\n FINDINGS: Abdomen normal.\n IMPRESSION: Fine.",
     {"findings": "Chest clear. Abdomen normal.", "impression": "Fine."}),
    # Text outside the reading.
    ("notification and recommendation",
     " IMPRESSION: New nodule.\n\n RECOMMENDATION(S):  CT in ___ months.\n\n NOTIFICATION:  Told.",
     {"impression": "New nodule."}),
    ("a wet read above the line",
     " WET READ: ___ ___ ___ 9:04 PM\n  No acute process.\n" + RULE + TITLE
     + " INDICATION: Fever.\n\n FINDINGS: Clear.\n\n IMPRESSION: Normal.",
     {"indication": "Fever.", "findings": "Clear.", "impression": "Normal."}),
    ("a wet read with headings above the line",
     " WET READ VERSION:\n FINDINGS: Wrong.\n IMPRESSION: Wrong.\n" + RULE + TITLE
     + " IMPRESSION: Right.",
     {"impression": "Right."}),
    ("a wet read without a line",
     " WETREAD: ___ 10:04 AM\n Perhaps pneumonia.\n" + TITLE + " IMPRESSION: No pneumonia.",
     {"impression": "No pneumonia."}),
    ("an addendum above the line",
     " " * 33 + "FINAL ADDENDUM\n ADDENDUM  The side was named wrong: it is the left.\n" + RULE
     + TITLE + " HISTORY: Fall.\n\n IMPRESSION: Rib fracture.",
     {"indication": "Fall.", "impression": "Rib fracture."}),
    ("an addendum at the end", " IMPRESSION: Clear.\n\n ADDENDUM: Now with priors: no change.",
     {"impression": "Clear."}),
    ("a line and nothing below it", " IMPRESSION: Clear.\n" + RULE, {"impression": "Clear."}),
    ("a line and a signature below it",
     " IMPRESSION: Clear.\n" + RULE + " Electronically signed by: ___\n ___ 10:00",
     {"impression": "Clear."}),
    ("a signature", " IMPRESSION: Clear lungs.\n\n Dictated by: ___, MD\n ___",
     {"impression": "Clear lungs."}),
    ("a name at the end", " IMPRESSION: Clear lungs.\n\n DR. ___", {"impression": "Clear lungs."}),
    ("underscores within", " FINDINGS: Compared to ___, the ___ tube is out.",
     {"findings": "Compared to ___, the ___ tube is out."}),
    # Neither findings nor impression: the last paragraph.
    ("paragraphs after the indication",
     " INDICATION: Cough.\n \n Lungs are clear.\n \n No effusion.",
     {"indication": "Cough.", "undivided": "Lungs are clear. No effusion."}),
    ("paragraphs after the comparison",
     TITLE + " HISTORY: Cough.\n\n COMPARISON: None.\n\n Lungs are clear.",
     {"indication": "Cough.", "comparison": "None.", "undivided": "Lungs are clear."}),
    ("paragraphs after the technique",
     " INDICATION: Cough.\n\n TECHNIQUE: One view.\n\n Lungs are clear.\n\n NOTIFICATION: None.",
     {"indication": "Cough.", "undivided": "Lungs are clear."}),
    ("one paragraph under the comparison", " INDICATION: Cough.\n\n COMPARISON: None.",
     {"indication": "Cough.", "comparison": "None."}),
    ("no headings", TITLE + " PORTABLE CHEST, ___\n \n Lungs are clear.\n \n No effusion.",
     {"undivided": "Lungs are clear. No effusion."}),
    ("no headings and no title", " Lungs are clear.\n\n No effusion.",
     {"undivided": "Lungs are clear. No effusion."}),
    ("one paragraph", " No acute process", {"undivided": "No acute process"}),
    ("only a wet read", " WET READ: No acute process.", {}),
    ("the last paragraph above a line", " INDICATION: Cough.\n\n Lungs are clear.\n" + RULE,
     {"indication": "Cough.", "undivided": "Lungs are clear."}),
    ("an empty impression and a paragraph",
     " INDICATION: Cough.\n\n Lungs are clear.\n\n IMPRESSION:\n",
     {"indication": "Cough.", "undivided": "Lungs are clear."}),
    # Separators and names that the collection's own parser does not handle, or differently.
    ("two spaces and no colon", " FINDINGS  Clear lungs.", {"findings": "Clear lungs."}),
    ("two spaces before the colon", " FINDINGS  : Clear.\n CLINICAL  HISTORY: Cough.",
     {"findings": "Clear.", "indication": "Cough."}),
    ("a dash before the colon", " CHEST - PA AND LATERAL: Clear.", {"findings": "Clear."}),
    ("PA AND LAT", " COMPARISON: ___.\n PA AND LAT: Clear.", {"findings": "Clear."}),
    ("BONE WINDOWS", " FINDINGS: Clear.\n BONE WINDOWS: Intact.",
     {"findings": "Clear. BONE WINDOWS: Intact."}),
    ("BONE WINDOWS alone", " HISTORY: Fall.\n BONE WINDOWS: Intact.",
     {"indication": "Fall.", "findings": "Intact."}),
    ("INTERPRETATION", " INTERPRETATION: Clear.", {"impression": "Clear."}),
    ("REFERENCE FINDINGS", " REFERENCE FINDINGS: Clear.", {"findings": "Clear."}),
    ("provisional findings are no final ones",
     " PROVISIONAL FINDINGS IMPRESSION (PFI): ___ 9:10 PM\n Wrong.\n FINDINGS: Right.",
     {"findings": "Right."}),
    ("PFI", " PFI: Wrong.\n IMPRESSION: Right. PFI: Wrong.", {"impression": "Right."}),
    ("provisional findings at the end",
     " IMPRESSION: Right. PROVISIONAL FINDINGS IMPRESSION (PFI): Wrong.", {"impression": "Right."}),
    ("whom it was discussed with",
     " IMPRESSION: New nodule.\n Findings were discussed by Dr. ___ with Dr. ___.",
     {"impression": "New nodule. Findings were discussed by Dr. ___ with Dr. ___."}),
    ("a name of two parts", " IMPRESSION: Clear.\n\n DR. ___ ___", {"impression": "Clear."}),
    ("a reading under the comparison",
     " INDICATION: Cough.\n\n COMPARISON: Chest of ___.\n Lungs are clear. No effusion is seen.",
     {"indication": "Cough.", "comparison": "Chest of ___.",
      "undivided": "Lungs are clear. No effusion is seen."}),
    ("two comparisons are no reading", " COMPARISON: ___. CT chest of ___.",
     {"comparison": "___. CT chest of ___."}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"), [pytest.param(text, sections, id=name) for name, text, sections in CASES]
)
def test_a_report_has_the_expected_sections(text, expected):
    # A section of underscores alone, such as "COMPARISON:  ___", is empty.
    assert parse(text) == Report(**expected)


def test_there_are_many_forms_of_report():
    assert len(CASES) >= 60
    assert len({name for name, _, _ in CASES}) == len(CASES)


@given(st.text(max_size=400))
def test_any_text_is_parsed_and_nothing_is_invented(text):
    report = parse(text)
    for section in (*SECTIONS, "undivided"):
        words = getattr(report, section).split()
        assert all(word in text for word in words)


NAMES = st.sampled_from(
    ["FINDINGS", "IMPRESSION", "INDICATION", "COMPARISON", "EXAMINATION", "Findings", "FINDIGS"]
)
WORDS = st.sampled_from(["clear", "lungs", "edema", "tube", "___", "mild", "left"])
BODIES = st.lists(WORDS, min_size=1, max_size=8).map(lambda words: f"{' '.join(words)}.")


@given(st.lists(st.tuples(NAMES, BODIES), min_size=1, max_size=6))
def test_sections_in_any_order_are_complete(sections):
    own = {"FINDIGS": "findings", "EXAMINATION": None}
    expected: dict[str, list[str]] = {}
    for name, body in sections:
        kind = own.get(name, name.lower())
        if kind and body.strip("_. "):
            expected.setdefault(kind, []).append(body)
    if not {"findings", "impression"} & set(expected):
        expected = {k: v for k, v in expected.items() if k in {"indication", "comparison"}}
    text = "\n\n".join(f" {name}: {body}" for name, body in sections)
    report = parse(text)
    for section in SECTIONS:
        found = getattr(report, section)
        for body in expected.get(section, []):
            assert body in found
        assert bool(found) == (section in expected)


def test_a_long_report_of_capitals_takes_linear_time():
    """The search for headings must not be quadratic in the length of a line."""
    text = "FINDINGS: " + "LUNGS AND HEART " * 60_000
    assert parse(text).findings.startswith("LUNGS AND HEART")
