"""Cost of the gate from end to end, compared with the forward passes of the same model.

An open_clip ViT-B-32 with random weights is measured on real radiographs at eight levels of a
square. The gate runs as ``pytest -m robustness`` in a user's repository: it loads the model, reads
the decoded images, occludes, resizes, embeds, stores, ranks, resamples and writes its report. The
forward passes alone embed the same pixels in the same batches, images once per level and texts
once; the pixels are prepared outside the clock. Every run is a process of its own, and the two
alternate. The start of Python with its imports is not timed; the first decoding of the images is
reported separately.

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
from _side_by_side import Figures, alone, alternate, peak_megabytes, pin, synchronise

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
    parser.add_argument("--folder", type=Path, help="working folder (default: a temporary one)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        methods = METHODS | {"decoding": decode_first}
        print(json.dumps(methods[args.one](args.folder, args.device)))
        return
    pin(args.cores)
    levels = [float(level) for level in args.levels.split(",")]
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        evalset = first_images(args.open_i, args.images, folder / "open_i")
        checkpoint = vit_checkpoint(folder / CHECKPOINT)
        write_repository(folder, MODEL, evalset, levels, checkpoint)
        compare(folder, args.device, args.runs)


def first_images(open_i: Path, images: int, folder: Path) -> str:
    """Return the collection's first images as a set, or phantoms if the collection is missing."""
    if not open_i.is_dir():
        print(f"folder {open_i} not found: using phantoms instead of radiographs")
        return f"phantom:{images}"
    from robustness.evalset import load

    for part in ("ecgen-radiology", "images"):
        (folder / part).mkdir(parents=True)
    pairs = load(f"open_i:{open_i}").pairs
    if len(pairs) < images:
        sys.exit(f"{open_i} has only {len(pairs)} pairs, --images is {images}")
    for pair in pairs[:images]:
        number = pair.image_id.removeprefix("CXR").partition("_")[0]
        name = f"ecgen-radiology/{number}.xml"
        (folder / name).symlink_to((open_i / name).resolve())
        for image in open_i.glob(f"images/CXR{number}_*"):
            (folder / "images" / image.name).symlink_to(image.resolve())
    return f"open_i:{folder}"


# --- the two methods --------------------------------------------------------------------------


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
    """Measure the forward passes alone; only the pixels of one batch are in memory."""
    import torch

    from robustness.embedding import BATCH_SIZE
    from robustness.embedding.devices import measuring
    from robustness.evalset import load, match
    from robustness.perturbation.occlusion import Occlusion
    from robustness.thresholds import load as load_thresholds

    thresholds = load_thresholds(folder / "thresholds.yaml")
    encoder = load_model(MODEL, folder / CHECKPOINT, device)
    evalset = load(thresholds.evalset)
    texts = [encoder.text_policy.text(pair.report) for pair in evalset.pairs]
    distinct = match(texts, [p.study_id for p in evalset.pairs], thresholds.positives).texts
    images = [(pair.image_id, evalset.decode(pair)) for pair in evalset.pairs]
    seconds = {"images": 0.0, "texts": 0.0}

    def timed(kind: str, encode: Callable[[Any], object], batch: object) -> None:
        synchronise(device)
        started = time.perf_counter()
        encode(batch)
        synchronise(device)
        seconds[kind] += time.perf_counter() - started

    with measuring(1), torch.inference_mode():
        encoder.encode_images(encoder.preprocess([image for _, image in images[:BATCH_SIZE]]))
        encoder.encode_reports(distinct[:BATCH_SIZE])
        for level in thresholds.levels:
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
    """Measure the first decoding, which precedes both methods."""
    from robustness.embedding import Store, decode_once
    from robustness.evalset import load
    from robustness.thresholds import load as load_thresholds

    store = Store(folder / STORE)
    started = time.perf_counter()
    spec = load_thresholds(folder / "thresholds.yaml").evalset
    evalset = decode_once(load(spec, remember=store.fetch), store)
    evalset.decode(evalset.pairs[0])
    return {"seconds": time.perf_counter() - started, "images": len(evalset)}


METHODS = {"forward": by_forward, "gate": by_gate}


# --- the table -----------------------------------------------------------------------------


def compare(folder: Path, device: str, runs: int) -> None:
    def run(method: str) -> Figures:
        return alone(__file__, "--one", method, "--folder", folder, "--device", device)

    decoding = run("decoding")
    decoded = set((folder / STORE).rglob("*"))

    def measure(method: str) -> Figures:
        for path in set((folder / STORE).rglob("*")) - decoded:
            if path.is_file():
                path.unlink()
        return run(method)

    medians = alternate(list(METHODS), runs, measure)
    print(
        f"\n{decoding['images']:.0f} images, {MODEL} on {device}, medians of {runs} runs each;"
        f" first decoding, before all runs: {decoding['seconds']:.1f} s\n"
    )
    bare = medians["forward"]["seconds"]
    print(f"{'':28}{'seconds':>10}{'of forward':>12}")
    for method, figures in medians.items():
        peak = figures.pop("peak MB")
        for name, value in figures.items():
            label = method if name == "seconds" else f"  {name}"
            print(f"{label:28}{value:10.2f}{value / bare:12.3f}")
        print(f"{'  peak MB':28}{peak:10.0f}")
    print(f"\ngate / forward: {medians['gate']['seconds'] / bare:.3f}")


if __name__ == "__main__":
    main()
