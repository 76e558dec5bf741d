"""A MIMIC-CXR-JPG tree in PhysioNet's layout, of phantoms with reports in the collection's form.

The tables have the collection's names, columns and order of columns. Nothing here uses the code
that reads such a tree; the expected sections of each report are known before it is written.
"""

from __future__ import annotations

import csv
import gzip
import io
import random
import textwrap
import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

from PIL import Image as PilImage

from robustness.evalset import Report
from robustness.evalset.phantom import Study, finding_names

SPLIT = ("dicom_id", "study_id", "subject_id", "split")
METADATA = (
    "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition",
    "Rows", "Columns", "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning", "PatientOrientationCodeSequence_CodeMeaning",
)  # fmt: skip
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum",
    "Fracture", "Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion",
    "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
LABELS = ("subject_id", "study_id", *FINDINGS)

VIEWS = (
    ("PA", "LATERAL"), ("AP",), ("PA", "LL"), ("AP", "AP"), ("LATERAL", "PA", "PA"), ("AP",),
    ("",), ("LL",), ("", "AP"), ("AP", "PA"), ("AP LLD", "AP"), ("LL", "LATERAL"), ("SWIMMERS",),
)  # fmt: skip
"""The views of the images of a study."""

CODES = {"PA": "postero-anterior", "AP": "antero-posterior", "LATERAL": "lateral"}

RULE = " " + "_" * 78
FINAL = " " * 33 + "FINAL REPORT"


@dataclass(frozen=True)
class Tree:
    """A tree on disk, and its reports by subject and study, which are not on disk.

    Attributes:
        root: The collection's folder.
        texts: The text of each report; studies without one are missing.
        expected: The sections of each of these reports; empty if it has no reading.
    """

    root: Path
    texts: dict[tuple[str, str], str]
    expected: dict[tuple[str, str], Report]


def build(root: Path, *, studies: int = 220, drawn: int = 96, seed: int = 0) -> Tree:
    """Write the images and tables of a collection with one to four studies per patient.

    Args:
        root: The folder to create.
        studies: Number of studies; the first is PhysioNet's example of a path.
        drawn: Number of phantoms; further studies repeat them, cropped.
        seed: Seed of everything.
    """
    rng = random.Random(seed)  # noqa: S311 - nothing here is secret
    tables: dict[str, list[list[object]]] = {"split": [], "metadata": [], "chexpert": []}
    texts: dict[tuple[str, str], str] = {}
    expected: dict[tuple[str, str], Report] = {}
    phantoms = [Study(seed, index) for index in range(drawn)]
    images = [PilImage.fromarray(phantom.image()) for phantom in phantoms]
    subject, patients, left = "10000032", 0, 0
    for number, study in enumerate(["50414267", *_numbers(rng, studies - 1, 50_414_268)]):
        if not left:
            subject = subject if not number else str(rng.randrange(10_000_100, 20_000_000))
            patients, left = patients + 1, rng.choice((1, 1, 2, 4))
        left -= 1
        phantom = phantoms[number % drawn]
        text, report = _report(phantom.report(), number)
        if text is not None:
            texts[subject, study] = text
            expected[subject, study] = report
        if number % 41 != 40:  # the real table lacks some studies too
            present = {name.title() for name in finding_names(phantom.findings)}
            tables["chexpert"].append([subject, study, *_labels(present, rng)])
        split = ("test", "train", "validate", "test")[patients % 4]
        for place, view in enumerate(VIEWS[number % len(VIEWS)]):
            dicom = "-".join(f"{rng.randrange(16**8):08x}" for _ in range(5))
            picture = _picture(images[number % drawn], view, number // drawn, place)
            path = root / f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=95)
            tables["split"].append([dicom, study, subject, split])
            tables["metadata"].append(
                [dicom, subject, study, "CHEST (PA AND LAT)", view, picture.height, picture.width,
                 *_time(rng, number), "CHEST, PORTABLE (AP)", CODES.get(view, ""), "Erect"]
            )  # fmt: skip
    # The collection has a table of another labeller too; it must be ignored.
    tables["negbio"] = [[*row[:2], *[""] * len(FINDINGS)] for row in tables["chexpert"]]
    for name, rows in tables.items():
        rows.sort(key=lambda row: [str(value) for value in row])
        header = {"split": SPLIT, "metadata": METADATA}.get(name, LABELS)
        write(table(root, name), [header, *rows])
    return Tree(root, texts, expected)


def table(root: Path, name: str) -> Path:
    return root / f"mimic-cxr-2.0.0-{name}.csv.gz"


def write(path: Path, rows) -> None:
    """Write a table, compressed if its name ends in .gz."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def read(path: Path) -> list[list[str]]:
    """Return the rows of a table, including its header."""
    return list(csv.reader(gzip.decompress(path.read_bytes()).decode().splitlines()))


def name_of(subject: str, study: str) -> str:
    return f"files/p{subject[:2]}/p{subject}/s{study}.txt"


def put_reports(folder: Path, tree: Tree) -> None:
    """Write the reports as a tree of text files, as in MIMIC-CXR."""
    for (subject, study), text in tree.texts.items():
        path = folder / name_of(subject, study)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("ascii"))


def put_archive(path: Path, tree: Tree) -> None:
    """Write the reports as PhysioNet's archive, with entries of folders."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("files/", "")
        for (subject, study), text in tree.texts.items():
            archive.writestr(name_of(subject, study), text)


