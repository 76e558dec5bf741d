"""Timing cases: how fast a model embeds and how fast its embeddings rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

import pytest

from robustness.embedding import embed_images, embed_reports
from robustness.suite._load import in_one_line, subject_or_outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

    from robustness.gate import Gate

SAMPLE = 128
"""Images and texts embedded a round."""

P = ParamSpec("P")
R = TypeVar("R")


def synchronised(function: Callable[P, R], device: str) -> Callable[P, R]:
    """A function that begins when the device is idle and ends when it is idle again.

    CUDA runs beside Python: else a call would be charged what the last one left to do, and
    not what it leaves itself.

    Args:
        function: What is timed.
        device: The torch device it works on; only CUDA is waited for.
    """
    if not device.startswith("cuda"):
        return function
    import torch

    def timed(*args: P.args, **kwargs: P.kwargs) -> R:
        torch.cuda.synchronize(device)
        result = function(*args, **kwargs)
        torch.cuda.synchronize(device)
        return result

    return timed


@pytest.mark.benchmark(group="embed images")
@in_one_line()
def test_image_embedding_speed(
    robustness_model: str, robustness_gate: Gate, benchmark: BenchmarkFixture
) -> None:
    """Preprocessing and encoding of decoded images."""
    subject = subject_or_outcome(robustness_gate, robustness_model)
    images = [subject.evalset.decode(pair) for pair in subject.evalset.pairs[:SAMPLE]]
    benchmark.extra_info |= {"items": len(images), "device": subject.encoder.device}
    asked = {"batch_size": subject.batch_size, "precision": subject.precision}
    timed = synchronised(embed_images, subject.encoder.device)
    assert len(benchmark(timed, subject.encoder, images, **asked)) == len(images)


@pytest.mark.benchmark(group="embed reports")
@in_one_line()
def test_report_embedding_speed(
    robustness_model: str, robustness_gate: Gate, benchmark: BenchmarkFixture
) -> None:
    """Tokenising and encoding of report texts."""
    subject = subject_or_outcome(robustness_gate, robustness_model)
    texts = subject.matching.texts[:SAMPLE]
    benchmark.extra_info |= {"items": len(texts), "device": subject.encoder.device}
    asked = {"batch_size": subject.batch_size, "precision": subject.precision}
    timed = synchronised(embed_reports, subject.encoder.device)
    assert len(benchmark(timed, subject.encoder, texts, **asked)) == len(texts)


@pytest.mark.benchmark(group="rank")
@in_one_line()
def test_ranking_speed(
    robustness_model: str, robustness_gate: Gate, benchmark: BenchmarkFixture
) -> None:
    """Both directions over the whole evaluation set, from embeddings in the store."""
    from robustness.measure import CLEAN

    subject = subject_or_outcome(robustness_gate, robustness_model)
    subject.images(CLEAN)
    benchmark.extra_info |= {"items": len(subject.evalset), "device": subject.encoder.device}
    counts = benchmark(synchronised(subject.rank, subject.encoder.device), CLEAN)
    assert len(counts["image_to_report"].counts) == len(subject.evalset)
