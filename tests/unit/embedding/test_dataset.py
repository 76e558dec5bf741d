"""Embeddings of a set: one pass for several occlusions, equal on the host and the device."""

from __future__ import annotations

import io
import threading
from collections import Counter

import numpy as np
import pytest

from robustness._util.profile import (
    DECODING,
    IMAGES,
    OCCLUSION,
    PREPROCESSING,
    STORE,
    TEXTS,
    Profile,
)
from robustness.embedding import Store
from robustness.perturbation.occlusion import CLEAN, Occlusion

OCCLUSIONS = [Occlusion("square", 0.3), CLEAN, Occlusion("grid", 0.5, "grey", 7)]
N = 10


class Counting:
    """An evaluation set that counts decodes, and a model that counts forward passes."""

    def __init__(self, evalset, encoder):
        from dataclasses import replace

        self.decoded, self.batches, self.threads = Counter(), [], set()
        self.evalset = replace(evalset, decode=self.decode)
        self.plain, self.encoder = evalset.decode, encoder

    def decode(self, pair):
        self.decoded[pair.image_id] += 1
        self.threads.add(threading.get_ident())
        return self.plain(pair)


@pytest.fixture
def counting(monkeypatch):
    from robustness.evalset import load as load_evalset
    from robustness.models.phantom import PhantomEncoder, load

    made = Counting(load_evalset(f"phantom:{N}"), load())
    encode = PhantomEncoder.encode_images

    def encode_images(self, pixels):
        made.batches.append(len(pixels))
        return encode(self, pixels)

    monkeypatch.setattr(PhantomEncoder, "encode_images", encode_images)
    return made


def embeddings(counting, folder, **settings):
    from robustness.embedding.dataset import Embeddings, EmbeddingSettings

    texts = list(dict.fromkeys(pair.report.text(("findings",)) for pair in counting.evalset.pairs))
    made = EmbeddingSettings(Store(folder), batch_size=4, **settings)
    return Embeddings(counting.encoder, counting.evalset, texts, made)


def test_several_occlusions_share_one_pass(counting, tmp_path):
    made = embeddings(counting, tmp_path)
    made.prepare([*OCCLUSIONS, Occlusion("grid", 0, "grey", 3), OCCLUSIONS[0]])
    assert counting.decoded == Counter({pair.image_id: 1 for pair in counting.evalset.pairs})
    assert Counter(counting.batches) == Counter({4: 6, 2: 3})
    for occlusion in OCCLUSIONS:
        made.images(occlusion)
    made.prepare(OCCLUSIONS[::-1])
    assert len(counting.batches) == 9, "nothing is embedded twice"


def test_only_missing_entries_are_embedded(counting, tmp_path):
    made = embeddings(counting, tmp_path)
    made.images(OCCLUSIONS[1])
    counting.batches.clear()
    made.prepare(OCCLUSIONS)
    assert sum(counting.batches) == 2 * N


def test_a_model_may_reuse_its_output_buffer(counting, tmp_path, monkeypatch):
    from robustness.models.phantom import PhantomEncoder

    expected = {o: embeddings(counting, tmp_path / "own").images(o)[0] for o in OCCLUSIONS}
    texts = embeddings(counting, tmp_path / "own").reports

    def into_buffer(encode):
        buffers = {}

        def encoded(self, given):
            rows = encode(self, given)
            return buffers.setdefault(rows.shape, rows.clone()).copy_(rows)

        return encoded

    for side in ("encode_images", "encode_reports"):
        monkeypatch.setattr(PhantomEncoder, side, into_buffer(getattr(PhantomEncoder, side)))
    made = embeddings(counting, tmp_path / "one")
    made.prepare(OCCLUSIONS)
    for occlusion, rows in expected.items():
        assert np.array_equal(made.images(occlusion)[0], rows)
    assert np.array_equal(made.reports, texts)


def test_embeddings_larger_than_the_limit_take_several_passes(counting, tmp_path, monkeypatch):
    import robustness.embedding.dataset as module

    monkeypatch.setattr(module, "MAX_PASS_BYTES", 2 * N * counting.encoder.embedding_dim * 4)
    embeddings(counting, tmp_path).prepare(OCCLUSIONS)
    assert set(counting.decoded.values()) == {2}
    assert sum(counting.batches) == 3 * N


@pytest.mark.parametrize("on_device", [False, True])
def test_one_pass_equals_embedding_each_occluded_image(counting, tmp_path, on_device):
    from robustness.embedding import embed_images

    made = embeddings(counting, tmp_path, on_device=on_device)
    made.prepare(OCCLUSIONS)
    pairs = counting.evalset.pairs
    for occlusion in OCCLUSIONS:
        rows, hidden = made.images(occlusion)
        images = [occlusion.apply(counting.plain(pair), pair.image_id) for pair in pairs]
        by_hand = embed_images(counting.encoder, images, batch_size=4)
        assert np.array_equal(rows, by_hand), "to the bit"
        masks = [
            occlusion.mask(pair.image_id, *image.shape).mean()
            for pair, image in zip(pairs, images, strict=True)
        ]
        assert hidden == np.mean(masks)


@pytest.mark.parametrize("on_device", [False, True])
def test_a_subset_is_embedded_separately(counting, tmp_path, on_device):
    made = embeddings(counting, tmp_path, on_device=on_device)
    whole, _ = made.images(OCCLUSIONS[0])
    part, _ = made.images(OCCLUSIONS[0], [7, 2, 9])
    assert np.abs(part - whole[[7, 2, 9]]).max() < 1e-5
    assert part.shape == (3, counting.encoder.embedding_dim)


