"""The gate compared with clip_benchmark on the same images, reports, levels and models.

clip_benchmark's ``zeroshot_retrieval.evaluate`` runs once per occlusion, as its users run it: a
DataLoader with its default number of workers over JPEGs of 2048 x 2500, which are opened,
converted to RGB, occluded by boxes and transformed by the model's own transform. The gate runs as
``pytest -m robustness`` on a manifest of the same files, from an empty store: hashing, decoding,
storing, intervals and report are timed too. Both times include loading the model. Every run is a
process of its own, and the two alternate. Both compute in float32, the gate's default, unless
--precision changes that of the gate, or --amp keeps clip_benchmark's default, autocast, which on
the CPU is to bfloat16.

The models are an open_clip ViT-B-32 with random weights, and the reference encoder, wrapped for
clip_benchmark.

    pip install -e '.[bench]'
    python benchmarks/peer.py
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from _scratch import LOADERS, load_model, run_gate, vit_checkpoint, write_repository
from _side_by_side import Figures, alone, alternate, pin
from decoding import HEIGHT, WIDTH, make_images
from PIL import Image

from robustness.perturbation.occlusion import CLEAN, FILLS, Occlusion

LEVELS = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7"
RECALL = [1, 5, 10]
TASK = "task.json"


@dataclass(frozen=True)
class Task:
    """Settings of a comparison, passed to the processes in a file.

    Attributes:
        levels: Hidden fractions of the area, 0 first.
        patterns: Occlusion patterns, each with every fill.
        workers: Loading processes of clip_benchmark.
        amp: Whether clip_benchmark uses autocast.
        precision: Precision of the gate.
    """

    levels: list[float]
    patterns: list[str]
    fills: list[str]
    device: str
    workers: int
    amp: bool
    precision: str

    def occlusions(self) -> list[Occlusion]:
        """Return all occlusions: clean, then every level of every pattern and fill."""
        settings = product(self.patterns, self.levels[1:], self.fills)
        return [CLEAN, *(Occlusion(*each) for each in settings)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--levels", default=LEVELS, help="the first is 0 (default: %(default)s)")
    parser.add_argument("--patterns", default="square", help="such as square,grid")
    parser.add_argument("--fills", default="black", help="such as black,grey")
    parser.add_argument("--models", default=",".join(LOADERS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument(
        "--workers",
        type=int,
        default=4,
        help="loading processes of clip_benchmark; its default is 4",
    )
    parser.add_argument("--precision", default="float32", help="precision of the gate")
    parser.add_argument(
        "--amp", action="store_true", help="keep clip_benchmark's default, autocast"
    )
    parser.add_argument("--folder", type=Path, help="working folder (default: a temporary one)")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        method, model = args.one
        task = Task(**json.loads((args.folder / TASK).read_text()))
        print(json.dumps(METHODS[method](args.folder, model, task)))
        return
    pin(args.cores)
    task = Task(
        [float(level) for level in args.levels.split(",")],
        args.patterns.split(","),
        args.fills.split(","),
        args.device,
        args.workers,
        args.amp,
        args.precision,
    )
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        (folder / TASK).write_text(json.dumps(asdict(task)))
        make_images(folder / "images", args.images)
        write_table(folder, args.images)
        vit_checkpoint(folder / "vit.safetensors")
        for model in args.models.split(","):
            write_repository(
                folder / model,
                model,
                "manifest:../table.csv",
                task.levels,
                folder / "vit.safetensors",
                patterns=task.patterns,
                fills=task.fills,
            )
            compare(folder, model, args.runs, task)


def write_table(folder: Path, images: int) -> None:
    """Write the table that both read: every image with a generated report."""
    from robustness.evalset import load

    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "findings", "impression"])
        files = sorted((folder / "images").iterdir())
        for path, pair in zip(files, load(f"phantom:{images}").pairs, strict=True):
            writer.writerow([f"images/{path.name}", pair.report.findings, pair.report.impression])


# --- the gate ------------------------------------------------------------------------------


def by_gate(folder: Path, model: str, task: Task) -> Figures:
    seconds, results = run_gate(folder / model, task.device, task.precision)
    clean = next(
        measurement
        for measurement in results["measurements"]
        if measurement["level"] == 0 and measurement["direction"] == "image_to_report"
    )
    phases = results["timing"]["profile"]["phases"]
    return {
        "seconds": seconds,
        "clean recall@5": clean["metrics"]["recall@5"]["value"],
        **{name: phase["seconds"] for name, phase in phases.items()},
    }


# --- clip_benchmark ------------------------------------------------------------------------


class Images:
    """Dataset in clip_benchmark's form: an image and the list of its captions."""

    def __init__(
        self, folder: Path, occlusion: Occlusion, transform: Callable[[Image.Image], Any]
    ) -> None:
        with (folder / "table.csv").open(newline="") as file:
            self.rows = list(csv.DictReader(file))
        self.folder, self.occlusion, self.transform = folder, occlusion, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> tuple[Any, list[str]]:
        row = self.rows[number]
        image = Image.open(self.folder / row["image"]).convert("RGB")
        text = f"{row['findings']} {row['impression']}"
        return self.transform(self._occlude(image, row["image"])), [text]

    def _occlude(self, image: Image.Image, name: str) -> Image.Image:
        fill = (FILLS[self.occlusion.fill],) * 3
        for top, bottom, left, right in self.occlusion.boxes(name, image.height, image.width):
            image.paste(fill, (int(left), int(top), int(right), int(bottom)))
        return image


