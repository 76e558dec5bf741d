"""The gate beside clip_benchmark on the same images, reports, levels and models, from the files on.

clip_benchmark's ``zeroshot_retrieval.evaluate`` runs once an occlusion, as its users run it: a
DataLoader with its own number of workers, over JPEGs of 2048 x 2500 that are opened, made
RGB, occluded by boxes drawn into the picture, and put through the model's own transform.
The gate runs as ``pytest -m robustness`` on a manifest of the same files, from an empty store:
hashing, decoding, writing the store, intervals and report are inside the clock. Both load the
model inside it. Every run is a process of its own, in turns. Both compute in float32, the gate's
default, unless --precision says otherwise for the gate, and --amp leaves clip_benchmark its own
default, autocast, which on the CPU is to bfloat16.

The models are an open_clip ViT-B-32 with weights from a seed, and the embedded encoder,
wrapped for clip_benchmark.

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
from _side_by_side import Figures, alone, in_turns, pin
from decoding import HEIGHT, WIDTH, make_images
from PIL import Image

from robustness.perturbation.occlusion import CLEAN, FILLS, Occlusion

LEVELS = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7"
RECALL = [1, 5, 10]
TASK = "task.json"


@dataclass(frozen=True)
class Task:
    """What is measured; a process of its own reads it from the folder.

    Attributes:
        levels: Shares of the area that are hidden, 0 first.
        patterns: How they are hidden; with each of the fills.
        workers: The peer's loading processes.
        amp: Whether the peer computes by autocast.
        precision: What the gate computes in.
    """

    levels: list[float]
    patterns: list[str]
    fills: list[str]
    device: str
    workers: int
    amp: bool
    precision: str

    def occlusions(self) -> list[Occlusion]:
        """All that is measured: nothing hidden, then every level of every pattern and fill."""
        hiding = product(self.patterns, self.levels[1:], self.fills)
        return [CLEAN, *(Occlusion(*each) for each in hiding)]


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
    parser.add_argument("--workers", type=int, default=4, help="the peer's; its default is 4")
    parser.add_argument("--precision", default="float32", help="the gate's")
    parser.add_argument("--amp", action="store_true", help="leave the peer its default, autocast")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        way, model = given.one
        task = Task(**json.loads((given.folder / TASK).read_text()))
        print(json.dumps(WAYS[way](given.folder, model, task)))
        return
    pin(given.cores)
    task = Task(
        [float(level) for level in given.levels.split(",")],
        given.patterns.split(","),
        given.fills.split(","),
        given.device,
        given.workers,
        given.amp,
        given.precision,
    )
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        (folder / TASK).write_text(json.dumps(asdict(task)))
        make_images(folder / "images", given.images)
        write_table(folder, given.images)
        vit_checkpoint(folder / "vit.safetensors")
        for model in given.models.split(","):
            write_repository(
                folder / model,
                model,
                "manifest:../table.csv",
                task.levels,
                folder / "vit.safetensors",
                patterns=task.patterns,
                fills=task.fills,
            )
            compare(folder, model, given.runs, task)


def write_table(folder: Path, images: int) -> None:
    """Every image with a drawn report; what both read."""
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
        cell
        for cell in results["measurements"]
        if cell["level"] == 0 and cell["direction"] == "image_to_report"
    )
    phases = results["timing"]["profile"]["phases"]
    return {
        "seconds": seconds,
        "clean recall@5": clean["metrics"]["recall@5"]["value"],
        **{name: phase["seconds"] for name, phase in phases.items()},
    }


# --- clip_benchmark ------------------------------------------------------------------------


class Pictures:
    """A dataset as clip_benchmark's are: an image, and the list of its captions."""

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
        return self.transform(self._hide(image, row["image"])), [text]

    def _hide(self, image: Image.Image, name: str) -> Image.Image:
        fill = (FILLS[self.occlusion.fill],) * 3
        for top, bottom, left, right in self.occlusion.boxes(name, image.height, image.width):
            image.paste(fill, (int(left), int(top), int(right), int(bottom)))
        return image


def together(batch: Sequence[tuple[Any, list[str]]]) -> tuple[Any, list[list[str]]]:
    from torch.utils.data import default_collate

    return default_collate([image for image, _ in batch]), [texts for _, texts in batch]


class Texts(list):
    """Texts where clip_benchmark expects token ids: an encoder of ours tokenises by itself."""

    def to(self, _device: str) -> Texts:
        return self


class Wrapped:
    """The embedded encoder as clip_benchmark calls a model."""

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
    found = []
    for occlusion in task.occlusions():
        loader = DataLoader(
            Pictures(folder, occlusion, transform),
            batch_size=64,
            num_workers=task.workers,
            collate_fn=together,
        )
        found.append(
            zeroshot_retrieval.evaluate(
                model, loader, tokenizer, task.device, amp=task.amp, recall_k_list=RECALL
            )
        )
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "clean recall@5": found[0]["text_retrieval_recall@5"]}


WAYS = {"clip_benchmark": by_clip_benchmark, "gate": by_gate}


# --- the table -----------------------------------------------------------------------------


def compare(folder: Path, model: str, runs: int, task: Task) -> None:
    def measure(way: str) -> Figures:
        shutil.rmtree(folder / model / ".robustness", ignore_errors=True)
        return alone(__file__, "--one", way, model, "--folder", folder)

    found = in_turns(list(WAYS), runs, measure)
    images = len(list((folder / "images").iterdir()))
    said = f"{images} JPEGs of {WIDTH} x {HEIGHT}, {len(task.occlusions())} occlusions"
    print(f"\n{model}: {said}, medians of {runs}\n")
    for way, figures in found.items():
        print(
            f"{way:16}{figures['seconds']:9.1f} s   clean recall@5 {figures['clean recall@5']:.3f}"
        )
    ratio = found["clip_benchmark"]["seconds"] / found["gate"]["seconds"]
    print(f"\nclip_benchmark / gate: {ratio:.1f}\n", flush=True)


if __name__ == "__main__":
    main()
