"""Decode once: which images are decoded, when, by how many processes, in how much memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.decoded_images import Source, files, holds_all, pixels

from robustness.embedding import Store, decode_once
from robustness.embedding._decoded import CHUNK_SIZE
from robustness.evalset import EvaluationSet
from robustness.perturbation.occlusion import Occlusion

REPOSITORY = Path(__file__).parents[3]


def test_the_first_use_decodes_all_images(tmp_path):
    source = Source(2 * CHUNK_SIZE + 5)
    store = Store(tmp_path)
    evalset = decode_once(source.set(), store)
    assert not source.decoded
    evalset.decode(evalset.pairs[7])
    assert source.decoded == Counter(range(2 * CHUNK_SIZE + 5))
    assert threading.get_ident() not in source.threads
    assert holds_all(evalset)
    assert source.decoded == Counter(range(2 * CHUNK_SIZE + 5))
    assert (store.counts.computed, store.counts.found, store.counts.damaged) == (3, 0, 0)


def test_a_later_run_decodes_nothing(tmp_path):
    first, second = Source(CHUNK_SIZE + 1), Source(CHUNK_SIZE + 1)
    decode_once(first.set(), Store(tmp_path)).decode(first.pairs[0])
    store = Store(tmp_path)
    assert holds_all(decode_once(second.set(), store))
    assert not second.decoded
    assert (store.counts.computed, store.counts.found, store.counts.damaged) == (0, 2, 0)


def test_equal_content_under_another_id_is_found(tmp_path):
    first, second = Source(20), Source(20, prefix="other")
    decode_once(first.set(), Store(tmp_path)).decode(first.pairs[0])
    assert holds_all(decode_once(second.set(), Store(tmp_path)))
    assert not second.decoded


def test_a_changed_image_decodes_only_its_file_again(tmp_path):
    source = Source(3 * CHUNK_SIZE)
    decode_once(source.set(), Store(tmp_path)).decode(source.pairs[0])
    source.decoded.clear()
    changed = list(source.pairs)
    changed[CHUNK_SIZE + 3] = replace(changed[CHUNK_SIZE + 3], digest="another")
    evalset = EvaluationSet("made", tuple(changed), source.decode)
    store = Store(tmp_path)
    assert holds_all(decode_once(evalset, store))
    assert source.decoded == Counter(range(CHUNK_SIZE, 2 * CHUNK_SIZE))
    assert (store.counts.computed, store.counts.found) == (1, 2)


def test_a_subset_reads_the_images_of_its_set(tmp_path):
    source = Source(CHUNK_SIZE + 40)
    evalset = decode_once(source.set(), Store(tmp_path))
    part = evalset.subset([CHUNK_SIZE + 30, 2, CHUNK_SIZE - 1])
    assert [p.image_id for p in part.pairs] == [f"image-{CHUNK_SIZE + 30}", "image-2", "image-127"]
    assert holds_all(part)
    assert holds_all(evalset)
    assert set(source.decoded.values()) == {1}


def test_images_are_read_only_views(tmp_path):
    source = Source(3)
    evalset = decode_once(source.set(), Store(tmp_path))
    image = evalset.decode(evalset.pairs[1])
    assert (type(image), image.dtype, image.shape) == (np.ndarray, np.uint8, pixels(1).shape)
    assert not image.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0] = 1
    for level in (0, 0.5):
        hidden = Occlusion("square", level).apply(image, "image-1")
        assert hidden.flags.writeable
    assert (image == pixels(1)).all()


def test_an_image_outlives_its_mapping_and_its_file(tmp_path):
    source = Source(8 * CHUNK_SIZE)
    evalset = decode_once(source.set(), Store(tmp_path))
    image = evalset.decode(evalset.pairs[0])
    assert holds_all(evalset)
    for path in files(tmp_path):
        path.unlink()
    assert (image == pixels(0)).all()


def test_published_models_take_read_only_images(tmp_path):
    from robustness.embedding import embed_images
    from robustness.encoder import load
    from robustness.evalset import load as load_evalset

    plain = load_evalset("phantom:3")
    evalset = decode_once(plain, Store(tmp_path))
    encoder = load("robustness.models.phantom:load", weights=None, device="cpu")
    from_cache = embed_images(encoder, [evalset.decode(p) for p in evalset.pairs])
    direct = embed_images(encoder, [plain.decode(p) for p in plain.pairs])
    assert (from_cache == direct).all()


# --- processes -----------------------------------------------------------------------

WORKER = """
import json, os, resource, sys, time
import numpy as np
from pathlib import Path
from robustness.embedding import Store, decode_once
from robustness.evalset import EvaluationSet, Pair, Report

root, images, side, log = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

def decode(pair):
    image = np.full((side, side), int(pair.image_id) % 251, np.uint8)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{pair.image_id} {os.getpid()}\\n".encode())
    os.close(descriptor)
    return image

pairs = tuple(Pair(str(i), str(i), str(i), "PA", Report(findings="x"), f"d{i}")
              for i in range(images))
store = Store(root)
evalset = decode_once(EvaluationSet("made", pairs, decode), store)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
evalset.decode(pairs[0])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
right = all((evalset.decode(p) == int(p.image_id) % 251).all() for p in pairs)
print(json.dumps({"right": right, "grown": (after - before) / 1024, "found": store.counts.found,
                  "computed": store.counts.computed, "damaged": store.counts.damaged}))
"""


def start(tmp_path, images, side):
    command = [sys.executable, "-c", WORKER, tmp_path / "store", images, side, tmp_path / "log"]
    return subprocess.Popen(
        [str(part) for part in command], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )


def test_processes_share_the_work_and_decode_each_image_once(tmp_path):
    images = 12 * CHUNK_SIZE
    processes = [start(tmp_path, images, 64) for _ in range(4)]
    outcomes = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert all(outcome["right"] for outcome in outcomes)
    decoded = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert Counter(decoded) == Counter(str(number) for number in range(images))
    assert sum(outcome["computed"] for outcome in outcomes) == 12
    assert all(outcome["computed"] + outcome["found"] == 12 for outcome in outcomes)
    assert all(outcome["damaged"] == 0 for outcome in outcomes)


def test_the_first_pass_needs_the_memory_of_a_few_images(tmp_path):
    # 600 images of 1 MB: the set has 600 MB, a file 128 MB.
    process = start(tmp_path, 600, 1024)
    outcome = json.loads(process.communicate(timeout=120)[0])
    assert outcome["right"]
    assert outcome["grown"] < 64
