"""Padded batches, cached on a device while there is room, and prefetched by a thread."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest
from support.decoded_images import Source, pixels

from robustness.embedding.padded import DeviceBatches, pad, prefetch


def check_batches(device_batches, source, size):
    """Read all batches once, and compare their images."""
    batches = [source.pairs[start : start + size] for start in range(0, len(source.pairs), size)]
    for padded, pairs in zip(device_batches(batches, source.decode), batches, strict=True):
        for image, shape, pair in zip(padded.images, padded.sizes, pairs, strict=True):
            expected = pixels(int(pair.image_id.rpartition("-")[2]))
            assert shape == expected.shape
            assert np.array_equal(image[: shape[0], : shape[1]].numpy(), expected)


def test_images_are_padded_at_the_bottom_and_right():
    import torch

    images = [pixels(number) for number in range(6)]
    batch = pad(images)
    assert batch.images.dtype == torch.uint8
    assert tuple(batch.images.shape) == (6, 12, 11)
    assert batch.sizes == tuple(image.shape for image in images)
    for row, image in zip(batch.images, images, strict=True):
        assert np.array_equal(row[: image.shape[0], : image.shape[1]].numpy(), image)


@pytest.mark.parametrize(("room", "n_cached"), [(0, 0), (600, 1), (10**6, 3)])
def test_batches_are_cached_while_there_is_room(room, n_cached):
    source = Source(12)
    batches = DeviceBatches("cpu", room=room)
    for _ in range(3):
        check_batches(batches, source, 4)
    assert batches._room == room - sum(batch.images.nbytes for batch in batches._cached.values())
    expected = {number: 1 if number < 4 * n_cached else 3 for number in range(12)}
    assert source.decoded == Counter(expected)


def test_nothing_is_cached_on_the_cpu_by_default():
    source = Source(4)
    batches = DeviceBatches("cpu")
    check_batches(batches, source, 4)
    check_batches(batches, source, 4)
    assert set(source.decoded.values()) == {2}


def test_other_batches_of_the_same_images_are_cached_separately():
    source = Source(6)
    batches = DeviceBatches("cpu", room=10**6)
    for size in (6, 2, 3, 2):
        check_batches(batches, source, size)
    assert set(source.decoded.values()) == {3}


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)],
    ids=["float", "colour", "empty"],
)
def test_an_invalid_image_is_named(image):
    with pytest.raises(ValueError, match=r"^image 1 is .*; an image is uint8 \[height, width\]"):
        pad([np.zeros((4, 4), np.uint8), image])


def test_embed_images_preprocesses_on_a_gpu(monkeypatch):
    from robustness.embedding import embed_images, padded
    from robustness.models.phantom import PhantomEncoder, load

    encoder, images = load(), [pixels(number) for number in range(5)]
    expected = embed_images(encoder, images, batch_size=2)
    monkeypatch.setattr(padded, "uses_gpu", lambda _encoder: True)
    monkeypatch.delattr(PhantomEncoder, "preprocess")
    assert np.array_equal(embed_images(encoder, images, batch_size=2), expected)


# --- prefetch ------------------------------------------------------------------------


def test_items_of_any_type_come_in_order():
    items = [None, 0, [], (), "x"]
    assert list(prefetch(items)) == items
    assert list(prefetch([])) == []


def test_one_item_is_made_ahead_in_one_other_thread():
    made, makers, second = [], set(), threading.Event()

    def items():
        for number in range(5):
            made.append(number)
            makers.add(threading.get_ident())
            if number == 1:
                second.set()
            yield number

    prefetched = prefetch(items())
    assert next(prefetched) == 0
    assert second.wait(20), "the next item is made while the first is used"
    assert 2 not in made, "and none beyond it"
    assert list(prefetched) == [1, 2, 3, 4]
    assert len(makers) == 1
    assert threading.get_ident() not in makers


def test_an_error_is_raised_in_its_item_s_turn():
    def items():
        yield 0
        raise ValueError("item 1")

    prefetched = prefetch(items())
    assert next(prefetched) == 0
    with pytest.raises(ValueError, match="item 1"):
        next(prefetched)


def test_an_abandoned_iteration_leaves_no_thread():
    before = threading.active_count()
    prefetched = prefetch(range(9))
    assert next(prefetched) == 0
    prefetched.close()
    assert threading.active_count() == before
