"""Gate: load models and the evaluation set once, and measure cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from robustness import encoder as encoders
from robustness._util.profile import LOADING, READING, Profile, peak_device_memory, peak_memory
from robustness._util.progress import Stream
from robustness.embedding import Store, StoreCounts, decode_once
from robustness.embedding.dataset import EmbeddingSettings
from robustness.embedding.devices import choose_device
from robustness.encoder import DualEncoder
from robustness.errors import GateError
from robustness.evalset import EvaluationSet
from robustness.evalset import load as load_evalset
from robustness.model_cache import ModelRequest, load_cached
from robustness.perturbation.occlusion import Occlusion
from robustness.plan import Case, Plan
from robustness.records import (
    Activity,
    BoundRecord,
    CaseRecord,
    CurvePoint,
    EstimateRecord,
    EvaluationSetProtocol,
    MeasurementRecord,
    ModelProtocol,
    Protocol,
    Queries,
    Ranking,
    unmeasured,
)
from robustness.records.codec import encode, number
from robustness.run.subject import Measurement, Subject
from robustness.thresholds import CHANCE, DIRECTIONS, Bound, MeasurementKey
from robustness.verdict.judge import judge, judge_failure
from robustness.verdict.reasons import Judgement, Reason, Verdict

Measured = dict[str, Measurement]
"""Measurements by direction."""


class Gate:
    """Measurements of a run; each model and the evaluation set is loaded once per process.

    Args:
        plan: The plan of the run.
        stream: Stream for progress bars; shown if it is a terminal.
        profile: Profile that the time is added to.
    """

    def __init__(
        self, plan: Plan, *, stream: Stream | None = None, profile: Profile | None = None
    ) -> None:
        self.plan = plan
        self.stream = stream
        self.model_loads = 0
        self.profile = Profile() if profile is None else profile
        self._subjects: dict[str, Subject] = {}
        self._failures: dict[str, GateError] = {}
        self._measured: dict[tuple[str, str, str, float], Measured] = {}

    @cached_property
    def store(self) -> Store:
        """The embedding store."""
        return Store(self.plan.store)

    @cached_property
    def evalset(self) -> EvaluationSet:
        """The evaluation set, each image decoded once."""
        with self.profile.phase(READING):
            loaded = load_evalset(self.plan.evalset_absolute, remember=self.store.fetch)
        return decode_once(loaded, self.store, stream=self.stream)

    @cached_property
    def device(self) -> str:
        """The torch device models run on."""
        return choose_device(self.plan.device)

    def subject(self, model: str) -> Subject:
        """Return a model with the evaluation set; a failure to load it is not retried.

        Raises:
            GateError: The model, its weights or the evaluation set cannot be used.
        """
        if model in self._failures:
            raise self._failures[model]
        if model not in self._subjects:
            try:
                self._subjects[model] = self._load(model)
            except GateError as error:
                self._failures[model] = error
                raise
        return self._subjects[model]

    def _load(self, model: str) -> Subject:
        evalset = self.evalset
        entry = self.plan.entry(model)
        request = ModelRequest(entry.loader, entry.weights, entry.options)
        encoder, identity = load_cached(
            request, self.store.root, self.device, partial(self.load, model)
        )
        settings = EmbeddingSettings(
            self.store, self.plan.batch_size, self.plan.precision, self.profile, self.stream
        )
        thresholds = self.plan.thresholds
        return Subject(
            encoder,
            evalset,
            settings,
            positives=thresholds.positives,
            seed=thresholds.seed,
            identity=identity,
        )

    def load(self, model: str, weights: Path | None = None) -> DualEncoder:
        """Load a model as planned, or from another checkpoint.

        Raises:
            GateError: The model or its weights cannot be used.
        """
        entry = self.plan.entry(model)
        self.model_loads += 1
        with self.profile.phase(LOADING, 1):
            return encoders.load(
                entry.loader, weights=weights or entry.weights, device=self.device, **entry.options
            )

    # --- cases -----------------------------------------------------------------------

    def run(self, case: Case) -> CaseRecord:
        """Measure and judge a case.

        A measurement that fails does not raise: its record says why.
        """
        keys = self.plan.measurements(case)
        try:
            subject = self.subject(case.model)
            subject.embeddings.prepare(self.occlusion(key) for key in keys)
            # One measurement has both directions.
            measured = {
                key.fill: subject.measure(self.occlusion(key))
                for key in keys
                if key.direction == DIRECTIONS[0]
            }
        except GateError as error:
            failure = judge_failure(error, optional=self.plan.models[case.model].optional)
            return CaseRecord(case.id, tuple(unmeasured(self.plan, key, failure) for key in keys))
        needs_ranks = self.plan.needs_ranks
        results = [(key, measured[key.fill][key.direction]) for key in keys]
        return CaseRecord(
            case=case.id,
            measurements=tuple(self._judged(subject, key, measured[key.fill]) for key in keys),
            curve=tuple(
                CurvePoint(key.fill, key.direction, result.headline) for key, result in results
            ),
            protocol=self.protocol(case.model),
            ranks=tuple(
                Ranking(key.pattern, key.fill, key.level, key.direction, result.counts)
                for key, result in results
                if needs_ranks
            ),
            queries=_queries(subject) if needs_ranks else None,
        )

    def _judged(
        self, subject: Subject, key: MeasurementKey, measured: Measured
    ) -> MeasurementRecord:
        measurement = measured[key.direction]
        bounds = self.plan.thresholds.bounds(key, self.plan.evalset_kind)
        references = {CHANCE: measurement.chance}
        try:
            references |= self._references(subject, key, bounds)
            judgement = judge(
                measurement.estimates, bounds, references, gallery=measurement.counts.gallery_size
            )
        except GateError as error:
            judgement = Judgement(Verdict.FAIL, Reason.REFERENCE_FAILED, str(error))
        if key.level == 0 and (constant := _constant(measured)):
            judgement = Judgement(Verdict.FAIL, Reason.SCORES_CONSTANT, constant)
        if not measurement.hidden >= key.level / 2:
            # In small images a low level is less than a pixel, so the images are nearly clean.
            text = (
                f"{measurement.hidden:.3g} of the images' area is hidden where {key.level:g} is"
                " asked for; the images are too small for that level"
            )
            judgement = Judgement(Verdict.FAIL, Reason.NOTHING_HIDDEN, text)
        return replace(
            unmeasured(self.plan, key, judgement),
            n=measurement.n,
            labelled=measurement.labelled,
            metrics={
                name: EstimateRecord.of(estimate)
                for name, estimate in measurement.estimates.items()
            },
            chance={name: number(value) for name, value in measurement.chance.items()},
            hidden=measurement.hidden,
            bounds=tuple(BoundRecord.of(bound, references) for bound in bounds),
        )

    def _references(
        self, subject: Subject, key: MeasurementKey, bounds: Sequence[Bound]
    ) -> dict[str, dict[str, float]]:
        """Return the metrics of the other models that the bounds refer to.

        Raises:
            GateError: Such a model cannot be measured, or not on the same images.
        """
        names = {bound.reference for bound in bounds} - {None, CHANCE}
        return {name: self._reference(subject, key, name) for name in sorted(filter(None, names))}

    def _reference(self, subject: Subject, key: MeasurementKey, name: str) -> dict[str, float]:
        cached = (name, key.pattern, key.fill, key.level)
        problem = f"{key.model} cannot be compared with {name}"
        try:
            other = self.subject(name)
            if cached not in self._measured:
                case = Case(key.model, key.pattern, key.level)
                other.embeddings.prepare(
                    self.occlusion(each) for each in self.plan.measurements(case)
                )
                self._measured[cached] = other.measure(self.occlusion(key))
        except GateError as error:
            raise GateError(f"{problem}: {error}") from error
        if other.evalset.fingerprint != subject.evalset.fingerprint:
            raise GateError(
                f"{problem}: {key.model} is measured on {len(subject.evalset)} images, {name} on"
                f" {len(other.evalset)}, since they read different sections of the reports"
            )
        estimates = self._measured[cached][key.direction].estimates
        return {metric: estimate.value for metric, estimate in estimates.items()}

    def occlusion(self, key: MeasurementKey) -> Occlusion:
        """Return the occlusion of a measurement."""
        return Occlusion(key.pattern, key.level, key.fill, self.plan.thresholds.seed)

    def protocol(self, model: str) -> Protocol:
        """Return the facts that a model's measurements rest on, besides the plan."""
        plan, evalset, subject = self.plan, self.evalset, self.subject(model)
        entry, encoder = plan.models[model], subject.encoder
        excluded = Counter(evalset.excluded_by_reason)
        excluded.update(exclusion.reason for exclusion in subject.excluded)
        return Protocol(
            EvaluationSetProtocol(
                spec=plan.evalset,
                fingerprint=evalset.fingerprint,
                images=len(evalset),
                studies=len({pair.study_id for pair in evalset.pairs}),
                patients=len({pair.patient_id for pair in evalset.pairs}),
                excluded=evalset.excluded_by_reason,
                misnamed=evalset.misnamed,
            ),
            ModelProtocol(
                name=model,
                loader=entry.loader,
                fingerprint=encoder.fingerprint,
                embedding_dim=encoder.embedding_dim,
                text_policy=encoder.text_policy,
                options=dict(entry.options),
                details=dict(encoder.details),
                images=len(subject.evalset),
                texts=len(subject.matching.texts),
                excluded=dict(excluded),
            ),
        )

    def activity(self) -> Activity:
        """Return what this process did so far, for the timing block."""
        # Read what exists: a property that failed to be made must not be made again here.
        made = vars(self)
        return Activity(
            thresholds=self.plan.thresholds.sha256,
            device=made.get("device"),
            model_loads=self.model_loads,
            store=made["store"].counts if "store" in made else StoreCounts(),
            profile=self.profile.rounded(),
            peak_memory_mb=peak_memory(),
            peak_device_memory_mb=peak_device_memory(made.get("device")),
            fingerprints={
                name: (subject.encoder.fingerprint, subject.evalset.fingerprint)
                for name, subject in self._subjects.items()
            },
        )


def _queries(subject: Subject) -> Queries:
    return Queries(
        measured_on={
            "images and reports": subject.evalset.fingerprint,
            "text policy": encode(subject.encoder.text_policy),
        },
        patients=tuple(pair.patient_id for pair in subject.evalset.pairs),
        text_of_image=tuple(subject.matching.text_of_image.tolist()),
    )


def _constant(measured: Measured) -> str:
    """Return a message if all scores are equal, which no bound may pass on clean images."""
    for direction, measurement in measured.items():
        counts = measurement.counts
        others = counts.gallery_size - counts.positives
        if others.any() and not counts.greater.any() and (counts.equal == others).all():
            return f"{direction}: all scores are identical on clean images (collapsed embeddings)"
    return ""
