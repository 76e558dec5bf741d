"""Write DICOM files for tests with pydicom and the encoders of imagecodecs."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import UID

JPEG = "1.2.840.10008.1.2.4."
SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big endian": "1.2.840.10008.1.2.2",
    "rle": "1.2.840.10008.1.2.5",
    "jpeg baseline": JPEG + "50",
    "jpeg extended": JPEG + "51",
    "jpeg lossless": JPEG + "57",
    "jpeg lossless 1": JPEG + "70",
    "jpeg-ls": JPEG + "80",
    "jpeg-ls near": JPEG + "81",
    "jpeg 2000 lossless": JPEG + "90",
    "jpeg 2000": JPEG + "91",
    "htj2k lossless": JPEG + "201",
}
NATIVE = ("implicit", "explicit", "deflated", "big endian")
LOSSLESS = ("rle", "jpeg lossless", "jpeg lossless 1", "jpeg-ls", "jpeg 2000 lossless")


def encoded(name, words, bits):
    """Encode one frame; ``bits`` is the precision of the codestream."""
    if name == "rle":
        rows, columns, *samples = words.shape
        return RLELosslessEncoder.encode(
            np.ascontiguousarray(words),
            rows=rows,
            columns=columns,
            samples_per_pixel=samples[0] if samples else 1,
            bits_allocated=8 * words.dtype.itemsize,
            bits_stored=8 * words.dtype.itemsize,
            pixel_representation=0,
            photometric_interpretation="RGB" if samples else "MONOCHROME2",
            planar_configuration=0,
            number_of_frames=1,
        )
    if name.startswith("jpeg lossless"):
        predictor = 1 if name == "jpeg lossless 1" else 4
        return imagecodecs.jpeg8_encode(
            words, lossless=True, predictor=predictor, bitspersample=bits
        )
    if name.startswith("jpeg-ls"):
        return imagecodecs.jpegls_encode(words, level=2 if name == "jpeg-ls near" else 0)
    if name == "jpeg 2000 lossless":
        return imagecodecs.jpeg2k_encode(
            words, level=0, reversible=True, codecformat="J2K", bitspersample=bits
        )
    if name == "jpeg 2000":
        return imagecodecs.jpeg2k_encode(words, level=60, codecformat="J2K", bitspersample=bits)
    return imagecodecs.jpeg8_encode(words, level=97, bitspersample=bits)


def item(**attributes):
    """Return a sequence item."""
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def lut(entries, first, bits):
    """Return an item of a modality or VOI LUT sequence."""
    made = Dataset()
    signed = first < 0
    made.add_new("LUTDescriptor", "SS" if signed else "US", [len(entries) % 65536, first, bits])
    made.LUTData = np.asarray(entries, "<u2").tobytes()
    made["LUTData"].VR = "OW"
    return made


def words_of(values, allocated, stored, high, junk):
    """Return the stored words of pixel values; ``junk`` fills the unused bits."""
    dtype = np.uint8 if allocated == 8 else np.uint16
    mask = ((1 << stored) - 1) << (high + 1 - stored)
    words = (values.astype(np.int64) << (high + 1 - stored)) & mask
    return (words | (junk & ~mask & (1 << allocated) - 1)).astype(dtype)


def dicom(
    values,
    syntax="explicit",
    *,
    stored=12,
    allocated=None,
    high=None,
    signed=False,
    junk=0,
    photometric="MONOCHROME2",
    frame=None,
    meta=True,
    **attributes,
):
    """Return the bytes of a DICOM file.

    Args:
        values: Pixel values, integers ``[height, width]`` or ``[height, width, 3]``.
        syntax: A name of SYNTAXES, or a UID.
        stored: Bits stored; determines the defaults of ``allocated`` and ``high``.
        signed: True for signed values.
        junk: The content of the unused bits.
        photometric: The photometric interpretation.
        frame: A compressed frame to use instead of encoding the values.
        meta: True for a preamble and file meta information.
        attributes: More attributes; None removes one.
    """
    allocated = allocated or (8 if stored <= 8 else 16)
    high = stored - 1 if high is None else high
    uid = SYNTAXES.get(syntax, syntax)
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    made.Rows, made.Columns = values.shape[:2]
    made.SamplesPerPixel = 1 if values.ndim == 2 else values.shape[2]
    made.PhotometricInterpretation = photometric
    made.BitsAllocated, made.BitsStored, made.HighBit = allocated, stored, high
    made.PixelRepresentation = int(signed)
    if values.ndim == 3:
        made.PlanarConfiguration = 0
    words = values if allocated == 1 else words_of(values, allocated, stored, high, junk)
    big = syntax == "big endian"
    if syntax in NATIVE:
        data = (
            np.packbits(words.astype(np.uint8), bitorder="little").tobytes()
            if allocated == 1
            else words.astype(words.dtype.newbyteorder("><"[not big])).tobytes()
        )
        made.PixelData = data + b"\0" * (len(data) % 2)
        made["PixelData"].VR = "OB" if allocated <= 8 else "OW"
    else:
        frame = encoded(syntax, words, high + 1) if frame is None else frame
        made.PixelData = encapsulate([frame])
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
    for keyword, value in attributes.items():
        if value is not None:
            setattr(made, keyword, value)
        elif keyword in made:
            delattr(made, keyword)
    return written(made, uid, meta=meta)


def written(made, uid, *, meta=True):
    """Return the bytes of a data set written to a file."""
    buffer = io.BytesIO()
    if not meta:
        dcmwrite(buffer, made, implicit_vr=uid == SYNTAXES["implicit"], little_endian=True)
        return buffer.getvalue()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(uid)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    dcmwrite(buffer, made, enforce_file_format=True)
    return buffer.getvalue()
