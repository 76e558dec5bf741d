"""MIMIC-CXR-JPG, as PhysioNet lays it out, with the reports of MIMIC-CXR.

Johnson et al., PhysioNet, credentialed access. ``files/p10/p10000032/s50414267/<dicom_id>.jpg``
holds an image, ``mimic-cxr-2.0.0-split.csv.gz``, ``-metadata.csv.gz`` and ``-chexpert.csv.gz``
say what it is. The reports come with another PhysioNet project, MIMIC-CXR: as
``mimic-cxr-reports.zip``, or unpacked as ``files/p10/p10000032/s50414267.txt``. They are
ASCII; what is no UTF-8 is read as Latin-1, so that a stray byte spoils a letter and no report.

Every row of the split that is asked for becomes a pair or an exclusion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset import _spec
from robustness.evalset._base import EvaluationSet, Exclusion, Pair, Remember, Report, forget
from robustness.evalset._files import FileDecoder, digests, inside
from robustness.evalset.mimic_cxr import _tables
from robustness.evalset.mimic_cxr._reports import (
    ARCHIVE,
    FILES,
    Reports,
    folder_of,
    locate,
    opened,
)
from robustness.evalset.mimic_cxr._sections import parse
from robustness.evalset.mimic_cxr._tables import SPLITS, Metadata, Row
from robustness.wording import counted

KIND = "mimic_cxr"

VIEWS = {
    "frontal": ("PA", "AP"),
    "PA": ("PA",),
    "AP": ("AP",),
    "lateral": ("LATERAL", "LL"),
    "all": None,
}
"""The values of ``ViewPosition`` that each value of the option ``view`` stands for."""

PREFERRED = ("PA", "AP", "LATERAL", "LL")
"""Which view stands for a study that has several, first choice first."""

OPTIONS = {
    "split": f"{', '.join(SPLITS)} or all",
    "view": ", ".join(VIEWS),
    "images": "one (a study) or all",
    "uncertain": "negative or positive",
    "missing": "error or exclude",
    "reports": "a folder or an archive, from DIR",
    "side": _spec.SIDE,
}

OTHER_VIEW = "view not asked for"
NO_VIEW = "view not stated"
NO_REPORT = "no report of the study"
EMPTY_REPORT = "no findings and no impression"
NO_IMAGE = "image file missing"
OTHER_IMAGE = "another image of the same study is taken"


@dataclass(frozen=True, slots=True)
class _Settings:
    """A specification, checked."""

    root: Path
    split_table: Path
    metadata_table: Path
    label_table: Path | None
    reports: Path
    split: str
    views: tuple[str, ...] | None
    one: bool
    uncertain: bool
    exclude_missing: bool
    side: int | None


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An image of a view that is asked for."""

    row: Row
    metadata: Metadata
    file: Path


def check(rest: str) -> None:
    """Sees that a specification is well formed and the collection's tables are there.

    Raises:
        UsageError: An option is unknown or has no such value, or the folder, a table or the
            reports that are named are missing.
    """
    _settings(rest)


def load(rest: str, *, remember: Remember = forget) -> EvaluationSet:  # noqa: ARG001
    """Reads the images of a split with their reports.

    Left out, and counted by reason, in this order: images of a view that is not asked for, or
    of no stated view; images of studies without a report, or whose report has neither findings
    nor an impression; with ``missing=exclude`` images whose file is missing; with
    ``images=one`` every image of a study but one. That one is the first by view (PA, AP,
    LATERAL, LL, others), then by date and time, then by ``dicom_id``.

    Args:
        rest: ``DIR`` and options, such as ``DIR,split=validate,view=PA``:

            - ``split``: ``test`` (default), ``validate``, ``train`` or ``all``.
            - ``view``: ``frontal`` (PA and AP, default), ``PA``, ``AP``, ``lateral`` (LATERAL
              and LL) or ``all``. Decubitus and axial projections are in ``all`` only.
            - ``images``: ``one`` a study (default) or ``all``.
            - ``uncertain``: whether CheXpert's -1.0 is ``negative`` (default) or ``positive``.
            - ``missing``: an image file that is missing is an ``error`` (default), or the image
              is left out (``exclude``).
            - ``reports``: where the reports lie, a folder or an archive.
            - ``side``: pixels of the longer side at most, or ``native``.
        remember: Keeps what is slow to find out; nothing is, here.

    Returns:
        The set, ordered by patient and study. A pair's labels are what CheXpert's table has as
        1.0, ``No Finding`` included; None where there is no table or no row of the study.

    Raises:
        UsageError: As of :func:`check`.
        EvaluationSetError: A table, a report or an archive is damaged, they contradict each
            other, or an image file is missing.
    """
    settings = _settings(rest)
    rows = _tables.read_split(settings.split_table, settings.split)
    metadata = _tables.read_metadata(settings.metadata_table, rows)
    subjects = {row.study: row.subject for row in rows.values()}
    labels = (
        _tables.read_labels(settings.label_table, subjects, uncertain=settings.uncertain)
        if settings.label_table
        else {}
    )
    candidates, excluded = _of_views(rows, metadata, settings)
    reports = _read_reports(settings.reports, candidates)
    candidates, unread = _with_report(candidates, reports)
    candidates, left = _with_file(candidates, settings)
    excluded += unread + left
    # Before the files are hashed: one that changes right after is none of these.
    decode = FileDecoder({each.row.image: each.file for each in candidates}, settings.side)
    hashes = digests([each.file for each in candidates], settings.side)
    pairs = tuple(
        Pair(
            image_id=each.row.image,
            study_id=f"s{each.row.study}",
            patient_id=f"p{each.row.subject}",
            view=each.metadata.view,
            report=reports[each.row.study] or Report(),
            digest=digest,
            labels=labels.get(each.row.study),
        )
        for each, digest in zip(candidates, hashes, strict=True)
    )
    return EvaluationSet(f"{KIND}:{rest}", pairs, decode, tuple(excluded))