def collate(batch: Sequence[tuple[Any, list[str]]]) -> tuple[Any, list[list[str]]]:
    from torch.utils.data import default_collate

    return default_collate([image for image, _ in batch]), [texts for _, texts in batch]


class Texts(list):
    """Texts in place of token ids, because a ``DualEncoder`` tokenises by itself."""

    def to(self, _device: str) -> Texts:
        return self


class Wrapped:
    """Encoder with the interface of clip_benchmark's models."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self.encode_image, self.encode_text = encoder.encode_images, encoder.encode_reports

    def transform(self, image: Image.Image) -> Any:
        return self.encoder.preprocess([np.asarray(image.convert("L"))])[0]


def by_clip_benchmark(folder: Path, name: str, task: Task) -> Figures:
    from clip_benchmark.metrics import zeroshot_retrieval
    from clip_benchmark.models import load_clip
    from torch.utils.data import DataLoader

    checkpoint = folder / "vit.safetensors"
    started = time.perf_counter()
    if name == "phantom":
        model = Wrapped(load_model(name, checkpoint, task.device))
        transform, tokenizer = model.transform, Texts
    else:
        model, transform, tokenizer = load_clip(
            "open_clip", name, str(checkpoint), None, device=task.device
        )
        model.eval()
    metrics = []
    for occlusion in task.occlusions():
        loader = DataLoader(
            Images(folder, occlusion, transform),
            batch_size=64,
            num_workers=task.workers,
            collate_fn=collate,
        )
        metrics.append(
            zeroshot_retrieval.evaluate(
                model, loader, tokenizer, task.device, amp=task.amp, recall_k_list=RECALL
            )
        )
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "clean recall@5": metrics[0]["text_retrieval_recall@5"]}


METHODS = {"clip_benchmark": by_clip_benchmark, "gate": by_gate}


# --- the table -----------------------------------------------------------------------------


def compare(folder: Path, model: str, runs: int, task: Task) -> None:
    def measure(method: str) -> Figures:
        shutil.rmtree(folder / model / ".robustness", ignore_errors=True)
        return alone(__file__, "--one", method, model, "--folder", folder)

    medians = alternate(list(METHODS), runs, measure)
    images = len(list((folder / "images").iterdir()))
    title = f"{images} JPEGs of {WIDTH} x {HEIGHT}, {len(task.occlusions())} occlusions"
    print(f"\n{model}: {title}, medians of {runs}\n")
    for method, figures in medians.items():
        seconds, recall = figures["seconds"], figures["clean recall@5"]
        print(f"{method:16}{seconds:9.1f} s   clean recall@5 {recall:.3f}")
    ratio = medians["clip_benchmark"]["seconds"] / medians["gate"]["seconds"]
    print(f"\nclip_benchmark / gate: {ratio:.1f}\n", flush=True)


if __name__ == "__main__":
    main()
