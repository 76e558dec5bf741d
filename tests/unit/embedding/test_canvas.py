"""Images in padded batches: laid out right, kept while there is room, else read again."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from support.decoded_images import Source, pixels


def batches_of(source, size):
    return [source.pairs[start : start + size] for start in range(0, len(source.pairs), size)]


def read(canvases, source, size):
    """Reads all the batches once; each holds the images it should."""
    batches = batches_of(source, size)
    for canvas, pairs in zip(canvases(batches, source.decode), batches, strict=True):
        for image, shape, pair in zip(canvas.images, canvas.sizes, pairs, strict=True):
            expected = pixels(int(pair.image_id.rpartition("-")[2]))
            assert shape == expected.shape
            assert np.array_equal(image[: shape[0], : shape[1]].numpy(), expected)


def test_images_lie_at_the_top_left():
    import torch

    from robustness.embedding.canvas import lay

    images = [pixels(number) for number in range(6)]
    canvas = lay(images)
    assert canvas.images.dtype == torch.uint8
    assert tuple(canvas.images.shape) == (6, 12, 11)
    assert canvas.sizes == tuple(image.shape for image in images)
    for row, image in zip(canvas.images, images, strict=True):
        assert np.array_equal(row[: image.shape[0], : image.shape[1]].numpy(), image)


@pytest.mark.parametrize(("room", "kept"), [(0, 0), (600, 1), (10**6, 3)])
def test_batches_stay_while_there_is_room(room, kept):
    from robustness.embedding.canvas import Canvases

    source = Source(12)
    canvases = Canvases("cpu", room=room)
    for _ in range(3):
        read(canvases, source, 4)
    assert canvases._room == room - sum(canvas.images.nbytes for canvas in canvases._kept.values())
    expected = {number: 1 if number < 4 * kept else 3 for number in range(12)}
    assert source.decoded == Counter(expected)


def test_nothing_stays_on_the_cpu_unless_told_to():
    from robustness.embedding.canvas import Canvases

    source = Source(4)
    canvases = Canvases("cpu")
    read(canvases, source, 4)
    read(canvases, source, 4)
    assert set(source.decoded.values()) == {2}


def test_other_batches_of_the_same_images_are_batches_of_their_own():
    from robustness.embedding.canvas import Canvases

    source = Source(6)
    canvases = Canvases("cpu", room=10**6)
    for size in (6, 2, 3, 2):
        read(canvases, source, size)
    assert set(source.decoded.values()) == {3}


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)],
    ids=["float", "colour", "empty"],
)
def test_what_is_no_image_is_named(image):
    from robustness.embedding.canvas import lay

    with pytest.raises(ValueError, match=r"^image 1 is .*; an image is uint8 \[height, width\]"):
        lay([np.zeros((4, 4), np.uint8), image])


def test_images_by_themselves_are_preprocessed_on_a_gpu_too(monkeypatch):
    from robustness.embedding import canvas, embed_images
    from robustness.models.phantom import PhantomEncoder, load

    encoder, images = load(), [pixels(number) for number in range(5)]
    expected = embed_images(encoder, images, batch_size=2)
    monkeypatch.setattr(canvas, "on_gpu", lambda _encoder: True)
    monkeypatch.delattr(PhantomEncoder, "preprocess")
    assert np.array_equal(embed_images(encoder, images, batch_size=2), expected)
