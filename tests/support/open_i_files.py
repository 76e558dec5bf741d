"""Collections in the layout of the Indiana collection, and an independent reader of its sample."""

from __future__ import annotations

import html
import re

import numpy as np
from PIL import Image as PilImage

CLEAR = {"FINDINGS": "Clear."}

# --- the sample, by regular expressions ----------------------------------------------------


def read_texts(open_i):
    """Return the XML text of each study."""
    paths = (open_i / "ecgen-radiology").iterdir()
    texts = {f"CXR{path.stem}": path.read_text(encoding="utf-8") for path in paths}
    assert all(f'<uId id="{study}"/>' in text for study, text in texts.items())
    return texts


def images_named(text):
    return re.findall(r'<parentImage id="([^"]+)"', text)


def section_of(text, label):
    match = re.search(rf'<AbstractText Label="{label}">([^<]*)</AbstractText>', text)
    # The text may contain XML escapes: "Dr. XXXX&lt;XXXX&gt;technologist".
    return " ".join(html.unescape(match[1]).split()) if match else ""


_CACHE = {}


def remember(key, compute):
    """Cache what loading computes, for all tests of one process."""
    if repr(key) not in _CACHE:
        _CACHE[repr(key)] = compute()
    return _CACHE[repr(key)]


# --- synthetic collections ----------------------------------------------------------------------


def write_study(root, number, *, sections=CLEAR, images=(), extra="", folder="ecgen-radiology"):
    written = "".join(f'<AbstractText Label="{k}">{v}</AbstractText>' for k, v in sections.items())
    named = "".join(f'<parentImage id="{image}"/>' for image in images)
    (root / folder).mkdir(parents=True, exist_ok=True)
    path = root / folder / f"{number}.xml"
    path.write_text(f'<eCitation><uId id="CXR{number}"/>{written}{named}{extra}</eCitation>')
    return path


def write_image(root, name, pixels, folder="images"):
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    PilImage.fromarray(pixels).save(path)
    return path


def frontal_like(extra=0):
    row = np.full(64, 40, np.uint8)
    row[28:36] = 220
    row[:8] = row[-8:] = 150
    image = np.tile(row, (64, 1))
    image[:, : extra % 64] += 3
    return image


def lateral_like():
    return np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))


def write_dicom(path, pixels, **elements):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = "1.2.3"
    dataset.Modality = "CR"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def reasons(loaded):
    return {exclusion.item: exclusion.reason for exclusion in loaded.excluded}


def write_table(root, rows, header="uid,filename,projection"):
    path = root / "indiana_projections.csv"
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path