def test_images_on_the_device_are_decoded_once_for_all_passes(counting, tmp_path):
    made = embeddings(counting, tmp_path, on_device=True)
    made._device_batches._room = 10**9
    for occlusion in OCCLUSIONS:
        made.images(occlusion)
    assert set(counting.decoded.values()) == {1}


def test_each_precision_has_its_own_entries(counting, tmp_path):
    first, _ = embeddings(counting, tmp_path).images(CLEAN)
    low, _ = embeddings(counting, tmp_path, precision="bfloat16").images(CLEAN)
    again, _ = embeddings(counting, tmp_path).images(CLEAN)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, low)
    assert np.abs(first - low).max() < 0.05
    assert sum(counting.batches) == 2 * N


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_error_of_nan_advises_another_precision(counting, tmp_path, monkeypatch, precision):
    """In float16 values above 65504 are infinite, and NaN once normalised."""
    import torch

    from robustness.errors import EmbeddingError

    model = type(counting.encoder)
    encode = model.encode_images
    low = getattr(torch, precision)

    def large(self, pixels):
        return torch.nn.functional.normalize((encode(self, pixels) * 1e6).to(low), dim=-1)

    monkeypatch.setattr(model, "encode_images", large)
    made = embeddings(counting, tmp_path, precision=precision)
    advice = "; computed in float16: try bfloat16 or float32"
    if precision != "float16":
        assert np.isfinite(made.images(CLEAN)[0]).all()
        monkeypatch.setattr(model, "encode_images", lambda self, pixels: encode(self, pixels) / 0)
        made = embeddings(counting, tmp_path / "other", precision=precision)
        advice = {"float32": "", "bfloat16": "; computed in bfloat16: try float32"}[precision]
    with pytest.raises(EmbeddingError) as caught:
        made.images(CLEAN)
    assert caught.value.code == "embedding_not_finite"
    first = counting.evalset.pairs[0].image_id
    message = f"PhantomEncoder embeds {N} of {N} images as NaN or infinite, the first {first!r}"
    assert str(caught.value) == message + advice


@pytest.mark.parametrize("on_device", [False, True])
def test_the_profile_counts_every_phase(counting, tmp_path, on_device):
    profile = Profile()
    made = embeddings(counting, tmp_path, profile=profile, on_device=on_device)
    made.prepare(OCCLUSIONS)
    reports = made.reports
    items = {name: phase.items for name, phase in profile.phases.items()}
    each = 3 * N
    assert items == {
        DECODING: N,
        OCCLUSION: each,
        PREPROCESSING: each,
        IMAGES: each,
        TEXTS: len(reports),
        STORE: 0,
    }
    assert all(phase.seconds > 0 for phase in profile.phases.values())


def test_only_the_main_thread_adds_to_the_profile_on_a_gpu(counting, tmp_path, monkeypatch):
    """Runs the GPU code of a model without device preprocessing, on the CPU."""
    import torch

    from robustness.embedding import dataset

    class Device:
        type = "cuda"

    expected, _ = embeddings(counting, tmp_path / "a").images(OCCLUSIONS[0])
    monkeypatch.setattr(dataset.torch, "device", lambda _name: Device)
    profile, counters = Profile(), set()
    phase = Profile.phase

    def watched(self, name, items=0):
        if self is profile:
            counters.add(threading.get_ident())
        return phase(self, name, items)

    monkeypatch.setattr(Profile, "phase", watched)
    counting.threads.clear()
    made = embeddings(counting, tmp_path / "b", profile=profile, on_device=False)
    rows, _ = made.images(OCCLUSIONS[0])
    monkeypatch.undo()
    assert torch.device("cpu").type == "cpu"
    assert np.array_equal(rows, expected)
    assert threading.get_ident() not in counting.threads
    assert counters == {threading.get_ident()}
    items = {name: phase.items for name, phase in profile.phases.items()}
    assert items == {DECODING: N, OCCLUSION: N, PREPROCESSING: N, IMAGES: N, STORE: 0}


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def columns(self):
        return 79


def test_progress_is_shown_on_a_terminal(counting, tmp_path, monkeypatch):
    monkeypatch.setattr("robustness._util.progress.MIN_DURATION_S", 0)
    stream = Terminal()
    made = embeddings(counting, tmp_path, stream=stream)
    made.prepare(OCCLUSIONS)
    assert made.reports.shape[1] == counting.encoder.embedding_dim
    text = stream.getvalue()
    assert "embedding " in text
    assert f"of {3 * N} images" in text
    assert "embedding reports " in text
    assert f"of {len(made.reports)} texts" in text


def test_an_error_of_the_decoder_is_raised_and_leaves_no_thread(counting, tmp_path):
    from robustness.errors import EvaluationSetError

    plain = counting.plain

    def broken(pair):
        if pair.image_id == counting.evalset.pairs[5].image_id:
            raise EvaluationSetError("image 5 is broken")
        return plain(pair)

    counting.plain = broken
    before = threading.active_count()
    for on_device in (False, True):
        made = embeddings(counting, tmp_path, on_device=on_device)
        with pytest.raises(EvaluationSetError, match="^image 5 is broken$"):
            made.prepare(OCCLUSIONS)
    assert threading.active_count() == before
