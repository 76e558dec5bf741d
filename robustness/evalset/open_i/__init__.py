"""The Indiana University chest X-ray collection (Open-i), in the layout of its archives.

Kohli and Rosenman, Indiana University, CC BY-NC-ND 4.0. Demner-Fushman et al., Preparing a
collection of radiology examinations for distribution and retrieval, JAMIA 2016.

**Layout.** ``open_i:DIR`` reads

- the reports ``<number>.xml``, one per study, in the first of ``DIR/ecgen-radiology``,
  ``DIR/NLMCXR_reports/ecgen-radiology`` and ``DIR`` that exists;
- the images in the first of ``DIR/images``, ``DIR/NLMCXR_png``, ``DIR/NLMCXR_dcm`` and ``DIR``
  that exists, directly or in numbered subfolders (as in the DICOM archive): ``<id>.png``,
  ``.jpg``, ``.jpeg`` or ``.dcm``; if an image has several files, the first in this order;
- ``DIR/indiana_projections.csv``, if it exists: columns ``uid,filename,projection``, such as
  ``1,1_IM-0001-4001.dcm.png,Frontal``.

**Options**, default first: ``view=frontal|lateral|all``; ``images=one|all``, with ``one`` the
most frontal image of a study (the least frontal for ``view=lateral``; on a tie the first in the
report); ``missing=error|exclude`` for an image without a file; ``side=``, the maximum length of
the longer side in pixels.

**Views.** Reports do not state the view, and about one in seven names a lateral image first. The
view comes from the projections table if it lists the image, else from a DICOM header that states
a lateral view, else from the image (:mod:`robustness.evalset._view`). The reason of an exclusion
names the source.

**Labels** are the headings of ``MeSH/major`` before the first ``/``, in lower case, including
``normal``. "Technical Quality of Image Unsatisfactory" is not a label: it describes the image,
not the patient, and occurs together with real findings in 80 of 86 studies. Labels are None
(unknown) if no other heading remains, or for "No Indexing".

The collection has no patient ids, so each study counts as one patient.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustness.errors import EvaluationSetError
from robustness.evalset import _spec
from robustness.evalset._base import EvaluationSet, Exclusion, Pair, Remember, forget
from robustness.evalset._files import FileDecoder, digests
from robustness.evalset.open_i._layout import ImageFiles, image_files, key, reports_folder
from robustness.evalset.open_i._report import Study, read_study
from robustness.evalset.open_i._views import View, read_table, views

NO_REPORT = "study whose report has neither findings nor an impression"
NO_IMAGE = "study without an image"
NO_VIEW = "study without a {view} view"
OF_NO_REPORT = "image of a study that is excluded for its report"
MISSING = "image named by a report, file missing"
UNNAMED = "image not named by any report"
OTHER_VIEW = "{view} view, {rule}"
NOT_SELECTED = "another image of the study is selected"

OPTIONS = {
    "view": "frontal, lateral or all",
    "images": "one or all",
    "missing": "error or exclude",
    "side": _spec.SIDE,
}


@dataclass(frozen=True, slots=True)
class _Settings:
    root: Path
    view: str
    one: bool
    exclude_missing: bool
    side: int | None


def check(rest: str) -> None:
    """Check that a specification is well formed and that its folder exists; read no file.

    Raises:
        UsageError: The folder is missing or has another layout, or an option is wrong.
    """
    reports_folder(_parse(rest).root)


def load(rest: str, *, remember: Remember = forget) -> EvaluationSet:
    """Load images with their reports; the module's docstring has the rules.

    Every study, every image named by a report and every image in the folder becomes a pair or an
    exclusion.

    Args:
        rest: ``DIR`` or ``DIR,view=all,images=all``.
        remember: Caches the views of images.

    Raises:
        UsageError: The folder is missing or has another layout, or an option is wrong.
        EvaluationSetError: A report or the projections table cannot be read, an image is
            missing or cannot be decoded, or a study or an image is a duplicate.
    """
    settings = _parse(rest)
    folder = reports_folder(settings.root)
    studies = [read_study(path) for path in sorted(folder.glob("*.xml"), key=_by_number)]
    _check_unique(studies)
    images = image_files(settings.root)
    files, excluded = _find_files(studies, images, exclude_missing=settings.exclude_missing)
    table = read_table(settings.root, [image for study in studies for image in study.images])
    view_of = views(
        {
            image: files[image]
            for s in studies
            if _has_report(s)
            for image in s.images
            if image in files
        },
        table,
        remember,
    )
    chosen_images: list[tuple[str, Study]] = []
    for study in studies:
        selected, other_views = _select_images(
            study, [i for i in study.images if i in files], view_of, settings
        )
        chosen_images += [(image, study) for image in selected]
        excluded += other_views
    # Before the files are hashed, so that a file that changes afterwards is detected.
    decode = FileDecoder({image: files[image] for image, _ in chosen_images}, settings.side)
    hashes = digests([files[image] for image, _ in chosen_images], settings.side)
    pairs = tuple(
        Pair(image, s.name, s.name, view_of[image].name, s.report, digest, s.labels)
        for (image, s), digest in zip(chosen_images, hashes, strict=True)
    )
    return EvaluationSet(f"open_i:{rest}", pairs, decode, tuple(excluded))


def _parse(rest: str) -> _Settings:
    place, options = _spec.split("open_i", rest, OPTIONS)
    return _Settings(
        root=_spec.folder("open_i", place, ()),
        view=_spec.choice("open_i", options, "view", ("frontal", "lateral", "all")),
        one=_spec.choice("open_i", options, "images", ("one", "all")) == "one",
        exclude_missing=_spec.choice("open_i", options, "missing", ("error", "exclude"))
        == "exclude",
        side=_spec.side("open_i", options),
    )


def _by_number(path: Path) -> tuple[int, str]:
    number = re.sub(r"\D", "", path.stem)
    return (int(number) if number else 0, path.name)


def _has_report(study: Study) -> bool:
    return bool(study.report.text(("findings", "impression")))


def _check_unique(studies: Sequence[Study]) -> None:
    """Raise an error if a study or an image is a duplicate."""
    first_report: dict[str, Path] = {}
    for study in studies:
        names = [f"study {study.name}", *(f"image {key(image)}" for image in study.images)]
        for name in names:
            if name in first_report:
                raise EvaluationSetError(
                    f"duplicate {name}, in report {first_report[name]} and in report {study.path};"
                    " remove one of them"
                )
            first_report[name] = study.path


def _find_files(
    studies: Sequence[Study], images: ImageFiles, *, exclude_missing: bool
) -> tuple[dict[str, Path], list[Exclusion]]:
    """Return the file of each image, and the exclusions for missing and unnamed images."""
    files: dict[str, Path] = {}
    missing: list[Exclusion] = []
    for study in studies:
        for image in study.images:
            path = images.find(image)
            if path is not None:
                files[image] = path
            elif exclude_missing:
                missing.append(Exclusion(image, MISSING))
            else:
                raise EvaluationSetError(
                    f"image {image} of report {study.path} is not in {images.folder} (as .png,"
                    " .jpg, .jpeg or .dcm); complete the folder, or exclude missing images with"
                    " the option missing=exclude"
                )
    named = {key(image) for image in files}
    unnamed = [Exclusion(p.name, UNNAMED) for k, p in images.paths.items() if k not in named]
    return files, missing + unnamed


def _select_images(
    study: Study, available: Sequence[str], view_of: Mapping[str, View], settings: _Settings
) -> tuple[list[str], list[Exclusion]]:
    """Return the selected images of a study, and the exclusions of the others or of the study."""
    if not _has_report(study):
        images = [Exclusion(image, OF_NO_REPORT) for image in available]
        return [], [Exclusion(study.name, NO_REPORT), *images]
    if not available:
        return [], [Exclusion(study.name, NO_IMAGE)]
    matching = [image for image in available if settings.view in {"all", view_of[image].name}]
    other_views = [
        Exclusion(image, OTHER_VIEW.format(view=view_of[image].name, rule=view_of[image].rule))
        for image in available
        if image not in matching
    ]
    if not matching:
        return [], [Exclusion(study.name, NO_VIEW.format(view=settings.view)), *other_views]
    if not settings.one:
        return matching, other_views
    sign = -1 if settings.view == "lateral" else 1
    best = max(matching, key=lambda image: sign * view_of[image].score)
    return [best], other_views + [Exclusion(i, NOT_SELECTED) for i in matching if i != best]
