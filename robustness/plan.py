"""Plan of a run: the thresholds file combined with the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path

from robustness import thresholds as thresholds_file
from robustness.embedding import PRECISIONS
from robustness.errors import Code, UsageError
from robustness.evalset import check_spec, resolve_spec
from robustness.perturbation import Occlusion, parse
from robustness.perturbation.occlusion import SCHEMA
from robustness.regression import baseline, baseline_file
from robustness.thresholds import (
    DIRECTIONS,
    REGRESSION_METRICS,
    MeasurementKey,
    ModelEntry,
    Regression,
    Thresholds,
)

FAMILIES = "robustness.families"
"""Entry point group of loaders that load every model of a family, as ``family:name``."""

BOUND = "bound"
INDEPENDENCE = "independence"
NESTED = "nested"
CHANCE = "chance"

PROPERTIES = {
    BOUND: "retrieval on a subset stays above the property bound",
    INDEPENDENCE: "an image's embedding depends on that image and its mask alone",
    NESTED: "hiding more of the same pixels never helps beyond the stated noise",
    CHANCE: "with every pixel hidden, retrieval is chance",
}
"""Properties that the search tests: name -> statement."""


@dataclass(frozen=True, slots=True)
class Case:
    """One parametrised pytest case: every fill and direction of a model, pattern and level."""

    model: str
    pattern: str
    level: float

    @property
    def id(self) -> str:
        """The readable name.

        Example:
            >>> Case("phantom", "square", 0.3).id
            'phantom-square-30'
        """
        return f"{self.model}-{self.pattern}-{self.level * 100:g}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The complete settings of a run.

    Attributes:
        thresholds: The thresholds file.
        models: The models under test, by name.
        evalset: The specification of the evaluation set, as written by the user.
        evalset_absolute: The same with absolute paths; a test may change the working folder
            before the set is read.
        device: A torch device, or ``auto``: CUDA if available, else the CPU.
        batch_size: Images or texts per forward pass.
        store: The folder of the embedding store.
        report: The folder that results are written to.
        precision: The precision of the forward passes, one of
            :data:`robustness.embedding.PRECISIONS`.
        replay: The only occlusion that property cases try; None to search.
        arguments: The configuration, files and robustness options of the command line, to print
            commands that repeat a part of the run.
        baselines: The folder of the baselines.
        save: The name to save the run under as a baseline.
        compare: The file of the baseline to compare the run with.
        baseline_run: The content of that file, read at the start: an unreadable baseline must
            not fail an hour-long run at its end, and another run may replace the file meanwhile.
        regression: The settings of the comparison.
        update: Which bounds to write to the thresholds file: None, ``new`` or ``all``.
    """

    thresholds: Thresholds
    models: dict[str, ModelEntry]
    evalset: str
    evalset_absolute: str
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
    baseline_run: baseline.Run | None = field(default=None, repr=False)
    regression: Regression = field(default_factory=Regression)
    update: str | None = None

    @property
    def evalset_kind(self) -> str:
        """The kind of the evaluation set, such as ``phantom``."""
        return self.evalset.partition(":")[0]

    @property
    def needs_ranks(self) -> bool:
        """True if the ranks of every query are needed after the run."""
        return bool(self.save or self.compare)

    @property
    def protocol(self) -> dict[str, str | int]:
        """The settings shared by all models of a run; those of a baseline must be equal."""
        return {
            "positives": self.thresholds.positives,
            "occlusion": SCHEMA,
            "seed": self.thresholds.seed,
        }

    def entry(self, model: str) -> ModelEntry:
        """Return a model under test, or one in the thresholds file that bounds refer to."""
        return self.models.get(model) or self.thresholds.models[model]

    @property
    def cases(self) -> list[Case]:
        """The cases in the order of execution and of the report."""
        return [
            Case(model, pattern, level)
            for model in self.models
            for pattern in self.thresholds.patterns
            for level in self.thresholds.levels
        ]

    def measurements(self, case: Case) -> list[MeasurementKey]:
        """Return the measurements of a case."""
        return [
            MeasurementKey(case.model, case.pattern, fill, case.level, direction)
            for fill in self.thresholds.fills
            for direction in DIRECTIONS
        ]


# --- command-line texts ------------------------------------------------------------------

_METRIC_DROP = re.compile(r"(?P<metric>[^:]+):(?P<drop>[0-9.]+)(?P<points>pt)?")


def parse_compare_fail(thresholds: Thresholds, text: str) -> Regression:
    """Return the file's regression settings with the metric and drop of ``hit@10:1pt``.

    Raises:
        UsageError: The text has another form, or its metric or drop is not allowed.
    """
    match = _METRIC_DROP.fullmatch(text)
    with suppress(ValueError):
        if match and match["metric"] in REGRESSION_METRICS:
            drop = float(match["drop"]) / (100 if match["points"] else 1)
            if 0 <= drop < 1:
                return replace(thresholds.regression, metric=match["metric"], margin=drop)
    raise UsageError(
        f"--robustness-compare-fail {text!r} is not METRIC:DROP, such as hit@10:1pt; a drop is in"
        " points (1pt) or a fraction below 1 (0.01), never in percent; metrics:"
        f" {', '.join(REGRESSION_METRICS)}"
    )


