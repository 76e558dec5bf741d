"""The archives of the Indiana collection: what each holds, and how much at most."""

from __future__ import annotations

import re
from dataclasses import dataclass

from robustness.evalset.images.limits import MAX_BYTES

BASE = "https://openi.nlm.nih.gov/imgs/collections/"
"""Where the archives lie, unless a run is told otherwise."""

LICENCE = "CC BY-NC-ND 4.0; attribution: Kohli and Rosenman, Indiana University"


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive of the collection, a gzipped tar file.

    Attributes:
        name: Its file under the address.
        folder: The folder that its files make, by the name that ``open_i:DIR`` reads.
        pattern: What a member is called; its group ``file`` is the path below the folder.
        kind: What a file of it is, in the plural.
        file_bytes: Bytes a file may have.
        members: Members it may have, folders counted.
        unpacked_bytes: Bytes its members may have together.
        packed_bytes: Bytes it may have itself.
    """

    name: str
    folder: str
    pattern: re.Pattern[str]
    kind: str
    file_bytes: int
    members: int
    unpacked_bytes: int
    packed_bytes: int


REPORTS = Archive(
    name="NLMCXR_reports.tgz",
    folder="ecgen-radiology",
    pattern=re.compile(r"(?:NLMCXR_reports/)?ecgen-radiology/(?P<file>\d+\.xml)", re.ASCII),
    kind="reports",
    file_bytes=2**20,
    members=2**14,
    unpacked_bytes=2**28,
    packed_bytes=2**26,
)
"""3,955 reports, 1 MB."""

PNG = Archive(
    name="NLMCXR_png.tgz",
    folder="NLMCXR_png",
    pattern=re.compile(r"(?:NLMCXR_png/)?(?P<file>\w[\w.-]*\.png)", re.ASCII),
    kind="images",
    file_bytes=2**26,
    members=2**14,
    unpacked_bytes=2**33,
    packed_bytes=2**33,
)
"""7,470 images, 1.4 GB."""

DICOM = Archive(
    name="NLMCXR_dcm.tgz",
    folder="NLMCXR_dcm",
    pattern=re.compile(r"(?:NLMCXR_dcm/)?(?P<file>\d+/\w[\w.-]*\.dcm)", re.ASCII),
    kind="images",
    file_bytes=MAX_BYTES,
    members=2**15,
    unpacked_bytes=2**38,
    packed_bytes=2**38,
)
"""The same images, 80.7 GB, in a folder a study."""

IMAGES = {"png": PNG, "dcm": DICOM, "none": None}
"""What ``--images`` may say."""
