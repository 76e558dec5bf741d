"""The findings of a study, drawn at random before its image and its report.

The image and the report are both generated from one :class:`Findings`, so that the report
describes what the image shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Side = Literal["right", "left"]
Zone = Literal["upper", "mid", "lower"]
View = Literal["PA", "AP"]
Volume = Literal["low", "normal", "high"]

SIDES: tuple[Side, ...] = ("right", "left")
ZONES: tuple[Zone, ...] = ("upper", "mid", "lower")

NORMAL_SHARE = 0.08
"""Fraction of the studies without an abnormal finding."""

MACRO_SHARE = 0.85
"""Fraction of the normal studies whose report is a macro (a fixed text)."""

T = TypeVar("T")


class Sided(NamedTuple):
    """A grade for each of the patient's sides; 0 means absent."""

    right: int = 0
    left: int = 0

    def on(self, side: Side) -> int:
        """Return the grade on one side."""
        return self.right if side == "right" else self.left

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides with a grade above 0."""
        return tuple(side for side in SIDES if self.on(side))


_NEITHER = Sided()


class Place(NamedTuple):
    """A zone of one lung."""

    side: Side
    zone: Zone


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings that a phantom study can show.

    Attributes:
        macro: True if the report is a macro; only if nothing is abnormal.
        view: Projection.
        rotation: Side towards which the patient is rotated.
        volume: Lung volume.
        heart: Cardiomegaly, 0 (none) to 3 (severe).
        oedema: Pulmonary oedema, 0 (none) to 2 (severe).
        effusion: Pleural effusion, 0 (none) to 3 (large) on each side.
        pneumothorax: Pneumothorax, 0 (none) to 2 (large) on each side.
        atelectasis: 1 on a side with basal band atelectasis.
        hilum: 1 on a side with an enlarged hilum.
        consolidations: Zones with an airspace opacity, at most two.
        mass: Zone of a mass.
        nodule: Zone of a solitary nodule.
        many_nodules: True if nodules are scattered over both lungs.
        elevated: Side of an elevated hemidiaphragm.
        fracture: Side of rib fractures.
        scoliosis: Side of the convexity of a scoliosis.
        emphysema: Side of subcutaneous emphysema.
        aorta: True if the aorta is tortuous.
        hernia: True if there is a hiatus hernia.
        pacemaker: Side of a pacemaker.
        line: Side of a central venous line.
        drain: Side of a chest drain.
        endotracheal_tube: True if there is an endotracheal tube.
        gastric_tube: True if there is a gastric tube.
        wires: True if there are sternotomy wires.
    """

    macro: bool = False
    view: View = "PA"
    rotation: Side | None = None
    volume: Volume = "normal"
    heart: int = 0
    oedema: int = 0
    effusion: Sided = _NEITHER
    pneumothorax: Sided = _NEITHER
    atelectasis: Sided = _NEITHER
    hilum: Sided = _NEITHER
    consolidations: tuple[Place, ...] = ()
    mass: Place | None = None
    nodule: Place | None = None
    many_nodules: bool = False
    elevated: Side | None = None
    fracture: Side | None = None
    scoliosis: Side | None = None
    emphysema: Side | None = None
    aorta: bool = False
    hernia: bool = False
    pacemaker: Side | None = None
    line: Side | None = None
    drain: Side | None = None
    endotracheal_tube: bool = False
    gastric_tube: bool = False
    wires: bool = False


