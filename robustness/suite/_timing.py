"""Timing cases: speed of embedding and of ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

import pytest

from robustness.embedding import embed_images, embed_reports
from robustness.suite._cases import loaded_subject, one_line_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

    from robustness.run.gate import Gate

SAMPLE_SIZE = 128
"""Number of images and of texts embedded per round."""

P = ParamSpec("P")
R = TypeVar("R")


def synchronised(function: Callable[P, R], device: str) -> Callable[P, R]:
    """Wrap a function to wait until the device is idle before and after each call.

    CUDA kernels run asynchronously: otherwise a call would be charged for work queued by the
    previous one, and not for its own.

    Args:
        function: Function to time.
        device: Torch device of the function. Functions of other devices than CUDA are returned
            unchanged.
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
@one_line_failure()
def test_image_embedding_speed(
    robustness_model: str, robustness_gate: Gate, benchmark: BenchmarkFixture
) -> None:
    """Time preprocessing and encoding of decoded images."""
    subject, encoder = loaded_subject(robustness_gate, robustness_model)
    images = [subject.evalset.decode(pair) for pair in subject.evalset.pairs[:SAMPLE_SIZE]]
    benchmark.extra_info |= {"items": len(images), "device": encoder.device}
    settings = {"batch_size": subject.settings.batch_size, "precision": subject.settings.precision}
    timed = synchronised(embed_images, encoder.device)
    assert len(benchmark(timed, encoder, images, **settings)) == len(images)


@pytest.mark.benchmark(group="embed reports")
@one_line_failure()
def test_report_embedding_speed(
    robustness_model: str, robustness_gate: Gate, benchmark: BenchmarkFixture
) -> None:
    """Time tokenising and encoding of report texts."""
    subject, encoder = loaded_subject(robustness_gate, robustness_model)
    texts = subject.matching.texts[:SAMPLE_SIZE]
    benchmark.extra_info |= {"items": len(texts), "device": encoder.device}
    settings = {"batch_size": subject.settings.batch_size, "precision": subject.settings.precision}
    timed = synchronised(embed_reports, encoder.device)
    assert len(benchmark(timed, encoder, texts, **settings)) == len(texts)


@pytest.mark.benchmark(group="rank")
@one_line_failure()
def test_ranking_speed(
    robustness_model: str, robustness_gate: Gate, benchmark: BenchmarkFixture
) -> None:
    """Time ranking in both directions over the whole evaluation set, from stored embeddings."""
    from robustness.perturbation.occlusion import CLEAN

    subject, encoder = loaded_subject(robustness_gate, robustness_model)
    subject.embeddings.images(CLEAN)
    benchmark.extra_info |= {"items": len(subject.evalset), "device": encoder.device}
    counts = benchmark(synchronised(subject.rank, encoder.device), CLEAN)
    assert len(counts["image_to_report"].counts) == len(subject.evalset)
