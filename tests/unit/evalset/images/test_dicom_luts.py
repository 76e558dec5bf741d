"""DICOM lookup tables (PS3.3 C.11.1.1 and C.11.2.1.1)."""

from __future__ import annotations

import numpy as np
import pytest
from support.dicom_files import dicom, lut
from support.dicom_standard import assert_nearest, by_lut, by_window, each, stretched, values_of

from robustness.evalset.images.decode import decode_image

ENTRIES = np.sort(np.random.default_rng(1).integers(0, 2**16, 900))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("syntax", ["implicit", "explicit", "deflated", "big endian"])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(("signed", "first"), [(False, 0), (False, 700), (True, -300), (True, 5)])
def test_voi_luts(signed, first, bits, syntax, photometric):
    values = (
        values_of(12, signed, first - 200, first + 1100)
        if signed or first
        else (values_of(12, signed, 0, 1100))
    )
    entries = ENTRIES >> (16 - bits)
    made = lut(entries, first, bits)
    if syntax == "big endian":
        made.LUTData = entries.astype(">u2").tobytes()
    content = dicom(
        values,
        syntax,
        signed=signed,
        photometric=photometric,
        VOILUTSequence=[made],
        WindowCenter=1,  # ignored: the table has priority
        WindowWidth=2,
    )
    grey = each(lambda x: by_lut(x, entries, first) * 255 / (2**bits - 1), values)
    assert_nearest(decode_image(content, "x"), 255 - grey if photometric == "MONOCHROME1" else grey)


@pytest.mark.parametrize("syntax", ["implicit", "explicit"])
def test_first_value_of_a_table_is_signed_if_rescaled_values_are(syntax):
    values = values_of(12, signed=False)
    entries = ENTRIES[:500]
    content = dicom(
        values,
        syntax,
        RescaleSlope=1,
        RescaleIntercept=-1024,
        VOILUTSequence=[lut(entries, -900, 16)],
    )
    if syntax == "implicit":  # implicit VR does not record the type
        assert (-900 % 65536).to_bytes(2, "little") in content
    grey = each(lambda x: by_lut(x - 1024, entries, -900) * 255 / 65535, values)
    assert_nearest(decode_image(content, "x"), grey)


def test_first_values_from_32768_are_unsigned_if_values_are():
    values = values_of(16, signed=False)
    content = dicom(values, "implicit", stored=16, VOILUTSequence=[lut(ENTRIES, 40000, 16)])
    grey = each(lambda x: by_lut(x, ENTRIES, 40000) * 255 / 65535, values)
    assert_nearest(decode_image(content, "x"), grey)


def test_tables_of_65536_entries():
    values = values_of(16, signed=False)
    entries = np.arange(65536)[::-1]
    content = dicom(values, stored=16, VOILUTSequence=[lut(entries, 0, 16)])
    assert_nearest(decode_image(content, "x"), each(lambda x: by_lut(x, entries, 0) / 257, values))


@pytest.mark.parametrize("count", [900, 901])
def test_entries_of_eight_bits_two_in_a_word(count):
    values = values_of(12, signed=False, low=0, high=1100)
    entries = np.random.default_rng(1).integers(0, 256, count)
    made = lut(entries, 0, 8)
    made.LUTData = entries.astype(np.uint8).tobytes() + b"\0" * (count % 2)
    content = dicom(values, VOILUTSequence=[made])
    assert_nearest(decode_image(content, "x"), each(lambda x: by_lut(x, entries, 0), values))


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big endian"])
@pytest.mark.parametrize(("signed", "first"), [(False, 100), (True, -300)])
@pytest.mark.parametrize("window", [None, (30000, 20000)])
def test_modality_luts(window, signed, first, syntax):
    values = values_of(12, signed, first - 100, first + 1000)
    made = lut(ENTRIES, first, 16)
    made.ModalityLUTType = "US"
    if syntax == "big endian":
        made.LUTData = ENTRIES.astype(">u2").tobytes()
    content = dicom(
        values,
        syntax,
        signed=signed,
        ModalityLUTSequence=[made],
        WindowCenter=window and window[0],
        WindowWidth=window and window[1],
    )
    modality = each(lambda x: by_lut(x, ENTRIES, first), values)
    assert_nearest(
        decode_image(content, "x"),
        each(lambda x: by_window(x, *window), modality) if window else stretched(modality),
    )


def test_a_modality_lut_and_a_voi_lut():
    values = values_of(12, signed=False, low=0, high=1000)
    modality = lut(np.arange(900)[::-1] * 2, 0, 16)
    content = dicom(values, ModalityLUTSequence=[modality], VOILUTSequence=[lut(ENTRIES, 500, 16)])
    first = each(lambda x: by_lut(x, np.arange(900)[::-1] * 2, 0), values)
    assert_nearest(
        decode_image(content, "x"), each(lambda x: by_lut(x, ENTRIES, 500) * 255 / 65535, first)
    )