def _numbers(rng: random.Random, count: int, lowest: int) -> list[str]:
    return [str(lowest + value) for value in rng.sample(range(9_000_000), count)]


def _time(rng: random.Random, number: int) -> list[str]:
    """Return date and time as in the table: numbers without leading zeros."""
    if number % 19 == 18:
        return [f"2180{1 + number % 12:02d}{1 + number % 28:02d}", ""]
    clock = rng.choice((rng.uniform(0, 5959), rng.uniform(60_000, 95_959), rng.uniform(1e5, 2e5)))
    return [f"2180{1 + number % 12:02d}{1 + number % 28:02d}", repr(round(clock, 3))]


def _labels(present: set[str], rng: random.Random) -> list[str]:
    others = {name: rng.choices(("", "0.0", "-1.0"), (8, 1, 1))[0] for name in FINDINGS}
    others["No Finding"] = "" if present else "1.0"
    return ["1.0" if name in present else others[name] for name in FINDINGS]


def _picture(image: PilImage.Image, view: str, crop: int, place: int) -> PilImage.Image:
    """Return one image of a study; no two images of the tree are equal."""
    if view in {"LATERAL", "LL"}:
        image = image.transpose(PilImage.Transpose.ROTATE_90)
    return image.crop((crop, 2 * place, image.width, image.height))


def _report(report: Report, number: int) -> tuple[str | None, Report]:
    """Return a text in one of the collection's forms and its sections; None for no report."""
    if number % 23 == 22:
        return None, Report()
    if number % 29 == 28:
        expected = Report(indication="Evaluate for pneumonia.")
        return _paged(
            FINAL, _part("INDICATION", expected.indication), _part("COMPARISON", "___")
        ), expected
    compared = ("", "None.", "Chest radiograph of ___.", "___. CT of ___.")[number % 4]
    return FORMS[number % len(FORMS)](replace(report, comparison=compared))


def _part(heading: str, text: str) -> str:
    body = f"{heading}:  {text}" if heading else text
    return textwrap.fill(body, 79, initial_indent=" ", subsequent_indent=" ") if text else ""


def _paged(*parts: str) -> str:
    return "\n \n".join(part for part in parts if part) + "\n"


def _sections(report: Report, **names: str) -> list[str]:
    order = ("indication", "comparison", "findings", "impression")
    return [_part(names.get(name, name.upper()), getattr(report, name)) for name in order]


def _template(report: Report) -> tuple[str, Report]:
    examination = _part("EXAMINATION", "CHEST (PA AND LAT)")
    return _paged(FINAL, examination, *_sections(report)), report


def _odd_headings(report: Report) -> tuple[str, Report]:
    names = {"indication": "REASON FOR EXAM", "comparison": "COMPARISION", "findings": "FINDIGS"}
    return _paged(FINAL, *_sections(report, **names, impression="IMPRESSON")), report


def _projection(report: Report) -> tuple[str, Report]:
    return _paged(FINAL, *_sections(report, findings="CHEST, TWO VIEWS")), report


def _wet_read(report: Report) -> tuple[str, Report]:
    wet = " WET READ: ___ ___ ___ 9:04 PM\n  Perhaps pneumonia.\n" + RULE
    return _paged(wet, FINAL, *_sections(report), _part("NOTIFICATION", "Told.")), report


def _addendum(report: Report) -> tuple[str, Report]:
    head = " " * 33 + "FINAL ADDENDUM\n ADDENDUM  The other side was meant.\n" + RULE
    return _paged(head, FINAL, *_sections(report)), report


def _joined(report: Report) -> tuple[str, Report]:
    """Put findings and impression under one heading."""
    both = " ".join(part for part in (report.findings, report.impression) if part)
    expected = replace(report, findings="", impression=both)
    return _paged(FINAL, *_sections(expected, impression="FINDINGS AND IMPRESSION")), expected


def _one_line(report: Report) -> tuple[str, Report]:
    parts = [f"{f.name.upper()}: {getattr(report, f.name)}" for f in fields(Report)[:4]]
    return f" {' '.join(part for part in parts if not part.endswith(': '))}", report


def _undivided(report: Report) -> tuple[str, Report]:
    """Put the reading in paragraphs without a heading."""
    body = [part for part in (report.findings, report.impression) if part]
    expected = Report(indication=report.indication or "Cough.", undivided=" ".join(body))
    indication = _part("INDICATION", expected.indication)
    return _paged(FINAL, indication, *[_part("", part) for part in body]), expected


FORMS = (
    _template, _template, _odd_headings, _projection, _wet_read, _addendum, _joined, _one_line,
    _undivided,
)  # fmt: skip
