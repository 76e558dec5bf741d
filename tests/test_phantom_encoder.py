"""The reference encoder: the contract of every encoder, and that it can retrieve at all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness.encoder import load
from robustness.errors import UsageError, WeightsError, WeightsNotFoundError
from robustness.evalset import phantom
from robustness.evalset._text import match

LOADER = "models.phantom:load"
TEXTS = [
    "There is a large left pleural effusion.",
    "No acute disease.",
    "",
    "The heart is mildly enlarged. Right chest tube in place. No pneumothorax. " * 4,
    "xyzzy plugh",
]


@pytest.fixture(scope="module")
def encoder():
    return load(LOADER)


@pytest.fixture(scope="module")
def radiographs():
    return [phantom.Study(9, index).image() for index in range(9)]


def embed(encoder, images):
    return encoder.encode_images(encoder.preprocess(images)).numpy()


# --- the contract ----------------------------------------------------------------------


def test_embeddings_are_float32_rows_of_unit_norm(encoder, radiographs):
    for rows in (encoder.encode_images(encoder.preprocess(radiographs)),
                 encoder.encode_reports(TEXTS)):  # fmt: skip
        assert str(rows.dtype) == "torch.float32"
        assert not rows.requires_grad
        assert rows.shape[1] == encoder.embedding_dim
        np.testing.assert_allclose(np.linalg.norm(rows.numpy(), axis=1), 1, atol=1e-5)


def test_an_empty_batch_gives_no_rows(encoder):
    assert embed(encoder, []).shape == (0, encoder.embedding_dim)
    assert encoder.encode_reports([]).shape == (0, encoder.embedding_dim)


@pytest.fixture(scope="module")
def alone(encoder, radiographs):
    return np.concatenate([embed(encoder, [image]) for image in radiographs])


@settings(max_examples=8)
@given(order=st.lists(st.integers(0, 8), min_size=1, max_size=12))
def test_an_image_is_embedded_alike_whatever_stands_beside_it(encoder, radiographs, alone, order):
    together = embed(encoder, [radiographs[index] for index in order])
    np.testing.assert_allclose(together, alone[order], atol=1e-5)


words = st.sampled_from(
    ["left", "right", "effusion", "no", "heart", ".", ",", "tube", "xyzzy", "3"]
)


@settings(max_examples=20)
@given(texts=st.lists(st.lists(words, max_size=200).map(" ".join), min_size=1, max_size=8))
def test_a_text_is_embedded_alike_whatever_stands_beside_it(encoder, texts):
    alone = np.concatenate([encoder.encode_reports([text]).numpy() for text in texts])
    np.testing.assert_allclose(encoder.encode_reports(texts).numpy(), alone, atol=1e-5)


def test_what_is_beyond_the_limit_is_cut_and_what_is_within_counts(encoder):
    limit = encoder.text_policy.max_tokens
    full = " ".join(["effusion"] * limit)
    same, longer, shorter = encoder.encode_reports(
        [full, full + " large left mass", full.removesuffix("effusion") + "mass"]
    ).numpy()
    np.testing.assert_allclose(longer, same, atol=1e-5)
    assert np.abs(shorter - same).max() > 1e-4


def test_case_and_line_breaks_change_nothing(encoder):
    one, other = encoder.encode_reports(
        ["No effusion. Normal heart.", "NO EFFUSION.\nnormal  heart."]
    )
    np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_the_text_policy_reads_findings_then_impression(encoder):
    report = phantom.Study(0, 0).report()
    assert encoder.text_policy.text(report) == f"{report.findings} {report.impression}"


def test_no_report_of_the_set_is_cut(encoder):
    pairs = phantom.load("512").pairs
    lengths = [len(re.findall(r"\w+|[.:,]", encoder.text_policy.text(p.report))) for p in pairs]
    assert max(lengths) <= encoder.text_policy.max_tokens


# --- preprocessing ---------------------------------------------------------------------


def letterboxed(image):
    """The input the slow way: repeat every pixel 112 times, then average whole blocks."""
    side = max(image.shape)
    square = np.zeros((side, side))
    top, left = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    columns = np.repeat(square, 112, axis=1).reshape(side, 112, side).mean(2)
    cells = np.repeat(columns, 112, axis=0).reshape(112, side, 112).mean(1)
    return (cells / 255 - 0.45) / 0.25


@settings(max_examples=25)
@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 99))
def test_any_size_is_letterboxed_and_averaged_by_area(encoder, height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    pixels = encoder.preprocess([image]).numpy()
    assert pixels.shape == (1, 1, 112, 112)
    np.testing.assert_allclose(pixels[0, 0], letterboxed(image), atol=1e-6)


def test_mixed_sizes_keep_their_order_and_their_exact_pixels(encoder):
    rng = np.random.default_rng(0)
    shapes = [(224, 224), (300, 200), (224, 224), (60, 90), (300, 200), (1, 5)]
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    together = encoder.preprocess(images).numpy()
    for pixels, image in zip(together, images, strict=True):
        np.testing.assert_array_equal(pixels, encoder.preprocess([image]).numpy()[0])


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_what_is_no_image_is_refused(encoder, image):
    with pytest.raises(ValueError, match="image 1"):
        encoder.preprocess([np.zeros((4, 4), np.uint8), image])


# --- retrieval -------------------------------------------------------------------------


def hit_at_10(encoder, embedded, texts):
    matching = match(texts, [str(row) for row in range(len(texts))], "identical_text")
    scores = embedded @ encoder.encode_reports(matching.texts).numpy().T
    right = scores[np.arange(len(embedded)), matching.text_of_image]
    return ((scores > right[:, None]).sum(1) < 10).mean()


class Fresh(NamedTuple):
    """A set of a seed that nothing was tuned on, and how well it is retrieved."""

    images: list
    texts: list
    embedded: np.ndarray
    clean: float


@pytest.fixture(scope="module")
def fresh(encoder):
    pairs = phantom.load("256:1")
    images = [pairs.decode(pair) for pair in pairs.pairs]
    texts = [encoder.text_policy.text(pair.report) for pair in pairs.pairs]
    embedded = embed(encoder, images)
    return Fresh(images, texts, embedded, hit_at_10(encoder, embedded, texts))


def test_a_fresh_seed_is_retrieved(fresh):
    assert fresh.clean > 0.85


def test_swapped_sides_in_the_text_ruin_retrieval(encoder, fresh):
    opposite = {"left": "right", "right": "left"}
    swapped = [
        re.sub(r"\b(left|right)\b", lambda found: opposite[found[0]], text.lower())
        for text in fresh.texts
    ]
    assert hit_at_10(encoder, fresh.embedded, swapped) < fresh.clean - 0.2


def test_mirrored_images_ruin_retrieval(encoder, fresh):
    mirrored = embed(encoder, [np.ascontiguousarray(image[:, ::-1]) for image in fresh.images])
    assert hit_at_10(encoder, mirrored, fresh.texts) < fresh.clean - 0.4


@pytest.mark.parametrize("fill", [0, 128])
def test_half_the_image_hidden_is_worse_than_clean_and_better_than_chance(encoder, fresh, fill):
    hidden = [image.copy() for image in fresh.images]
    for row, image in enumerate(hidden):
        first = (37 * row) % 113
        image[:, first : first + 112] = fill
    chance = 10 / len(set(fresh.texts))
    assert 3 * chance < hit_at_10(encoder, embed(encoder, hidden), fresh.texts) < fresh.clean - 0.1


# --- the weights -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def good():
    """The tensors and the metadata of the weights that come with the package."""
    from safetensors import safe_open

    from models.phantom import WEIGHTS

    with safe_open(WEIGHTS, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.fixture
def written(tmp_path):
    """Writes tensors and metadata as a weights file."""

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
    from models.phantom import WEIGHTS

    assert WEIGHTS.stat().st_size < 3_000_000


def test_the_details_name_the_weights_the_licence_and_the_source(encoder):
    import hashlib

    from models.phantom import WEIGHTS

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
    from models.phantom import WEIGHTS

    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(WEIGHTS.read_bytes())
    assert load(LOADER, weights=copy).fingerprint == encoder.fingerprint
    assert load(LOADER, weights=str(copy)).fingerprint == encoder.fingerprint


def test_loading_leaves_the_global_random_numbers_alone():
    import torch

    before = torch.get_rng_state()
    load(LOADER)
    assert torch.equal(torch.get_rng_state(), before)


def test_absent_weights_are_told_apart_from_bad_ones(tmp_path):
    refusal(tmp_path / "absent.safetensors", WeightsNotFoundError)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04\x95pickle." * 9, "half"])
def test_a_file_that_is_no_whole_safetensors_file_is_refused(tmp_path, content):
    from models.phantom import WEIGHTS

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


def test_training_runs_twice_to_the_same_weights(tmp_path):
    import torch

    from models import train_phantom

    studies = [phantom.Study(0, index, phantom.Purpose.TRAINING) for index in range(128)]
    images = torch.from_numpy(np.stack([study.image() for study in studies]))
    from models._phantom_pixels import shrink

    data = train_phantom.TrainingSet(
        shrink(images),
        [study.report().text(("findings", "impression")) for study in studies],
        torch.from_numpy(np.stack([phantom.labels(study.findings) for study in studies])),
    )
    files = [tmp_path / name for name in ("one.safetensors", "two.safetensors")]
    for path in files:
        train_phantom.save(*train_phantom.train(data, steps=2, seed=4), path)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert load(LOADER, weights=files[0]).embedding_dim == 192


def test_training_occludes_from_nothing_to_three_quarters():
    import torch

    from models import train_phantom

    pixels = torch.full((600, 1, 112, 112), 9.0)
    generator = torch.Generator().manual_seed(0)
    shares = (train_phantom.occlude(pixels, generator) != 9).float().mean((1, 2, 3))
    assert 0.3 < (shares == 0).float().mean() < 0.5
    assert 0.6 < shares.max() < 0.85
    assert (pixels == 9).all()


def test_the_training_command_states_its_options():
    command = [sys.executable, "-m", "models.train_phantom", "--help"]
    root = Path(__file__).resolve().parents[1]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout
    assert "--out" in told
    assert "--steps" in told
    assert "--seed" in told
