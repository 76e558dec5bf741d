"""What is measured and what is required, as frozen objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from robustness.metrics import CUTOFFS, PRIMARY_METRIC, ROUNDING

DIRECTIONS = ("image_to_report", "report_to_image")


CHANCE = "chance"
"""What a bound calls the level of a model that knows nothing."""

References = Mapping[str, Mapping[str, float]]
"""The metrics of what bounds may refer to, by its name: chance, or another model."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What one metric must reach: ``hit@10 >= 0.8``, ``hit@10 >= 3 * chance``.

    Attributes:
        metric: A name of :data:`robustness.metrics.RANGES`.
        at_least: Whether the metric must be at least the limit, or at most.
        limit: The number; what is added to the reference, where there is one.
        line: Where in the file it stands.
        reference: What the metric is held against, :data:`CHANCE` or another model, on the
            same evaluation set, occlusion and direction; None for the number alone.
        factor: What the reference is multiplied by.
    """

    metric: str
    at_least: bool
    limit: float
    line: int = field(compare=False)
    reference: str | None = None
    factor: float = 1.0

    def __str__(self) -> str:
        """As it is written in the file."""
        return f"{self.metric} {self.demand}"

    @property
    def demand(self) -> str:
        """All of it but the metric."""
        limit = _exactly(self.limit)
        if self.reference is not None:
            times = "" if self.factor == 1 else f"{_exactly(self.factor)} * "
            sign = "-" if self.limit < 0 else "+"
            plus = f" {sign} {_exactly(abs(self.limit))}" if self.limit else ""
            limit = f"{times}{self.reference}{plus}"
        return f"{'>=' if self.at_least else '<='} {limit}"

    def against(self, references: References) -> float:
        """The limit as a number; NaN where the reference has no such metric."""
        if self.reference is None:
            return self.limit
        value = references.get(self.reference, {}).get(self.metric, float("nan"))
        return self.factor * value + self.limit

    def margin(self, value: float, limit: float | None = None) -> float:
        """How far a value is on the right side: negative where it misses, NaN for NaN.

        Args:
            value: The metric.
            limit: What :meth:`against` found; the bound's own number where there is none.
        """
        limit = self.limit if limit is None else limit
        room = value - limit if self.at_least else limit - value
        # A mean of shares misses the share by its last bits.
        return 0.0 if abs(room) <= ROUNDING * max(1.0, abs(limit)) else room


def _exactly(number: float) -> str:
    """A number so that reading it gives it again, but for its last bit: 0.8, 1, 100000.5."""
    return f"{number:.15g}"


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


MODES = ("regression", "non_inferiority")
"""How a run is held against a baseline; the first is the default."""


REGRESSION_METRICS = tuple(f"hit@{k}" for k in CUTOFFS)
"""The metrics whose drop can be held against a margin."""


ALPHA = 1e-5
"""Default family-wise error level of a regression.

If candidate and baseline are exchangeable, at most this share of runs fails: the test is exact
for every n and model, and Holm needs no assumption. Two models trained alike are not
exchangeable: they differ slightly, and their statistics scatter 1.2 times as far. At this level
fewer than one run in a thousand fails even so, with a mean drop of half a point; at .001, seven
do (benchmarks/false_alarms.py). At n = 1,000 it raises the smallest detectable drop by a fifth.
"""

NON_INFERIORITY_ALPHA = 0.05
"""Default family-wise error level of non-inferiority."""

MARGIN = 0.01
"""Default tolerated drop of the metric, as a fraction: one point."""


@dataclass(frozen=True, slots=True)
class Regression:
    """How a run is held against a baseline; see :mod:`robustness.paired`.

    Attributes:
        mode: ``regression`` fails where a drop is shown, ``non_inferiority`` passes only
            where a drop beyond the margin is excluded.
        metric: One of :data:`REGRESSION_METRICS`, whose drop is held against the margin.
        margin: The drop that is tolerated, as a fraction.
        alpha: The family-wise error level over all the cases of a run; None for the mode's
            own default.
    """

    mode: str = MODES[0]
    metric: str = PRIMARY_METRIC
    margin: float = MARGIN
    alpha: float | None = None

    @property
    def family_alpha(self) -> float:
        """The family-wise error level, the mode's default where none is given."""
        if self.alpha is not None:
            return self.alpha
        return ALPHA if self.mode == MODES[0] else NON_INFERIORITY_ALPHA


SLACK = 0.01
"""What written bounds are more lenient by, where the file does not say."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The whole file.

    Attributes:
        evalset: As it is written; relative paths in it are the file's folder's.
        slack: What a bound that ``--robustness-update`` writes is more lenient by than the
            end of the interval.
        sha256: Of the file's bytes, as they were read; the other attributes are named as their
            keys are.
    """

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
    regression: Regression = Regression()
    slack: float = SLACK
    sha256: str = field(default="", compare=False)

    def bounds(self, cell: Cell, evalset: str) -> tuple[Bound, ...]:
        """The bounds of a cell: of those of one kind, the last one written.

        Of one kind are bounds on one side of one metric that refer to the same model, to
        chance, or to nothing. A bound that refers to the cell's own model is none.
        """
        found: dict[tuple[str, bool, str | None], Bound] = {}
        for rule in self.rules:
            if rule.picks(cell, evalset):
                found |= {
                    (bound.metric, bound.at_least, bound.reference): bound
                    for bound in rule.bounds
                    if bound.reference != cell.model
                }
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