def _settings(rest: str) -> _Settings:
    place, options = _spec.split(KIND, rest, OPTIONS)
    split = _spec.choice(KIND, options, "split", (*SPLITS, "all"))
    view = _spec.choice(KIND, options, "view", tuple(VIEWS))
    images = _spec.choice(KIND, options, "images", ("one", "all"))
    uncertain = _spec.choice(KIND, options, "uncertain", ("negative", "positive"))
    missing = _spec.choice(KIND, options, "missing", ("error", "exclude"))
    side = _spec.side(KIND, options)
    root = _spec.folder(KIND, place, (FILES,))
    label_table = _tables.find(root, "chexpert")
    if "uncertain" in options and label_table is None:
        raise UsageError(
            f"evaluation set {f'{KIND}:{rest}'!r}: option uncertain needs the labels, and there is"
            f" no mimic-cxr-2.0.0-chexpert.csv.gz in {root}; fetch it or leave the option out"
        )
    return _Settings(
        root=root,
        split_table=_needed(root, "split"),
        metadata_table=_needed(root, "metadata"),
        label_table=label_table,
        reports=locate(root, options.get("reports")),
        split=split,
        views=VIEWS[view],
        one=images == "one",
        uncertain=uncertain == "positive",
        exclude_missing=missing == "exclude",
        side=side,
    )


def _needed(root: Path, name: str) -> Path:
    path = _tables.find(root, name)
    if path is None:
        raise UsageError(
            f"evaluation set {f'{KIND}:{root}'!r}: no mimic-cxr-2.0.0-{name}.csv.gz in {root} (a"
            " newer version or the unpacked .csv will do); it comes with MIMIC-CXR-JPG"
        )
    return path


def _of_views(
    rows: Mapping[str, Row], metadata: Mapping[str, Metadata], settings: _Settings
) -> tuple[list[_Candidate], list[Exclusion]]:
    """The images of the views asked for, the one that stands for its study first."""
    excluded: list[Exclusion] = []
    candidates: list[_Candidate] = []
    for row in rows.values():
        known = metadata[row.image]
        if settings.views is None or known.view in settings.views:
            name = f"{folder_of(row.subject)}/s{row.study}/{row.image}.jpg"
            candidates.append(_Candidate(row, known, settings.root / FILES / name))
        else:
            excluded.append(Exclusion(row.image, OTHER_VIEW if known.view else NO_VIEW))
    return sorted(candidates, key=_order), excluded


def _order(each: _Candidate) -> tuple[str, str, int, tuple[float, float], str]:
    view = each.metadata.view
    preference = PREFERRED.index(view) if view in PREFERRED else len(PREFERRED)
    return each.row.subject, each.row.study, preference, each.metadata.taken, each.row.image


def _read_reports(path: Path, candidates: Sequence[_Candidate]) -> dict[str, Report | None]:
    """The report of each study, None where it has none."""
    subjects = {each.row.study: each.row.subject for each in candidates}
    with opened(path) as read:
        reports = {study: _read(read, subject, study) for study, subject in subjects.items()}
    if subjects and not any(reports.values()):
        study, subject = next(iter(subjects.items()))
        raise EvaluationSetError(
            f"reports {path}: none of {counted(len(subjects), 'study')} has a report there, such as"
            f" {FILES}/{folder_of(subject)}/s{study}.txt; MIMIC-CXR-JPG comes without reports:"
            f" fetch {ARCHIVE} of MIMIC-CXR and put it beside the tables, or name it by reports="
        )
    return reports


def _read(read: Reports, subject: str, study: str) -> Report | None:
    text = read(subject, study)
    return None if text is None else parse(text)


def _with_report(
    candidates: Iterable[_Candidate], reports: Mapping[str, Report | None]
) -> tuple[list[_Candidate], list[Exclusion]]:
    kept: list[_Candidate] = []
    excluded: list[Exclusion] = []
    for each in candidates:
        report = reports[each.row.study]
        if report is None:
            excluded.append(Exclusion(each.row.image, NO_REPORT))
        elif not report.text(("findings", "impression")):
            excluded.append(Exclusion(each.row.image, EMPTY_REPORT))
        else:
            kept.append(each)
    return kept, excluded


def _with_file(
    candidates: Iterable[_Candidate], settings: _Settings
) -> tuple[list[_Candidate], list[Exclusion]]:
    """The images that are taken: their files are there, and they are one a study if asked."""
    kept: list[_Candidate] = []
    excluded: list[Exclusion] = []
    taken: set[str] = set()
    files = settings.root / FILES
    for each in candidates:
        row = each.row
        other = settings.one and row.study in taken
        # Of the images that are not taken, only an exclusion by reason needs the files.
        there = (other and not settings.exclude_missing) or inside(
            files, str(each.file.relative_to(files)), row.where
        ).is_file()
        if not there and settings.exclude_missing:
            excluded.append(Exclusion(row.image, NO_IMAGE))
        elif other:
            excluded.append(Exclusion(row.image, OTHER_IMAGE))
        elif there:
            kept.append(each)
            taken.add(row.study)
        else:
            raise EvaluationSetError(
                f"{row.where}: image {each.file} does not exist; fetch it, or leave out what is"
                " missing by missing=exclude"
            )
    return kept, excluded
