"""Content of a thresholds file as frozen objects: models, measurements, rules and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from robustness.metrics import CUTOFFS, PRIMARY_METRIC, ROUNDING

DIRECTIONS = ("image_to_report", "report_to_image")


CHANCE = "chance"
"""Name by which bounds refer to the metric of random answers."""

References = Mapping[str, Mapping[str, float]]
"""Metrics by name, for each name that bounds may refer to: chance, or another model."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Limit of one metric, such as ``hit@10 >= 0.8`` or ``hit@10 >= 3 * chance``.

    Attributes:
        metric: A name of :data:`robustness.metrics.RANGES`.
        at_least: True if the metric must be at least the limit, False if at most.
        limit: The limit, or the number added to the reference if there is one.
        line: The line in the file, from 1.
        reference: :data:`CHANCE` or the name of another model, whose metric on the same
            evaluation set, occlusion and direction is the limit; None for a number alone.
        factor: The factor of the reference.

    Example:
        >>> bound = Bound("hit@10", at_least=True, limit=0.1, line=1, reference="chance", factor=3)
        >>> str(bound)
        'hit@10 >= 3 * chance + 0.1'
        >>> limit = bound.against({"chance": {"hit@10": 0.125}})
        >>> limit, bound.margin(0.75, limit)
        (0.475, 0.275)
    """

    metric: str
    at_least: bool
    limit: float
    line: int = field(compare=False)
    reference: str | None = None
    factor: float = 1.0

    def __str__(self) -> str:
        """Return the bound as written in a thresholds file."""
        return f"{self.metric} {self.demand}"

    @property
    def demand(self) -> str:
        """The bound without its metric, such as ``>= 0.8``."""
        limit = _exactly(self.limit)
        if self.reference is not None:
            times = "" if self.factor == 1 else f"{_exactly(self.factor)} * "
            sign = "-" if self.limit < 0 else "+"
            plus = f" {sign} {_exactly(abs(self.limit))}" if self.limit else ""
            limit = f"{times}{self.reference}{plus}"
        return f"{'>=' if self.at_least else '<='} {limit}"

    def against(self, references: References) -> float:
        """Return the limit as a number; NaN if the reference has no such metric."""
        if self.reference is None:
            return self.limit
        value = references.get(self.reference, {}).get(self.metric, float("nan"))
        return self.factor * value + self.limit

    def margin(self, value: float, limit: float | None = None) -> float:
        """Return the distance to the limit: negative if the bound is missed, NaN for NaN.

        Args:
            value: The metric.
            limit: The result of :meth:`against`; None for the bound's number.
        """
        limit = self.limit if limit is None else limit
        room = value - limit if self.at_least else limit - value
        # A mean of equal fractions differs from the fraction in its last bits.
        return 0.0 if abs(room) <= ROUNDING * max(1.0, abs(limit)) else room


def _exactly(number: float) -> str:
    """Return a number in the shortest form of 15 digits: 0.8, 1, 100000.5."""
    return f"{number:.15g}"


@dataclass(frozen=True, slots=True)
class MeasurementKey:
    """Coordinates of one measurement."""

    model: str
    pattern: str
    fill: str
    level: float
    direction: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Bounds of the measurements that match the selectors; a missing selector matches all.

    Attributes:
        selectors: The matching values by attribute of :class:`MeasurementKey`, or by ``evalset``.
        bounds: The bounds of these measurements.
        line: The first line in the file, from 1.
    """

    selectors: dict[str, frozenset[str | float]]
    bounds: tuple[Bound, ...]
    line: int

    def picks(self, cell: MeasurementKey, evalset: str) -> bool:
        """Check whether a cell matches, measured on an evaluation set of this kind."""
        return all(
            (evalset if name == "evalset" else getattr(cell, name)) in picked
            for name, picked in self.selectors.items()
        )


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """Model under test.

    Attributes:
        name: The name in results.
        loader: ``package.module:function``.
        weights: The checkpoint; None for the loader's default.
        optional: Whether the run may pass if the weights are missing on this machine.
        on_request: Whether the model is measured only if the command line names it.
        options: Keyword arguments of the loader.
    """

    name: str
    loader: str
    weights: Path | None = None
    optional: bool = False
    on_request: bool = False
    options: dict[str, str | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Properties:
    """Settings of the property cases.

    Attributes:
        bound: The bound of retrieval on the subset under every occlusion tried.
        max_level: The highest level tried for that bound, 0 to 1.
        subset: The number of images embedded per example, ranked against the whole gallery.
        examples: The number of occlusions tried per property.
        noise: The rise of hit@10 on the subset that is allowed when the level rises, and the
            allowed distance from chance under full occlusion, 0 to 1.
        tolerance: The largest difference of an embedding's entries between batches.
    """

    bound: Bound
    max_level: float = 0.5
    subset: int = 64
    examples: int = 20
    noise: float = 0.1
    tolerance: float = 1e-4


MODES = ("regression", "non_inferiority")
"""Modes of the comparison with a baseline; the first is the default."""


REGRESSION_METRICS = tuple(f"hit@{k}" for k in CUTOFFS)
"""Metrics whose drop can be compared with a margin."""


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
    """Settings of the comparison with a baseline; see :mod:`robustness.regression`.

    Attributes:
        mode: ``regression`` fails if a drop is shown; ``non_inferiority`` passes only if a drop
            beyond the margin is excluded.
        metric: The metric whose drop is compared with the margin, one of
            :data:`REGRESSION_METRICS`.
        margin: The tolerated drop, as a fraction.
        alpha: The family-wise error level over all cases of a run; None for the default of the
            mode.
    """

    mode: str = MODES[0]
    metric: str = PRIMARY_METRIC
    margin: float = MARGIN
    alpha: float | None = None

    @property
    def family_alpha(self) -> float:
        """The family-wise error level; the default of the mode if none is set."""
        if self.alpha is not None:
            return self.alpha
        return ALPHA if self.mode == MODES[0] else NON_INFERIORITY_ALPHA


SLACK = 0.01
"""Default distance of a written bound below the end of the interval."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Complete thresholds file; attributes without an entry here have the names of their keys.

    Attributes:
        path: The file.
        evalset: The specification as written; paths in it are relative to the file's folder.
        rules: The rules under ``bounds``, in the order of the file.
        slack: The distance between a bound that ``--robustness-update`` writes and the end of
            the interval, on the lenient side.
        sha256: The hash of the file's bytes.
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

    def bounds(self, cell: MeasurementKey, evalset: str) -> tuple[Bound, ...]:
        """Return the bounds of a cell; a later bound replaces an earlier one of the same kind.

        Bounds are of the same kind if metric, side and reference are equal. A bound that refers
        to the cell's own model does not apply.
        """
        last: dict[tuple[str, bool, str | None], Bound] = {}
        for rule in self.rules:
            if rule.picks(cell, evalset):
                last |= {
                    (bound.metric, bound.at_least, bound.reference): bound
                    for bound in rule.bounds
                    if bound.reference != cell.model
                }
        return tuple(last.values())


def all_measurements(thresholds: Thresholds) -> list[MeasurementKey]:
    """Return every measurement that the file declares."""
    return [
        MeasurementKey(model, pattern, fill, level, direction)
        for model in thresholds.models
        for pattern in thresholds.patterns
        for level in thresholds.levels
        for fill in thresholds.fills
        for direction in DIRECTIONS
    ]
