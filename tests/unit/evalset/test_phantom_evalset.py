"""Phantoms: reproducibility by seed, and findings in the pixels."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness import evalset
from robustness.errors import UsageError
from robustness.evalset import phantom
from robustness.evalset.phantom import Findings, Place, Purpose, Sided, Study
from robustness.evalset.phantom._render import render

# --- the set ---------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_set_and_the_same_pixels():
    first, second = evalset.load("phantom:6:7"), evalset.load("phantom:6:7")
    assert first.pairs == second.pairs
    assert first.spec == "phantom:6:7"
    for one, other in zip(first.pairs, second.pairs, strict=True):
        np.testing.assert_array_equal(first.decode(one), second.decode(other))


def test_pixels_are_the_same_in_another_process_and_after_other_studies():
    code = (
        "import hashlib; from robustness.evalset import phantom;"
        "print(hashlib.sha256(phantom.Study(5, 11).image().tobytes()).hexdigest())"
    )
    other_process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    Study(5, 10).image()
    assert other_process == [hashlib.sha256(Study(5, 11).image().tobytes()).hexdigest()]


def test_a_smaller_set_is_the_beginning_of_a_larger_one():
    assert phantom.load("64").pairs == phantom.load("256").pairs[:64]


def test_the_seed_is_zero_unless_given():
    assert phantom.load("8").pairs == phantom.load("8:0").pairs


def test_seeds_differ_in_reports_in_digests_and_in_pixels():
    one, other = phantom.load("16:1"), phantom.load("16:2")
    assert not {p.digest for p in one.pairs} & {p.digest for p in other.pairs}
    assert not {p.image_id for p in one.pairs} & {p.image_id for p in other.pairs}
    assert [p.report for p in one.pairs] != [p.report for p in other.pairs]
    assert (one.decode(one.pairs[0]) != other.decode(other.pairs[0])).mean() > 0.5


def test_training_and_evaluation_studies_differ():
    for index in range(4):
        evaluated, trained = Study(0, index), Study(0, index, Purpose.TRAINING)
        assert (evaluated.image() != trained.image()).mean() > 0.5
    evaluation = {Study(0, index).report().findings for index in range(300)}
    training = {Study(0, index, Purpose.TRAINING).report().findings for index in range(300)}
    shared = evaluation & training
    macros = {Study(0, i).report().findings for i in range(300) if Study(0, i).findings.macro}
    assert len(shared - macros) < 10


def test_ids_are_unique_and_contain_seed_and_index():
    pairs = phantom.load("20:4").pairs
    assert pairs[17].image_id == "phantom-4-00017"
    assert len({pair.digest for pair in pairs}) == len(pairs)


# --- the version of the generator --------------------------------------------------------

CONTENT = Path(__file__).with_name(f"{phantom.GENERATOR}.json")
"""Content of this version. After a change of a drawing, a phrase or a chance: raise
phantom.GENERATOR, and run this file as a script to write the new content."""


def generated_texts():
    """Return the hash of the views, reports and labels of 256 studies."""
    digest = hashlib.sha256()
    for pair in phantom.load("256").pairs:
        report = [pair.report.text([section]) for section in evalset.SECTIONS]
        digest.update(json.dumps([pair.view, report, sorted(pair.labels)]).encode())
    return digest.hexdigest()


def generated_pixels(index):
    """Return single pixels, which show a change of the noise, and means over blocks, which
    show a change anywhere, of the image of one study."""
    image = Study(0, index).image()
    means = image.reshape(14, 16, 14, 16).mean(axis=(1, 3))
    return np.stack([image[8::16, 8::16], np.rint(means).astype(np.uint8)])


def test_what_is_generated_changes_only_with_the_version():
    """Pixels may differ by one grey level: NumPy rounds differently on other processors."""
    expected = json.loads(CONTENT.read_text())
    assert generated_texts() == expected["texts"]
    for index, content in enumerate(expected["pixels"]):
        pixels = np.frombuffer(bytes.fromhex(content), np.uint8).reshape(2, 14, 14)
        assert np.abs(generated_pixels(index).astype(int) - pixels).max() <= 1, f"study {index}"


def test_the_digest_changes_with_the_version_and_the_libraries(monkeypatch):
    before = phantom.load("4")
    for part in (phantom.GENERATOR, f"numpy {np.__version__}", "pillow"):
        other_version = phantom._GENERATION.replace(part, f"{part}0")
        with monkeypatch.context() as patch:
            patch.setattr(phantom, "_GENERATION", other_version)
            after = phantom.load("4")
        assert not {pair.digest for pair in before.pairs} & {pair.digest for pair in after.pairs}
    assert phantom.load("4").fingerprint == before.fingerprint


BAD_SPECIFICATIONS = "|0|-1|1.5|many|1000001|8:|8:-1|8:x|8:1:2| 8|8\n|٣|99999999999999|8:4294967296"


@pytest.mark.parametrize("bad", BAD_SPECIFICATIONS.split("|"))
def test_an_invalid_specification_is_refused_in_one_line(bad):
    with pytest.raises(UsageError) as caught:
        phantom.load(bad)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert "phantom:N:SEED" in message
    assert "1000000" in message


def test_the_import_does_not_load_torch():
    code = "import sys, robustness.evalset.phantom; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), index=st.integers(0, 10**6))
def test_every_image_has_the_form_of_a_radiograph(seed, index):
    image = Study(seed, index).image()
    assert image.dtype == np.uint8
    assert image.shape == (224, 224)
    dark, bright = np.percentile(image, [2, 98])
    assert bright - dark > 90
    assert (image == 255).mean() < 0.1


# --- the images ------------------------------------------------------------------------

ZONE_ROWS = {"upper": (-0.52, -0.32), "mid": (-0.18, 0.04), "lower": (0.18, 0.36)}


def region(side, low_x, high_x, rows):
    """Return the slices of a box; ``low_x`` and ``high_x`` are distances from the middle."""
    xs = (low_x, high_x) if side == "left" else (-high_x, -low_x)
    to_pixel = [round((edge + 1) * 112) for edge in (*rows, *xs)]
    return slice(*to_pixel[:2]), slice(*to_pixel[2:])


def change(findings, where, repeats=6):
    """Return the mean change of brightness in a region if only the findings differ."""
    changes = []
    for seed in range(repeats):
        plain = render(Findings(), np.random.default_rng(seed)).astype(float)
        shown = render(findings, np.random.default_rng(seed)).astype(float)
        changes.append((shown - plain)[where].mean())
    return np.mean(changes)


def other(side):
    return "left" if side == "right" else "right"


@pytest.mark.parametrize("side", ["right", "left"])
def test_an_effusion_is_bright_at_the_base_of_its_side(side):
    # The patient's right is the image's left.
    base = (0.24, 0.40)
    shown = Findings(effusion=Sided(**{side: 2}))
    assert change(shown, region(side, 0.5, 0.68, base)) > 30
    assert abs(change(shown, region(other(side), 0.5, 0.68, base))) < 2


def test_a_larger_effusion_is_brighter():
    area = region("right", 0.35, 0.68, (-0.4, 0.45))
    amounts = [change(Findings(effusion=Sided(right=grade)), area) for grade in (0, 1, 2, 3)]
    assert amounts[0] == 0
    assert all(more > less + 5 for less, more in pairwise(amounts))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("zone", ["upper", "mid", "lower"])
@pytest.mark.parametrize("kind", ["consolidations", "mass", "nodule"])
def test_an_opacity_is_bright_in_its_zone(kind, side, zone):
    place = Place(side, zone)
    shown = Findings(**{kind: (place,) if kind == "consolidations" else place})
    inside = change(shown, region(side, 0.26, 0.60, ZONE_ROWS[zone]))
    assert inside > (1.5 if kind == "nodule" else 8)
    for elsewhere in {"upper", "mid", "lower"} - {zone}:
        assert inside > 2 * abs(change(shown, region(side, 0.26, 0.60, ZONE_ROWS[elsewhere]), 3))
    assert abs(change(shown, region(other(side), 0.26, 0.60, ZONE_ROWS[zone]), 3)) < 1


def test_a_larger_heart_covers_more_of_the_lung():
    lateral = region("left", 0.36, 0.6, (0.1, 0.35))
    amounts = [change(Findings(heart=grade), lateral) for grade in (0, 1, 2, 3)]
    assert all(more > less + 3 for less, more in pairwise(amounts))


@pytest.mark.parametrize("side", ["right", "left"])
def test_devices_are_drawn_on_their_side(side):
    pocket = region(side, 0.46, 0.62, (-0.53, -0.41))
    assert change(Findings(pacemaker=side), pocket) > 40
    assert abs(change(Findings(pacemaker=other(side)), pocket)) < 1
    track = region(side, 0.34, 0.62, (-0.4, 0.2))
    assert change(Findings(drain=side), track) > 1
    assert change(Findings(drain=other(side)), track) == 0


@pytest.mark.parametrize("side", ["right", "left"])
def test_free_air_is_dark_along_the_chest_wall(side):
    rim = region(side, 0.53, 0.64, (-0.25, 0.1))
    assert change(Findings(pneumothorax=Sided(**{side: 2})), rim) < -3
    assert abs(change(Findings(pneumothorax=Sided(**{other(side): 2})), rim)) < 1


@pytest.mark.parametrize(
    "findings",
    [
        Findings(rotation="left"),
        Findings(volume="low"),
        Findings(volume="high"),
        Findings(oedema=1),
        Findings(atelectasis=Sided(left=1)),
        Findings(hilum=Sided(right=1)),
        Findings(many_nodules=True),
        Findings(elevated="right"),
        Findings(fracture="left"),
        Findings(scoliosis="right"),
        Findings(emphysema="left"),
        Findings(aorta=True),
        Findings(hernia=True),
        Findings(line="right"),
        Findings(endotracheal_tube=True),
        Findings(gastric_tube=True),
        Findings(wires=True),
    ],
    ids=str,
)
def test_every_finding_shows_in_the_pixels(findings):
    rng = np.random.default_rng
    difference = np.abs(render(findings, rng(1)).astype(int) - render(Findings(), rng(1)))
    assert 15 < (difference > 12).sum() < 0.6 * difference.size


if __name__ == "__main__":
    pixels = [generated_pixels(index).tobytes().hex() for index in range(16)]
    CONTENT.write_text(json.dumps({"texts": generated_texts(), "pixels": pixels}, indent=1) + "\n")
