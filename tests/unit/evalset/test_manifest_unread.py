"""Columns of a table that are not read: each is named, with what it seems to be meant for."""

from __future__ import annotations

import pytest
from support.table_files import (
    FIELDS,
    FORMATS,
    ROWS,
    full,
    load,
    write_images,
    write_rows,
    write_table,
)

from robustness.errors import EvaluationSetError


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path)
    return tmp_path


def named(table, *options):
    return [(each.column, each.meant) for each in load(table, *options).unread]


@pytest.mark.parametrize("suffix", FORMATS)
def test_columns_that_are_not_read_are_named(folder, suffix):
    names = {"patient": "patient_id", "impression": "Impresion", "view": "Age"}
    rows = [{names.get(k, k): v for k, v in row.items()} for row in full(ROWS)]
    fields = tuple(names.get(field, field) for field in FIELDS)
    table = write_table(folder / f"set{suffix}", rows, fields)
    expected = [("Impresion", "impression"), ("patient_id", "patient"), ("Age", "")]
    assert named(table) == expected
    assert named(table, "patient=patient_id") == [expected[0], expected[2]]
    loaded = load(table)
    assert loaded.misnamed == {"Impresion": "impression", "patient_id": "patient"}
    assert loaded.subset([0]).unread == loaded.unread
    assert load(write_table(folder / f"whole{suffix}", ROWS)).unread == ()


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        # misspelt, plural or singular, other punctuation
        ("Impresion", "impression"), ("impressions", "impression"), ("finding", "findings"),
        ("Fíndings", "findings"), ("lables", "labels"), ("Label", "labels"), ("reprot", "report"),
        ("pateint", "patient"), ("Patients", "patient"), ("_study_", "study"), ("stduy", "study"),
        ("comparision", "comparison"), ("vew", "view"),
        # common names of other data sets
        ("patient_id", "patient"), ("PatientID", "patient"), ("Patient ID", "patient"),
        ("subject_id", "patient"), ("subject", "patient"), ("MRN", "patient"),
        ("study_id", "study"), ("StudyInstanceUID", "study"), ("accession", "study"),
        ("Accession Number", "study"), ("exam_id", "study"), ("studies", "study"),
        ("Finding Labels", "labels"), ("ViewPosition", "view"), ("conclusion", "impression"),
        # unrelated
        ("patient_age", ""), ("Patient Gender", ""), ("StudyDate", ""), ("study description", ""),
        ("review", ""), ("medication", ""), ("export", ""), ("age", ""), ("sex", ""), ("split", ""),
        ("path", ""), ("dicom_id", ""), ("series", ""), ("institution", ""), ("state", ""),
        ("status", ""), ("parent", ""), ("#", ""), ("年齢", ""), ("report_id", ""),
        ("image_id", ""),
    ],
)  # fmt: skip
def test_suggestions_for_columns(folder, column, meant):
    table = write_rows(folder / "a.csv", ["image", "indication", column], ["a.png", "Clear.", "1"])
    options = ["findings=indication"] if meant != "findings" else ["impression=indication"]
    assert named(table, *options) == [(column, meant)]


def test_no_suggestion_for_a_column_that_the_table_has(folder):
    header = ["image", "report", "patient", "patient_id", "subject_id", "study", "reports", "label"]
    table = write_rows(folder / "a.csv", header, ["a.png", "Clear.", *"123456"])
    assert named(table) == [
        ("patient_id", ""), ("subject_id", ""), ("reports", ""), ("label", "labels"),
    ]  # fmt: skip


def test_an_empty_set_lists_the_misspelt_columns(folder):
    table = write_rows(folder / "a.csv", ["image", "findings", "Impresion"], ["a.png", "", "Mass."])
    with pytest.raises(EvaluationSetError) as caught:
        load(table)
    assert str(caught.value).endswith(
        "; columns not read: 'Impresion' (did you mean 'impression'?); rename them or set an"
        " option, such as impression=Impresion"
    )
    assert load(table, "impression=Impresion").pairs[0].report.impression == "Mass."
