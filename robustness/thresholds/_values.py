"""What is measured and what is required, as frozen objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

DIRECTIONS = ("image_to_report", "report_to_image")


@dataclass(frozen=True, slots=True)
class Bound:
    """What one metric must reach, such as ``hit@10 >= 0.8``.

    Attributes:
        metric: A name of :data:`robustness.metrics.RANGES`.
        at_least: Whether the metric must be at least the limit, or at most.
        limit: The number.
        line: Where in the file it stands.
    """

    metric: str
    at_least: bool
    limit: float
    line: int = field(compare=False)

    def __str__(self) -> str:
        """As it is written in the file."""
        return f"{self.metric} {'>=' if self.at_least else '<='} {self.limit:g}"

    def margin(self, value: float) -> float:
        """How far a value is on the right side: negative where it misses, NaN for NaN."""
        return value - self.limit if self.at_least else self.limit - value


@dataclass(frozen=True, slots=True)
class Cell:
    """The coordinates of one measurement."""

    model: str
    pattern: str
    fill: str
    level: float
    direction: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Bounds for the cells that its selectors pick; a selector that is absent picks all.

    Attributes:
        selectors: For an attribute of a cell, or ``evalset``, the values that are picked.
        bounds: What is required of those cells.
        line: Where in the file it begins.
    """

    selectors: dict[str, frozenset[str | float]]
    bounds: tuple[Bound, ...]
    line: int

    def picks(self, cell: Cell, evalset: str) -> bool:
        """Whether the rule speaks of a cell measured on an evaluation set of that name."""
        return all(
            (evalset if name == "evalset" else getattr(cell, name)) in picked
            for name, picked in self.selectors.items()
        )


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model under test.

    Attributes:
        name: What results call it.
        loader: ``package.module:function``.
        weights: Its checkpoint, where the loader's default is not meant.
        optional: Whether the run may pass where the weights are not on this machine.
        on_request: Whether it is measured only where the command line names it.
        options: Passed on to the loader.
    """

    name: str
    loader: str
    weights: Path | None = None
    optional: bool = False
    on_request: bool = False
    options: dict[str, str | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Properties:
    """How the property cases search, and what they hold.

    Attributes:
        bound: What retrieval on the subset must reach under every occlusion searched.
        max_level: The highest level searched for that bound.
        subset: How many images are embedded an example, against the whole gallery.
        examples: How many occlusions each property tries.
        noise: How far hit@10 on the subset may rise with the level, or stray from chance
            under full occlusion.
        tolerance: How far an embedding's entries may move with the batch around it.
    """

    bound: Bound
    max_level: float = 0.5
    subset: int = 64
    examples: int = 20
    noise: float = 0.1
    tolerance: float = 1e-4


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The whole file."""

    path: Path
    evalset: str
    positives: str
    models: dict[str, ModelEntry]
    patterns: tuple[str, ...]
    fills: tuple[str, ...]
    levels: tuple[float, ...]
    seed: int
    rules: tuple[Rule, ...]
    properties: Properties

    def bounds(self, cell: Cell, evalset: str) -> tuple[Bound, ...]:
        """The bounds of a cell: of those on one side of one metric, the last one written."""
        found: dict[tuple[str, bool], Bound] = {}
        for rule in self.rules:
            if rule.picks(cell, evalset):
                found |= {(bound.metric, bound.at_least): bound for bound in rule.bounds}
        return tuple(found.values())


def all_cells(thresholds: Thresholds) -> list[Cell]:
    """Every cell that the file declares."""
    return [
        Cell(model, pattern, fill, level, direction)
        for model in thresholds.models
        for pattern in thresholds.patterns
        for level in thresholds.levels
        for fill in thresholds.fills
        for direction in DIRECTIONS
    ]
