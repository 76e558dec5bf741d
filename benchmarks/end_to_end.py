"""What the gate costs from end to end, beside the bare forward passes of the same model.

An open_clip ViT-B-32 with weights from a seed is measured on real radiographs at eight
levels of a square. The gate runs as ``pytest -m robustness`` in a user's repository: it
loads the model, reads the decoded images, hides, resizes, embeds, stores, ranks, resamples
and writes its report. The bare passes embed the same pixels, prepared before the clock
starts, in the same batches, images once a level and texts once. Every run is a process of
its own; the two take turns. Outside the clock, and stated apart: starting Python and its
imports, and the first decoding of the images.

    python benchmarks/end_to_end.py --images 500 --runs 3
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from _scratch import load_model, run_gate, vit_checkpoint, write_repository
from _side_by_side import Figures, alone, in_turns, peak_megabytes, pin, synchronise

LEVELS = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7"
OPEN_I = Path(__file__).resolve().parents[2] / "shared" / "open_i"
MODEL, CHECKPOINT, STORE = "ViT-B-32", "vit.safetensors", ".robustness/store"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--levels", default=LEVELS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--open-i", type=Path, default=OPEN_I, help="(default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        ways = WAYS | {"decoding": decode_first}
        print(json.dumps(ways[given.one](given.folder, given.device)))
        return
    pin(given.cores)
    levels = [float(level) for level in given.levels.split(",")]
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        evalset = some_of(given.open_i, given.images, folder / "open_i")
        checkpoint = vit_checkpoint(folder / CHECKPOINT)
        write_repository(folder, MODEL, evalset, levels, checkpoint)
        compare(folder, given.device, given.runs)


def some_of(open_i: Path, images: int, folder: Path) -> str:
    """A set of the collection's first images; of drawn ones where the collection is absent."""
    if not open_i.is_dir():
        print(f"no folder {open_i}: the images are drawn, not real ones")
        return f"phantom:{images}"
    from robustness.evalset import load

    for part in ("ecgen-radiology", "images"):
        (folder / part).mkdir(parents=True)
    pairs = load(f"open_i:{open_i}").pairs
    if len(pairs) < images:
        sys.exit(f"{open_i} holds {len(pairs)} pairs; --images {images} is more than that")
    for pair in pairs[:images]:
        number = pair.image_id.removeprefix("CXR").partition("_")[0]
        name = f"ecgen-radiology/{number}.xml"
        (folder / name).symlink_to((open_i / name).resolve())
        for image in open_i.glob(f"images/CXR{number}_*"):
            (folder / "images" / image.name).symlink_to(image.resolve())
    return f"open_i:{folder}"


# --- the two ways --------------------------------------------------------------------------


def by_gate(folder: Path, device: str) -> Figures:
    seconds, results = run_gate(folder, device)
    profile = results["timing"]["profile"]
    phases = {name: phase["seconds"] for name, phase in profile["phases"].items()}
    return {
        "seconds": seconds,
        **phases,
        "else": seconds - sum(phases.values()),
        "peak MB": peak_megabytes(),
    }


def by_forward(folder: Path, device: str) -> Figures:
    """The forward passes alone; pixels of one batch at a time are held."""
    import torch

    from robustness.embedding import BATCH_SIZE
    from robustness.embedding.devices import measuring
    from robustness.evalset import load, match
    from robustness.perturbation.occlusion import Occlusion
    from robustness.thresholds import load as load_thresholds

    asked = load_thresholds(folder / "thresholds.yaml")
    encoder = load_model(MODEL, folder / CHECKPOINT, device)
    evalset = load(asked.evalset)
    texts = [encoder.text_policy.text(pair.report) for pair in evalset.pairs]
    distinct = match(texts, [p.study_id for p in evalset.pairs], asked.positives).texts
    images = [(pair.image_id, evalset.decode(pair)) for pair in evalset.pairs]
    seconds = {"images": 0.0, "texts": 0.0}

    def timed(what: str, encode: Callable[[Any], object], given: object) -> None:
        synchronise(device)
        started = time.perf_counter()
        encode(given)
        synchronise(device)
        seconds[what] += time.perf_counter() - started

    with measuring(1), torch.inference_mode():
        encoder.encode_images(encoder.preprocess([image for _, image in images[:BATCH_SIZE]]))
        encoder.encode_reports(distinct[:BATCH_SIZE])
        for level in asked.levels:
            occlusion = Occlusion("square", level)
            for batch in _batches(images, BATCH_SIZE):
                hidden = [occlusion.apply(image, image_id) for image_id, image in batch]
                timed("images", encoder.encode_images, encoder.preprocess(hidden))
        for batch in _batches(distinct, BATCH_SIZE):
            timed("texts", encoder.encode_reports, batch)
    return {"seconds": sum(seconds.values()), **seconds, "peak MB": peak_megabytes()}


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def decode_first(folder: Path, _device: str) -> Figures:
    """Not one of the two: what both find done."""
    from robustness.embedding import Store, decode_once
    from robustness.evalset import load
    from robustness.thresholds import load as load_thresholds

    store = Store(folder / STORE)
    started = time.perf_counter()
    spec = load_thresholds(folder / "thresholds.yaml").evalset
    evalset = decode_once(load(spec, remember=store.fetch), store)
    evalset.decode(evalset.pairs[0])
    return {"seconds": time.perf_counter() - started, "images": len(evalset)}


WAYS = {"forward": by_forward, "gate": by_gate}


# --- the table -----------------------------------------------------------------------------


def compare(folder: Path, device: str, runs: int) -> None:
    def run(way: str) -> Figures:
        return alone(__file__, "--one", way, "--folder", folder, "--device", device)

    decoding = run("decoding")
    decoded = set((folder / STORE).rglob("*"))

    def measure(way: str) -> Figures:
        for path in set((folder / STORE).rglob("*")) - decoded:
            if path.is_file():
                path.unlink()
        return run(way)

    found = in_turns(list(WAYS), runs, measure)
    print(
        f"\n{decoding['images']:.0f} images, {MODEL} on {device}, medians of {runs} runs each;"
        f" first decoding, before them all: {decoding['seconds']:.1f} s\n"
    )
    bare = found["forward"]["seconds"]
    print(f"{'':28}{'seconds':>10}{'of forward':>12}")
    for way, figures in found.items():
        peak = figures.pop("peak MB")
        for name, value in figures.items():
            label = way if name == "seconds" else f"  {name}"
            print(f"{label:28}{value:10.2f}{value / bare:12.3f}")
        print(f"{'  peak MB':28}{peak:10.0f}")
    print(f"\ngate / forward: {found['gate']['seconds'] / bare:.3f}")


if __name__ == "__main__":
    main()
