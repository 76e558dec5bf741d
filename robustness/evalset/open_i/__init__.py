"""The Indiana University chest X-ray collection (Open-i), as it unpacks.

Kohli and Rosenman, Indiana University, CC BY-NC-ND 4.0. Demner-Fushman et al., Preparing a
collection of radiology examinations for distribution and retrieval, JAMIA 2016.

**Layout.** ``open_i:DIR`` reads

- the reports ``<number>.xml``, one a study, in the first of ``DIR/ecgen-radiology``,
  ``DIR/NLMCXR_reports/ecgen-radiology`` and ``DIR`` itself;
- the images in the first of ``DIR/images``, ``DIR/NLMCXR_png``, ``DIR/NLMCXR_dcm`` and ``DIR``
  itself, there or in numbered subfolders (so the DICOM archive unpacks): ``<id>.png``,
  ``.jpg``, ``.jpeg`` or ``.dcm``, in this order where an image has several;
- ``DIR/indiana_projections.csv``, where it is there: columns ``uid,filename,projection``,
  such as ``1,1_IM-0001-4001.dcm.png,Frontal``.

**Options**, the first value being the default: ``view=frontal|lateral|all``;
``images=one|all``, one a study being the most frontal (of laterals the least), the first
named where it is a tie; ``missing=error|exclude`` for an image that is named and not there;
``side=``, the longest side in pixels.

**Views.** Reports do not say which image is frontal, and about one in seven names a lateral
one first. The projections table decides where it names an image; else a DICOM header that
says lateral; else the image (:mod:`robustness.evalset._view`). A reason for an exclusion
says which of them it was.

**Labels** are the headings of ``MeSH/major`` before the first ``/``, in lower case, ``normal``
being one. "Technical Quality of Image Unsatisfactory" is none: it speaks of the image, not
of the patient, and stands beside real findings 80 times of 86. Where nothing else is left,
where a study says "No Indexing" or has no heading, the labels are None: nothing is said.

The collection names no patients, so a study stands for its patient.
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
OF_NO_REPORT = "image of a study that is left out for its report"
MISSING = "image that a report names and that is not there"
UNNAMED = "image that no report names"
OTHER_VIEW = "{view} view, {rule}"
NOT_CHOSEN = "not the one image of its study"

OPTIONS = {
    "view": "frontal, lateral or all",
    "images": "one or all",
    "missing": "error or exclude",
    "side": _spec.SIDE,
}


@dataclass(frozen=True, slots=True)
class _Wanted:
    root: Path
    view: str
    one: bool
    exclude_missing: bool
    side: int | None


def check(rest: str) -> None:
    """Sees that a specification is well formed and its folder there; reads nothing in it.

    Raises:
        UsageError: The folder is missing or has another layout, or an option is wrong.
    """
    reports_folder(_parse(rest).root)


def load(rest: str, *, remember: Remember = forget) -> EvaluationSet:
    """Reads images with their reports; see the module's text for what, and what is left out.

    Every image that a report names or that lies in the folder is a pair or is excluded by
    name, and so is every study.

    Args:
        rest: ``DIR`` or ``DIR,view=all,images=all``.
        remember: Keeps the views that images were asked for.

    Raises:
        UsageError: The folder is missing or has another layout, or an option is wrong.
        EvaluationSetError: A report or the projections table cannot be read, an image is
            missing or cannot be decoded, or a study or an image is named twice.
    """
    wanted = _parse(rest)
    folder = reports_folder(wanted.root)
    studies = [read_study(path) for path in sorted(folder.glob("*.xml"), key=_by_number)]
    _check_names(studies)
    images = image_files(wanted.root)
    files, excluded = _find(studies, images, exclude_missing=wanted.exclude_missing)
    table = read_table(wanted.root, [image for study in studies for image in study.images])
    told = views(
        {
            image: files[image]
            for s in studies
            if _readable(s)
            for image in s.images
            if image in files
        },
        table,
        remember,
    )
    chosen: list[tuple[str, Study]] = []
    for study in studies:
        kept, left = _choose(study, [i for i in study.images if i in files], told, wanted)
        chosen += [(image, study) for image in kept]
        excluded += left
    # Before the files are hashed: one that changes right after is none of these.
    decode = FileDecoder({image: files[image] for image, _ in chosen}, wanted.side)
    hashes = digests([files[image] for image, _ in chosen], wanted.side)
    pairs = tuple(
        Pair(image, s.name, s.name, told[image].name, s.report, digest, s.labels)
        for (image, s), digest in zip(chosen, hashes, strict=True)
    )
    return EvaluationSet(f"open_i:{rest}", pairs, decode, tuple(excluded))


def _parse(rest: str) -> _Wanted:
    place, options = _spec.split("open_i", rest, OPTIONS)
    return _Wanted(
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


def _readable(study: Study) -> bool:
    return bool(study.report.text(("findings", "impression")))


def _check_names(studies: Sequence[Study]) -> None:
    """Sees that no study and no image is named twice."""
    seen: dict[str, Path] = {}
    for study in studies:
        names = [f"study {study.name}", *(f"image {key(image)}" for image in study.images)]
        for name in names:
            if name in seen:
                raise EvaluationSetError(
                    f"{name} is named twice, by report {seen[name]} and by report {study.path};"
                    " one of the two does not belong there"
                )
            seen[name] = study.path


def _find(
    studies: Sequence[Study], images: ImageFiles, *, exclude_missing: bool
) -> tuple[dict[str, Path], list[Exclusion]]:
    """The file of each image that is there, and what does not match."""
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
                    f"image {image} is not in {images.folder} (as .png, .jpg, .jpeg or .dcm), and"
                    f" report {study.path} names it; complete the folder, or leave such images"
                    " out with the option missing=exclude"
                )
    named = {key(image) for image in files}
    unnamed = [Exclusion(p.name, UNNAMED) for k, p in images.paths.items() if k not in named]
    return files, missing + unnamed


def _choose(
    study: Study, there: Sequence[str], told: Mapping[str, View], wanted: _Wanted
) -> tuple[list[str], list[Exclusion]]:
    """The images of a study that become pairs, and why the others, or the study, do not."""
    if not _readable(study):
        images = [Exclusion(image, OF_NO_REPORT) for image in there]
        return [], [Exclusion(study.name, NO_REPORT), *images]
    if not there:
        return [], [Exclusion(study.name, NO_IMAGE)]
    fitting = [image for image in there if wanted.view in {"all", told[image].name}]
    left = [
        Exclusion(image, OTHER_VIEW.format(view=told[image].name, rule=told[image].rule))
        for image in there
        if image not in fitting
    ]
    if not fitting:
        return [], [Exclusion(study.name, NO_VIEW.format(view=wanted.view)), *left]
    if not wanted.one:
        return fitting, left
    sign = -1 if wanted.view == "lateral" else 1
    best = max(fitting, key=lambda image: sign * told[image].score)
    return [best], left + [Exclusion(i, NOT_CHOSEN) for i in fitting if i != best]
