"""What one run measures: the thresholds file and the command line, put together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from robustness import baseline
from robustness import thresholds as thresholds_file
from robustness.chosen import give_options, give_weights, select_models
from robustness.embedding import PRECISIONS
from robustness.errors import UsageError
from robustness.evalset import check_spec, located
from robustness.perturbation import Occlusion, parse
from robustness.perturbation.occlusion import SCHEMA
from robustness.thresholds import (
    DIRECTIONS,
    REGRESSION_METRICS,
    Cell,
    ModelEntry,
    Regression,
    Thresholds,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One parametrised pytest case: every fill and direction of a model, pattern and level."""

    model: str
    pattern: str
    level: float

    @property
    def id(self) -> str:
        """Its readable name, such as ``phantom-square-30``."""
        return f"{self.model}-{self.pattern}-{self.level * 100:g}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run was asked for.

    Attributes:
        thresholds: The thresholds file.
        models: The models under test, by name.
        evalset: The specification of the evaluation set, as it is written.
        evalset_here: The same with whole paths: a test may change the folder before it is read.
        device: A torch device, or ``auto``: CUDA where there is one, else the CPU.
        batch_size: Images or texts a forward pass.
        precision: In which the forward passes compute.
        store: The folder embeddings are kept in.
        report: The folder results are written to.
        replay: The one occlusion that property cases try, instead of searching.
        arguments: The command line's configuration, files and robustness options, for commands
            that repeat a part.
        baselines: The folder baselines are kept in.
        save: The name under which the run is kept as a baseline.
        compare: The file of the baseline the run is held against.
        then: What that file holds, read at the start: a run of an hour must not end with a
            baseline that cannot be read, or that another run has replaced meanwhile.
        regression: How it is held against it.
        update: Which bounds are written to the thresholds file: none, ``new`` or ``all``.
    """

    thresholds: Thresholds
    models: dict[str, ModelEntry]
    evalset: str
    evalset_here: str
    device: str
    batch_size: int
    store: Path
    report: Path
    precision: str = "float32"
    replay: Occlusion | None = None
    arguments: tuple[str, ...] = ()
    baselines: Path = Path(".robustness/baselines")
    save: str | None = None
    compare: Path | None = None
    then: baseline.Run | None = field(default=None, repr=False)
    regression: Regression = field(default_factory=Regression)
    update: str | None = None

    @property
    def needs_ranks(self) -> bool:
        """Whether the ranks of every query are of use after the run."""
        return bool(self.save or self.compare)

    @property
    def protocol(self) -> dict[str, str | int]:
        """What every model is measured under, and every model of a baseline must have been."""
        return {
            "positives": self.thresholds.positives,
            "occlusion": SCHEMA,
            "seed": self.thresholds.seed,
        }

    def entry(self, model: str) -> ModelEntry:
        """A model under test, or one that the thresholds file names for comparison."""
        return self.models.get(model) or self.thresholds.models[model]

    @property
    def cases(self) -> list[Case]:
        """The cases, in the order they are run and reported."""
        return [
            Case(model, pattern, level)
            for model in self.models
            for pattern in self.thresholds.patterns
            for level in self.thresholds.levels
        ]

    def cells(self, case: Case) -> list[Cell]:
        """The measurements of a case."""
        return [
            Cell(case.model, case.pattern, fill, case.level, direction)
            for fill in self.thresholds.fills
            for direction in DIRECTIONS
        ]


_TOLERATED = re.compile(r"(?P<metric>[^:]+):(?P<drop>[0-9.]+)(?P<points>pt)?")
_MEANT = "a drop is in points (1pt) or a fraction below 1 (0.01), never in percent"


def tolerate(thresholds: Thresholds, text: str) -> Regression:
    """The thresholds file's settings with the metric and drop of ``hit@10:1pt``.

    Raises:
        UsageError: The text has another form, or its metric or drop may not be.
    """
    found = _TOLERATED.fullmatch(text)
    with suppress(ValueError):
        if found and found["metric"] in REGRESSION_METRICS:
            drop = float(found["drop"]) / (100 if found["points"] else 1)
            if 0 <= drop < 1:
                return replace(thresholds.regression, metric=found["metric"], margin=drop)
    raise UsageError(
        f"--robustness-compare-fail {text!r} is not METRIC:DROP, as hit@10:1pt is; {_MEANT};"
        f" metrics: {', '.join(REGRESSION_METRICS)}"
    )


def make(  # noqa: PLR0913 - one a command-line option
    *,
    thresholds: Path,
    models: Sequence[str],
    weights: Sequence[str],
    options: Sequence[str],
    evalset: str | None,
    device: str,
    batch_size: int,
    precision: str = "float32",
    store: Path,
    report: Path,
    replay: str | None,
    arguments: Sequence[str],
    baselines: Path,
    save: str | None = None,
    compare: str | None = None,
    compare_fail: str | None = None,
    update: str | None = None,
) -> Plan:
    """Puts a plan together from the command line's texts.

    Opens the thresholds file and the baseline that is asked for, and nothing else.

    Raises:
        UsageError: Something asked for is malformed or unknown.
    """
    file = thresholds_file.load(thresholds, overridden=bool(evalset))
    here = evalset or located(file.evalset, file.path.parent)
    check_spec(here)
    if batch_size < 1:
        raise UsageError(f"--robustness-batch-size is {batch_size}; it is at least 1")
    if precision not in PRECISIONS:
        raise UsageError(
            f"--robustness-precision {precision!r} is unknown; allowed are {', '.join(PRECISIONS)}"
        )
    try:
        occlusion = parse(replay) if replay else None
    except ValueError as error:
        raise UsageError(f"--robustness-replay: {error}") from error
    if save is not None:
        baseline.check_name(save)
    if compare_fail is not None and compare is None:
        raise UsageError(
            "--robustness-compare-fail says what is tolerated beside a baseline; name one with"
            " --robustness-compare"
        )
    kept = None if compare is None else baseline.find(baselines, compare)
    made = Plan(
        thresholds=file,
        models=give_options(give_weights(select_models(file, models), weights), options),
        evalset=evalset or file.evalset,
        evalset_here=located(here, Path.cwd()),
        device=device,
        batch_size=batch_size,
        precision=precision,
        store=store,
        report=report,
        replay=occlusion,
        arguments=tuple(arguments),
        baselines=baselines,
        save=save,
        compare=kept,
        then=None if kept is None else baseline.load(kept),
        regression=file.regression if compare_fail is None else tolerate(file, compare_fail),
        update=update,
    )
    if made.then is not None:
        baseline.check_protocol(made.protocol, made.then.protocol, str(kept))
    return made
