"""File layouts of the collection: its archives and public copies."""

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
    """Return the folder that contains the reports.

    Raises:
        UsageError: There is no such folder.
    """
    folders = [root / name for name in REPORTS]
    for folder in folders:
        if folder.is_dir():
            return folder
    if root.is_dir() and any(root.glob("[0-9]*.xml")):
        return root
    raise UsageError(
        f"evaluation set {f'open_i:{root}'!r}: no folder {folders[0]}; name the folder that"
        f" contains {REPORTS[0]}/ and {IMAGES[0]}/; docs/evaluation-sets.md has the commands that"
        " download the collection"
    )


def key(name: str) -> str:
    """Return the key of an image, which is the same for all spellings of its name without suffix.

    A report names an image ``CXR207_IM-0703-1001`` (two of the 7,470 ``CXR1_1_IM-0001-3001``), and
    the PNG archive uses these names. The DICOM archive omits ``CXR`` and the repeated number
    (``207/207_IM-0703-1001.dcm``), and the copy on Kaggle appends ``.dcm.png`` to that. All of
    them have the key ``207_IM-0703-1001``. Other names are returned unchanged.
    """
    match = _NAME.fullmatch(name.removesuffix(".dcm"))
    return f"{match['study']}_{match['image']}" if match else name


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """The image files of a collection.

    Attributes:
        folder: The folder that contains them, directly or in numbered subfolders.
        paths: The file of each image, by key.
    """

    folder: Path
    paths: Mapping[str, Path] = field(repr=False)

    def find(self, image: str) -> Path | None:
        """Return the file of an image named by a report; None if it is missing."""
        return self.paths.get(key(image))


def image_files(root: Path) -> ImageFiles:
    """List the image files of a collection.

    Raises:
        EvaluationSetError: The folder cannot be listed, or an image has two files of one type.
    """
    folder = next((root / name for name in IMAGES if (root / name).is_dir()), root)
    paths: dict[str, Path] = {}
    try:
        entries = sorted(folder.iterdir())
        # The DICOM archive has one folder per study: 207/207_IM-0703-1001.dcm.
        numbered = [path for path in entries if path.name.isdigit() and path.is_dir()]
        entries += [
            path for folder_of_study in numbered for path in sorted(folder_of_study.iterdir())
        ]
    except OSError as error:
        raise EvaluationSetError(f"folder {folder} cannot be listed: {error.strerror}") from error
    for path in entries:
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            continue
        other = paths.setdefault(key(path.stem), path)
        if other is path:
            continue
        if other.suffix.lower() == suffix:
            raise EvaluationSetError(
                f"{other} and {path} are files of the same image; remove one of them"
            )
        if SUFFIXES.index(suffix) < SUFFIXES.index(other.suffix.lower()):
            paths[key(path.stem)] = path
    return ImageFiles(folder, paths)