def draw(rng: np.random.Generator) -> Findings:
    """Draw the findings of one study."""
    view: View = _pick(rng, {"PA": 0.6, "AP": 0.4})
    if rng.random() < NORMAL_SHARE:
        return Findings(macro=bool(rng.random() < MACRO_SHARE), view=view)
    effusion = Sided(*(_pick(rng, {0: 0.74, 1: 0.10, 2: 0.09, 3: 0.07}) for _ in SIDES))
    pneumothorax = Sided(
        *(
            # A large effusion would hide the free air that the report describes.
            _pick(rng, {0: 0.90, 1: 0.05, 2: 0.05}) if effusion.on(side) < 2 else 0  # noqa: PLR2004
            for side in SIDES
        )
    )
    volume: Volume = _pick(rng, {"low": 0.15, "normal": 0.71, "high": 0.14})
    elevated = _side(rng, 0.14)
    if volume == "high" or (elevated and effusion.on(elevated) > 1):
        elevated = None
    bedside = view == "AP"
    return Findings(
        view=view,
        rotation=_side(rng, 0.2),
        volume=volume,
        heart=_pick(rng, {0: 0.58, 1: 0.15, 2: 0.15, 3: 0.12}),
        oedema=_pick(rng, {0: 0.82, 1: 0.10, 2: 0.08}),
        effusion=effusion,
        pneumothorax=pneumothorax,
        atelectasis=_graded(rng, 0.14),
        hilum=_graded(rng, 0.08),
        consolidations=_consolidations(rng),
        mass=_place(rng, 0.11),
        nodule=_place(rng, 0.16),
        many_nodules=_flag(rng, 0.07),
        elevated=elevated,
        fracture=_side(rng, 0.12),
        scoliosis=_side(rng, 0.15),
        emphysema=_side(rng, 0.07),
        aorta=_flag(rng, 0.14),
        hernia=_flag(rng, 0.09),
        pacemaker=_side(rng, 0.18),
        line=_side(rng, 0.34 if bedside else 0.12),
        drain=_side(rng, 0.20 if bedside else 0.04),
        endotracheal_tube=_flag(rng, 0.32 if bedside else 0.0),
        gastric_tube=_flag(rng, 0.30 if bedside else 0.03),
        wires=_flag(rng, 0.15),
    )


def labels(findings: Findings) -> NDArray[np.float32]:
    """Return the findings as a vector of zeros and ones, for an auxiliary loss.

    Grades are cumulative: a large effusion also sets the bits of the smaller grades.

    Returns:
        float32 ``[L]``; L is the same for every study.
    """
    f = findings
    bits = [f.view == "AP", f.volume == "low", f.volume == "high"]
    bits += [f.heart >= grade for grade in (1, 2, 3)]
    bits += [f.oedema >= grade for grade in (1, 2)]
    for side in SIDES:
        bits += [f.effusion.on(side) >= grade for grade in (1, 2, 3)]
        bits += [f.pneumothorax.on(side) >= grade for grade in (1, 2)]
        bits += [bool(f.atelectasis.on(side)), bool(f.hilum.on(side))]
        bits += [
            side == present
            for present in (f.rotation, f.elevated, f.fracture, f.scoliosis, f.emphysema)
        ]
        bits += [side == present for present in (f.pacemaker, f.line, f.drain)]
        for place in (Place(side, zone) for zone in ZONES):
            bits += [place in f.consolidations, f.mass == place, f.nodule == place]
    bits += [f.many_nodules, f.aorta, f.hernia, f.endotracheal_tube, f.gastric_tube, f.wires]
    return np.asarray(bits, dtype=np.float32)


def _pick(rng: np.random.Generator, chances: Mapping[T, float]) -> T:
    options = list(chances)
    bounds = np.cumsum(list(chances.values()))
    index = int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))
    return options[min(index, len(options) - 1)]


def _flag(rng: np.random.Generator, chance: float) -> bool:
    return bool(rng.random() < chance)


def _side(rng: np.random.Generator, chance: float) -> Side | None:
    present, side = rng.random(), SIDES[int(rng.integers(2))]
    return side if present < chance else None


def _graded(rng: np.random.Generator, chance: float) -> Sided:
    return Sided(*(int(rng.random() < chance) for _ in SIDES))


def _place(rng: np.random.Generator, chance: float) -> Place | None:
    present = rng.random()
    place = Place(SIDES[int(rng.integers(2))], ZONES[int(rng.integers(3))])
    return place if present < chance else None


def _consolidations(rng: np.random.Generator) -> tuple[Place, ...]:
    count = _pick(rng, {0: 0.62, 1: 0.29, 2: 0.09})
    places = {_place(rng, 1.0) for _ in range(count)}
    return tuple(sorted(place for place in places if place))
