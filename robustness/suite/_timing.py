"""Timing cases: how fast a model embeds and how fast its embeddings rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from robustness.embedding import embed_images, embed_reports
from robustness.suite._load import subject_or_outcome

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from robustness.gate import Gate

SAMPLE = 128
"""Images and texts embedded a round."""


@pytest.mark.benchmark(group="embed images")
def test_image_embedding_speed(
    robustness_model: str, robustness_gate: Gate, benchmark: BenchmarkFixture
) -> None:
    """Preprocessing and encoding of decoded images."""
    subject = subject_or_outcome(robustness_gate, robustness_model)
    images = [subject.evalset.decode(pair) for pair in subject.evalset.pairs[:SAMPLE]]
    benchmark.extra_info |= {"items": len(images), "device": subject.encoder.device}
    size = robustness_gate.plan.batch_size
    assert len(benchmark(embed_images, subject.encoder, images, batch_size=size)) == len(images)


@pytest.mark.benchmark(group="embed reports")
def test_report_embedding_speed(
    robustness_model: str, robustness_gate: Gate, benchmark: BenchmarkFixture
) -> None:
    """Tokenising and encoding of report texts."""
    subject = subject_or_outcome(robustness_gate, robustness_model)
    texts = subject.matching.texts[:SAMPLE]
    benchmark.extra_info |= {"items": len(texts), "device": subject.encoder.device}
    size = robustness_gate.plan.batch_size
    assert len(benchmark(embed_reports, subject.encoder, texts, batch_size=size)) == len(texts)


@pytest.mark.benchmark(group="rank")
def test_ranking_speed(
    robustness_model: str, robustness_gate: Gate, benchmark: BenchmarkFixture
) -> None:
    """Both directions over the whole evaluation set, from embeddings in the store."""
    from robustness.measure import CLEAN

    subject = subject_or_outcome(robustness_gate, robustness_model)
    subject.images(CLEAN)
    benchmark.extra_info |= {"items": len(subject.evalset), "device": subject.encoder.device}
    counts = benchmark(subject.rank, CLEAN)
    assert len(counts["image_to_report"].counts) == len(subject.evalset)
