"""MIMIC-CXR-JPG in PhysioNet's layout, with the reports of MIMIC-CXR.

Source: Johnson et al., PhysioNet, credentialed access. Images are
``files/p10/p10000032/s50414267/<dicom_id>.jpg``; ``mimic-cxr-2.0.0-split.csv.gz``,
``-metadata.csv.gz`` and ``-chexpert.csv.gz`` describe them. The reports belong to another
PhysioNet project, MIMIC-CXR: ``mimic-cxr-reports.zip``, or unpacked
``files/p10/p10000032/s50414267.txt``. They are ASCII. A report that is not UTF-8 is read as
Latin-1, so that a stray byte damages one letter and not the report.

Every row of the selected split becomes a pair or an exclusion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustness._util.text import counted
from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset import _spec
from robustness.evalset._base import EvaluationSet, Exclusion, Pair, Remember, Report, forget
from robustness.evalset._files import FileDecoder, digests, inside
from robustness.evalset.mimic_cxr import _tables
from robustness.evalset.mimic_cxr._reports import (
    ARCHIVE,
    FILES,
    find_reports,
    folder_of,
    open_reports,
)
from robustness.evalset.mimic_cxr._sections import parse
from robustness.evalset.mimic_cxr._tables import SPLITS, Metadata, Row

KIND = "mimic_cxr"

VIEWS = {
    "frontal": ("PA", "AP"),
    "PA": ("PA",),
    "AP": ("AP",),
    "lateral": ("LATERAL", "LL"),
    "all": None,
}
"""The values of ``ViewPosition`` that each value of the option ``view`` selects."""

PREFERRED = ("PA", "AP", "LATERAL", "LL")
"""Preference of views if one image per study is selected, best first."""

OPTIONS = {
    "split": f"{', '.join(SPLITS)} or all",
    "view": ", ".join(VIEWS),
    "images": "one (per study) or all",
    "uncertain": "negative or positive",
    "missing": "error or exclude",
    "reports": "a folder or an archive, relative to DIR",
    "side": _spec.SIDE,
}

OTHER_VIEW = "view not selected"
NO_VIEW = "view not stated"
NO_REPORT = "no report of the study"
EMPTY_REPORT = "no findings and no impression"
NO_IMAGE = "image file missing"
OTHER_IMAGE = "another image of the study is selected"


@dataclass(frozen=True, slots=True)
class _Settings:
    """A validated specification."""

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
    """An image of a selected view."""

    row: Row
    metadata: Metadata
    file: Path


def check(rest: str) -> None:
    """Check that a specification is well formed and that the collection's tables exist.

    Raises:
        UsageError: An option is unknown or has an invalid value, or the folder, a table or the
            named reports are missing.
    """
    _settings(rest)


def load(rest: str, *, remember: Remember = forget) -> EvaluationSet:  # noqa: ARG001
    """Load the images of a split with their reports.

    Images are excluded, and counted by reason, in this order:

    1. images of another view, or without a stated view;
    2. images of a study without a report, or whose report has neither findings nor an
       impression;
    3. with ``missing=exclude``, images whose file is missing;
    4. with ``images=one``, all images of a study but the first by view (PA, AP, LATERAL, LL,
       others), then by date and time, then by ``dicom_id``.

    Args:
        rest: ``DIR`` and options, such as ``DIR,split=validate,view=PA``:

            - ``split``: ``test`` (default), ``validate``, ``train`` or ``all``.
            - ``view``: ``frontal`` (PA and AP, default), ``PA``, ``AP``, ``lateral`` (LATERAL
              and LL) or ``all``. Decubitus and axial projections are in ``all`` only.
            - ``images``: ``one`` per study (default) or ``all``.
            - ``uncertain``: CheXpert's -1.0 counts as ``negative`` (default) or ``positive``.
            - ``missing``: a missing image file is an ``error`` (default), or the image is
              excluded (``exclude``).
            - ``reports``: the folder or the archive of the reports.
            - ``side``: maximum length of the longer side in pixels, or ``native``.
        remember: Unused: nothing here is slow enough to cache.

    Returns:
        The set, ordered by patient and study. The labels of a pair are the columns of CheXpert's
        table with the value 1.0, including ``No Finding``; None if there is no table or the
        study has no row in it.

    Raises:
        UsageError: Same as :func:`check`.
        EvaluationSetError: A table, a report or an archive is damaged or contradicts another, or
            an image file is missing.
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
    candidates, excluded = _select_views(rows, metadata, settings)
    reports = _read_reports(settings.reports, candidates)
    candidates, without_report = _select_with_report(candidates, reports)
    candidates, without_file = _select_with_file(candidates, settings)
    excluded += without_report + without_file
    # Before the files are hashed, so that a file that changes afterwards is detected.
    decode = FileDecoder(
        {candidate.row.image: candidate.file for candidate in candidates}, settings.side
    )
    hashes = digests([candidate.file for candidate in candidates], settings.side)
    pairs = tuple(
        Pair(
            image_id=candidate.row.image,
            study_id=f"s{candidate.row.study}",
            patient_id=f"p{candidate.row.subject}",
            view=candidate.metadata.view,
            report=reports[candidate.row.study] or Report(),
            digest=digest,
            labels=labels.get(candidate.row.study),
        )
        for candidate, digest in zip(candidates, hashes, strict=True)
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
    label_table = _tables.find_table(root, "chexpert")
    if "uncertain" in options and label_table is None:
        raise UsageError(
            f"evaluation set {f'{KIND}:{rest}'!r}: option uncertain needs the labels, but there is"
            f" no mimic-cxr-2.0.0-chexpert.csv.gz in {root}; fetch it or omit the option"
        )
    return _Settings(
        root=root,
        split_table=_require_table(root, "split"),
        metadata_table=_require_table(root, "metadata"),
        label_table=label_table,
        reports=find_reports(root, options.get("reports")),
        split=split,
        views=VIEWS[view],
        one=images == "one",
        uncertain=uncertain == "positive",
        exclude_missing=missing == "exclude",
        side=side,
    )


def _require_table(root: Path, name: str) -> Path:
    path = _tables.find_table(root, name)
    if path is None:
        raise UsageError(
            f"evaluation set {f'{KIND}:{root}'!r}: no mimic-cxr-2.0.0-{name}.csv.gz in {root} (a"
            " newer version or the unpacked .csv is accepted); it is part of MIMIC-CXR-JPG"
        )
    return path


def _select_views(
    rows: Mapping[str, Row], metadata: Mapping[str, Metadata], settings: _Settings
) -> tuple[list[_Candidate], list[Exclusion]]:
    """Return the images of the selected views, sorted by preference within a study."""
    excluded: list[Exclusion] = []
    candidates: list[_Candidate] = []
    for row in rows.values():
        view = metadata[row.image].view
        if settings.views is None or view in settings.views:
            name = f"{folder_of(row.subject)}/s{row.study}/{row.image}.jpg"
            candidates.append(_Candidate(row, metadata[row.image], settings.root / FILES / name))
        else:
            excluded.append(Exclusion(row.image, OTHER_VIEW if view else NO_VIEW))
    return sorted(candidates, key=_sort_key), excluded


def _sort_key(candidate: _Candidate) -> tuple[str, str, int, tuple[float, float], str]:
    row, view = candidate.row, candidate.metadata.view
    preference = PREFERRED.index(view) if view in PREFERRED else len(PREFERRED)
    return row.subject, row.study, preference, candidate.metadata.taken, row.image


def _read_reports(path: Path, candidates: Sequence[_Candidate]) -> dict[str, Report | None]:
    """Return the report of each study, None if it has none."""
    subjects = {candidate.row.study: candidate.row.subject for candidate in candidates}
    reports: dict[str, Report | None] = {}
    with open_reports(path) as read:
        for study, subject in subjects.items():
            text = read(subject, study)
            reports[study] = None if text is None else parse(text)
    if subjects and not any(reports.values()):
        study, subject = next(iter(subjects.items()))
        raise EvaluationSetError(
            f"reports {path}: no report found for {counted(len(subjects), 'study')}, such as"
            f" {FILES}/{folder_of(subject)}/s{study}.txt; MIMIC-CXR-JPG does not include reports:"
            f" fetch {ARCHIVE} of MIMIC-CXR and put it next to the tables, or name it by reports="
        )
    return reports


def _select_with_report(
    candidates: Iterable[_Candidate], reports: Mapping[str, Report | None]
) -> tuple[list[_Candidate], list[Exclusion]]:
    selected: list[_Candidate] = []
    excluded: list[Exclusion] = []
    for candidate in candidates:
        report = reports[candidate.row.study]
        if report is None:
            excluded.append(Exclusion(candidate.row.image, NO_REPORT))
        elif not report.text(("findings", "impression")):
            excluded.append(Exclusion(candidate.row.image, EMPTY_REPORT))
        else:
            selected.append(candidate)
    return selected, excluded


def _select_with_file(
    candidates: Iterable[_Candidate], settings: _Settings
) -> tuple[list[_Candidate], list[Exclusion]]:
    """Return the images with a file, at most one per study if settings.one is set."""
    selected: list[_Candidate] = []
    excluded: list[Exclusion] = []
    selected_studies: set[str] = set()
    files = settings.root / FILES
    for candidate in candidates:
        row = candidate.row
        other = settings.one and row.study in selected_studies
        # The file of an image that is not selected matters only for the reason of exclusion.
        available = (other and not settings.exclude_missing) or inside(
            files, str(candidate.file.relative_to(files)), row.where
        ).is_file()
        if not available and settings.exclude_missing:
            excluded.append(Exclusion(row.image, NO_IMAGE))
        elif other:
            excluded.append(Exclusion(row.image, OTHER_IMAGE))
        elif available:
            selected.append(candidate)
            selected_studies.add(row.study)
        else:
            raise EvaluationSetError(
                f"{row.where}: image {candidate.file} does not exist; fetch it, or exclude missing"
                " images with missing=exclude"
            )
    return selected, excluded
