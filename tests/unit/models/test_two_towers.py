"""Tests of the published models in 16 bits: close to float32, which stays unchanged."""

from __future__ import annotations

import pytest
from support import cxr_clip_cases, hub_models, medclip_cases, reference_towers
from support.clinical_cases import small_case
from support.embeddings import distance, unit
from support.hub_models import KINDS, save_biomed, save_plain, save_transformers

from robustness.encoder import load

MODELS = [
    *(f"{name} {tower}" for name in ("medclip", "cxr_clip") for tower in ("swin", "resnet")),
    "open_clip plain",
    "open_clip biomed",
    *(f"transformers {kind}" for kind in KINDS),
]
CASES = {"medclip": medclip_cases, "cxr_clip": cxr_clip_cases}


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    hub_models.use_cache(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a function that loads each model once."""
    loaded = {}

    def of(name):
        if name not in loaded:
            loaded[name] = made(name, tmp_path_factory.mktemp(name.replace(" ", "-")))
        return loaded[name]

    return of


def made(name, folder):
    family, form = name.split()
    if family in CASES:
        return small_case(CASES[family], form, folder).encoder
    if family == "transformers":
        folder = save_transformers(form, folder / form)
    else:
        (save_plain if form == "plain" else save_biomed)(folder)
    return load(hub_models.LOADER, model=f"{family}:{folder}")


def inputs(name):
    if name.split()[0] in CASES:
        return reference_towers.radiographs()[:3], reference_towers.TEXTS[:3]
    return hub_models.radiographs()[:3], hub_models.TEXTS[:3]


def both(encoder, pixels, texts):
    return encoder.encode_images(pixels), encoder.encode_reports(texts)


def in_16_bits():
    """Return each model in each precision; ResNet-50 in float16 is very slow on a CPU."""
    for name in MODELS:
        yield name, "bfloat16"
        slow = [pytest.mark.slow] if name.endswith("resnet") else []
        yield pytest.param(name, "float16", marks=slow)


@pytest.mark.parametrize(("name", "precision"), list(in_16_bits()))
def test_sixteen_bits_are_near_and_leave_no_trace(models, name, precision):
    import torch

    encoder, (images, texts) = models(name), inputs(name)
    pixels = encoder.preprocess(images[:1] if precision == "float16" else images)
    full = both(encoder, pixels, texts)
    for _ in range(2):
        with encoder.computing_in(precision):
            low = both(encoder, pixels, texts)
    for rows, right in zip(low, full, strict=True):
        assert rows.dtype == torch.float32
        assert distance(rows.norm(dim=1), torch.ones(len(rows))) < 1e-5
        assert 0 < distance(rows, right) < 0.05
    for rows, right in zip(both(encoder, pixels, texts), full, strict=True):
        assert torch.equal(rows, right)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_weights_are_cast_like_in_torch(models, precision):
    import copy

    import open_clip
    import torch

    encoder, (images, texts) = models("open_clip plain"), inputs("open_clip plain")
    dtype = getattr(torch, precision)
    network = copy.deepcopy(encoder.network).to(dtype)
    tokens = open_clip.SimpleTokenizer(context_length=encoder.text_policy.max_tokens)(texts)
    pixels = encoder.preprocess(images)
    with torch.no_grad():
        expected = network.encode_image(pixels.to(dtype)), network.encode_text(tokens)
    with encoder.computing_in(precision):
        found = both(encoder, pixels, texts)
    for rows, right in zip(found, expected, strict=True):
        assert distance(rows, unit(right.float())) < 1e-6


def test_weights_that_are_shared_stay_shared_and_counters_stay_whole():
    import torch

    from robustness.models._encoder import _cast_copy

    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    network.append(network[0])
    low = _cast_copy(network, torch.bfloat16)
    assert low[2].weight is low[0].weight
    assert low[0].weight.dtype == low[1].running_var.dtype == torch.bfloat16
    assert low[1].num_batches_tracked.dtype == torch.int64
    assert not any(parameter.requires_grad for parameter in low.parameters())
    assert network[0].weight.dtype == torch.float32


def test_an_error_leaves_the_model_in_float32(models):
    encoder, (images, _) = models("open_clip plain"), inputs("open_clip plain")
    pixels = encoder.preprocess(images)
    full = encoder.encode_images(pixels)
    with pytest.raises(RuntimeError), encoder.computing_in("bfloat16"):
        encoder.encode_images(pixels[:, :1])
    assert distance(encoder.encode_images(pixels), full) == 0