def select_models(thresholds: Thresholds, names: Sequence[str]) -> dict[str, ModelEntry]:
    """Return the models under test, by name.

    Args:
        thresholds: The thresholds file.
        names: Names in the file, loaders ``package.module:function``, or models of a family
            such as ``open_clip:ViT-B-16/laion2b_s34b_b88k``; if empty, every model in the file
            that is not ``on_request``.

    Raises:
        UsageError: A name is unknown, or every model is ``on_request`` and none is named.
    """
    if names:
        return {name: _find_entry(thresholds, name) for name in names}
    models = {n: entry for n, entry in thresholds.models.items() if not entry.on_request}
    if not models:
        raise UsageError(
            f"{thresholds.path}: every model is on_request; name one with"
            f" --robustness-models: {', '.join(thresholds.models)}"
        )
    return models


def _find_entry(thresholds: Thresholds, name: str) -> ModelEntry:
    if name in thresholds.models:
        return thresholds.models[name]
    prefix, colon, rest = name.partition(":")
    families = {family.name: family.value for family in entry_points(group=FAMILIES)}
    if colon and prefix in families:
        return ModelEntry(name=name, loader=families[prefix], options={"model": name})
    if colon and rest:
        return ModelEntry(name=name, loader=name)
    raise UsageError(
        f"unknown model {name!r} in --robustness-models; {thresholds.path} has"
        f" {', '.join(thresholds.models)}; name any other by its loader,"
        f" package.module:function, or as {', '.join(f'{f}:NAME' for f in families)}",
        Code.UNKNOWN_MODEL,
    )


def _with_weights(
    models: dict[str, ModelEntry], assignments: Sequence[str]
) -> dict[str, ModelEntry]:
    """Return the models with the checkpoints of ``NAME=PATH`` texts; these are not optional."""
    models = dict(models)
    for assignment in assignments:
        name, equals, path = assignment.partition("=")
        if not (equals and path):
            raise UsageError(
                f"--robustness-weights {assignment!r} is not NAME=PATH, such as phantom=weights.pt"
            )
        _require_under_test(models, name, "--robustness-weights")
        # Absolute, since a test may change the working folder.
        weights = Path(path).expanduser().absolute()
        models[name] = replace(models[name], weights=weights, optional=False)
    return models


def _with_options(
    models: dict[str, ModelEntry], assignments: Sequence[str]
) -> dict[str, ModelEntry]:
    """Return the models with the loader options of ``NAME:KEY=VALUE`` texts; values stay text."""
    models = dict(models)
    for assignment in assignments:
        target, equals, value = assignment.partition("=")
        name, colon, key = target.rpartition(":")
        if not (equals and colon and key):
            raise UsageError(
                f"--robustness-option {assignment!r} is not NAME:KEY=VALUE, such as"
                " cxr_clip:tokenizer=vocab.txt"
            )
        _require_under_test(models, name, "--robustness-option")
        models[name] = replace(models[name], options=models[name].options | {key: value})
    return models


def _require_under_test(models: dict[str, ModelEntry], name: str, option: str) -> None:
    if name not in models:
        raise UsageError(
            f"{option} names model {name!r}, which is not under test;"
            f" under test: {', '.join(models)}"
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
    """Build the plan from the texts of the command line.

    Reads the thresholds file and the baseline to compare with, and no other file.

    Raises:
        UsageError: An option or the thresholds file is malformed, or names something unknown.
    """
    file = thresholds_file.load(thresholds, overridden=bool(evalset))
    spec = evalset or resolve_spec(file.evalset, file.path.parent)
    check_spec(spec)
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
        baseline_file.check_name(save)
    if compare_fail is not None and compare is None:
        raise UsageError(
            "--robustness-compare-fail sets the drop that is tolerated against a baseline; name"
            " one with --robustness-compare"
        )
    compare_file = None if compare is None else baseline_file.find(baselines, compare)
    plan = Plan(
        thresholds=file,
        models=_with_options(_with_weights(select_models(file, models), weights), options),
        evalset=evalset or file.evalset,
        evalset_absolute=resolve_spec(spec, Path.cwd()),
        device=device,
        batch_size=batch_size,
        precision=precision,
        store=store,
        report=report,
        replay=occlusion,
        arguments=tuple(arguments),
        baselines=baselines,
        save=save,
        compare=compare_file,
        baseline_run=None if compare_file is None else baseline_file.load(compare_file),
        regression=file.regression
        if compare_fail is None
        else parse_compare_fail(file, compare_fail),
        update=update,
    )
    if plan.baseline_run is not None:
        baseline.check_protocol(plan.protocol, plan.baseline_run.protocol, str(compare_file))
    return plan
