"""Where the collection's files lie, as its archives and its copies unpack."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from robustness.errors import EvaluationSetError, UsageError

REPORTS = ("ecgen-radiology", "NLMCXR_reports/ecgen-radiology")
IMAGES = ("images", "NLMCXR_png", "NLMCXR_dcm")
SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")

_NAME = re.compile(r"(?:CXR)?(?P<study>\d+)_(?:(?P=study)_)?(?P<image>IM-[\w-]+)")


def reports_folder(root: Path) -> Path:
    """The folder that holds the reports.

    Raises:
        UsageError: There is none.
    """
    folders = [root / name for name in REPORTS]
    for folder in folders:
        if folder.is_dir():
            return folder
    if root.is_dir() and any(root.glob("[0-9]*.xml")):
        return root
    raise UsageError(
        f"evaluation set {f'open_i:{root}'!r}: no folder {folders[0]}; name the folder that holds"
        f" {REPORTS[0]}/ and {IMAGES[0]}/, or fill it: python -m robustness fetch open_i {root}"
    )


def key(name: str) -> str:
    """What the names of one image have in common.

    A report calls an image ``CXR207_IM-0703-1001``, two of the 7,470 ``CXR1_1_IM-0001-3001``.
    The PNG archive names its files so; the DICOM archive leaves ``CXR`` and the doubled
    number out (``207/207_IM-0703-1001.dcm``), and the copy on Kaggle adds ``.dcm.png`` to
    that. All of them become ``207_IM-0703-1001``; any other name stays as it is.

    Args:
        name: A name of an image, without the suffix of its file.
    """
    found = _NAME.fullmatch(name.removesuffix(".dcm"))
    return f"{found['study']}_{found['image']}" if found else name


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """The image files there are.

    Attributes:
        folder: The folder they lie in, or in its numbered subfolders.
        paths: Each image's file, by key.
    """

    folder: Path
    paths: Mapping[str, Path] = field(repr=False)

    def find(self, image: str) -> Path | None:
        """The file of an image that a report names; None where it is missing."""
        return self.paths.get(key(image))


def image_files(root: Path) -> ImageFiles:
    """Lists the image files of a collection.

    Raises:
        EvaluationSetError: The folder cannot be listed, or two files are one image.
    """
    folder = next((root / name for name in IMAGES if (root / name).is_dir()), root)
    paths: dict[str, Path] = {}
    try:
        entries = sorted(folder.iterdir())
        # DICOM files lie in one folder a study: 207/207_IM-0703-1001.dcm.
        numbered = [path for path in entries if path.name.isdigit() and path.is_dir()]
        entries += [path for inner in numbered for path in sorted(inner.iterdir())]
    except OSError as error:
        raise EvaluationSetError(f"folder {folder} cannot be listed: {error.strerror}") from error
    for path in entries:
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            continue
        known = paths.setdefault(key(path.stem), path)
        if known is path:
            continue
        if known.suffix.lower() == suffix:
            raise EvaluationSetError(
                f"{known} and {path} are files of one image; only one of them may be there"
            )
        if SUFFIXES.index(suffix) < SUFFIXES.index(known.suffix.lower()):
            paths[key(path.stem)] = path
    return ImageFiles(folder, paths)
