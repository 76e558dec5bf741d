"""Tests of the reference encoder's weights: the file, refusals and training."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from robustness.encoder import load
from robustness.errors import UsageError, WeightsError, WeightsNotFoundError
from robustness.evalset import phantom

LOADER = "robustness.models.phantom:load"


@pytest.fixture(scope="module")
def encoder():
    return load(LOADER)


# --- the weights -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def good():
    """Return the tensors and the metadata of the weights in the package."""
    from safetensors import safe_open

    from robustness.models.phantom import WEIGHTS

    with safe_open(WEIGHTS, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, file.metadata()


@pytest.fixture
def written(tmp_path):
    """Return a function that writes tensors and metadata to a weights file."""

    def write(tensors, metadata):
        from safetensors.torch import save_file

        path = tmp_path / "weights.safetensors"
        save_file(tensors, path, metadata=metadata)
        return path

    return write


def refusal(path, kind=WeightsError):
    with pytest.raises(kind) as caught:
        load(LOADER, weights=path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert str(path) in message
    return message


def test_the_weights_are_small():
    from robustness.models.phantom import WEIGHTS

    assert WEIGHTS.stat().st_size < 3_000_000


def test_the_details_name_the_weights_the_licence_and_the_source(encoder):
    import hashlib

    from robustness.models.phantom import WEIGHTS

    assert encoder.details["weights_sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert encoder.details["licence"]
    assert encoder.details["source"]


def test_the_fingerprint_follows_the_weights_and_the_vocabulary(encoder, good, written):
    tensors, metadata = good
    assert load(LOADER).fingerprint == encoder.fingerprint
    shifted = {**tensors, "image.head.bias": tensors["image.head.bias"] + 0.25}
    retrained = load(LOADER, weights=written(shifted, metadata)).fingerprint
    vocabulary = json.loads(metadata["vocabulary"])
    renamed = {"vocabulary": json.dumps(["zzz", *vocabulary[1:]])}
    reworded = load(LOADER, weights=written(tensors, renamed)).fingerprint
    assert len({encoder.fingerprint, retrained, reworded}) == 3


def test_the_same_weights_elsewhere_are_the_same_encoder(encoder, tmp_path):
    from robustness.models.phantom import WEIGHTS

    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(WEIGHTS.read_bytes())
    assert load(LOADER, weights=copy).fingerprint == encoder.fingerprint
    assert load(LOADER, weights=str(copy)).fingerprint == encoder.fingerprint


def test_loading_leaves_the_global_random_numbers_alone():
    import torch

    before = torch.get_rng_state()
    load(LOADER)
    assert torch.equal(torch.get_rng_state(), before)


def test_missing_weights_have_their_own_error(tmp_path):
    refusal(tmp_path / "absent.safetensors", WeightsNotFoundError)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04\x95pickle." * 9, "half"])
def test_damaged_safetensors_files_are_refused(tmp_path, content):
    from robustness.models.phantom import WEIGHTS

    path = tmp_path / "weights.safetensors"
    path.write_bytes(WEIGHTS.read_bytes()[:900_000] if content == "half" else content)
    assert "safetensors" in refusal(path)


def test_a_directory_is_refused(tmp_path):
    refusal(tmp_path)


def test_missing_and_unexpected_tensors_are_named(good, written):
    tensors, metadata = good
    fewer = {name: tensors[name] for name in tensors if name != "text.head.1.bias"}
    assert "text.head.1.bias" in refusal(written(fewer, metadata))
    more = {**tensors, "extra.weight": tensors["text.head.1.bias"].clone()}
    assert "extra.weight" in refusal(written(more, metadata))


def test_a_wrong_shape_is_named(good, written):
    tensors, metadata = good
    cut = {**tensors, "image.head.bias": tensors["image.head.bias"][:-1].clone()}
    assert "image.head.bias" in refusal(written(cut, metadata))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(good, written, value):
    tensors, metadata = good
    spoilt = tensors["text.first.weight"].clone()
    spoilt[0, 0, 0] = value
    assert "text.first.weight" in refusal(
        written({**tensors, "text.first.weight": spoilt}, metadata)
    )


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {"vocabulary": "not json"}, {"vocabulary": "[]"}, {"vocabulary": "[1, 2]"},
     {"vocabulary": '{"a": 1}'}],
)  # fmt: skip
def test_a_missing_vocabulary_is_refused(good, written, metadata):
    assert "vocabulary" in refusal(written(good[0], metadata))


def test_a_vocabulary_of_another_length_is_refused(good, written):
    tensors, metadata = good
    shorter = json.dumps(json.loads(metadata["vocabulary"])[:-1])
    assert "text.embedding.weight" in refusal(written(tensors, {"vocabulary": shorter}))


def test_an_option_is_refused_in_one_line():
    with pytest.raises(UsageError, match="'tokenizer'") as caught:
        load(LOADER, tokenizer="words.txt")
    assert len(str(caught.value).splitlines()) == 1


# --- training --------------------------------------------------------------------------


TRAINING = Path(__file__).resolve().parents[3] / "benchmarks" / "train_phantom.py"


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(TRAINING.parent)
    return import_module(TRAINING.stem)


def test_training_runs_twice_to_the_same_weights(training, tmp_path):
    import torch

    studies = [phantom.Study(0, index, phantom.Purpose.TRAINING) for index in range(128)]
    images = torch.from_numpy(np.stack([study.image() for study in studies]))
    from robustness.models._phantom_network import shrink

    data = training.TrainingSet(
        shrink(images),
        [study.report().text(("findings", "impression")) for study in studies],
        torch.from_numpy(np.stack([phantom.labels(study.findings) for study in studies])),
    )
    files = [tmp_path / name for name in ("one.safetensors", "two.safetensors")]
    for path in files:
        training.save(*training.train(data, steps=2, seed=4), path)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert load(LOADER, weights=files[0]).embedding_dim == 192


def test_training_occludes_from_nothing_to_three_quarters(training):
    import torch

    pixels = torch.full((600, 1, 112, 112), 9.0)
    generator = torch.Generator().manual_seed(0)
    shares = (training.occlude(pixels, generator) != 9).float().mean((1, 2, 3))
    assert 0.3 < (shares == 0).float().mean() < 0.5
    assert 0.6 < shares.max() < 0.85
    assert (pixels == 9).all()


def test_the_training_command_states_its_options():
    command = [sys.executable, TRAINING, "--help"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--out" in output
    assert "--steps" in output
    assert "--seed" in output
