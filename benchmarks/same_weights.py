"""The same weights, measured again and again: how often does the regression gate fail them?

A candidate with the baseline's own weights is embedded at another precision (float32,
bfloat16, float16, by autocast), batch size and number of threads each time, on every device
there is, over the default occlusions, and held against the baseline as a release would be.
Nothing is stored in between. A gate that fails one of them cannot be trusted with a release.

    python benchmarks/same_weights.py --repeats 100 --images 128
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from robustness.embedding import PRECISIONS, Store, decode_once
from robustness.evalset import EvaluationSet
from robustness.evalset import load as load_evalset
from robustness.models.phantom import load as load_phantom
from robustness.perturbation.occlusion import Occlusion
from robustness.regression import run as regression
from robustness.regression.baseline import Key, ModelRun, Run
from robustness.run.subject import CLEAN, Subject
from robustness.thresholds import Regression

PATTERNS, FILLS = ("square", "grid"), ("black", "grey")
LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
BATCHES = (64, 1, 7)


@dataclass(frozen=True)
class Setting:
    device: str
    precision: str
    batch: int
    threads: int

    def __str__(self) -> str:
        return f"{self.device} {self.precision} batch {self.batch} threads {self.threads}"


def settings() -> Iterator[Setting]:
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    return itertools.cycle(
        Setting(*each) for each in itertools.product(devices, PRECISIONS, BATCHES, (1, 2))
    )


def measure(setting: Setting, evalset: EvaluationSet, name: str) -> Run:
    """Every ranking of a release, measured anew."""
    torch.set_num_threads(setting.threads)
    encoder = load_phantom(device=setting.device)
    encoder.fingerprint = f"{name} {encoder.fingerprint}"
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(
            encoder,
            evalset,
            positives="identical_text",
            store=Store(Path(folder)),
            seed=0,
            batch_size=setting.batch,
            precision=setting.precision,
        )
        clean = subject.rank(CLEAN)
        ranks = {
            Key(pattern, fill, level, direction): found.counts
            for pattern, fill, level in itertools.product(PATTERNS, FILLS, LEVELS)
            for direction, found in (
                subject.rank(Occlusion(pattern, level, fill, 0)) if level else clean
            ).items()
        }
    patients = tuple(pair.patient_id for pair in subject.evalset.pairs)
    own = ModelRun("phantom", {}, patients, subject.matching.text_of_image, ranks)
    return Run({}, {"phantom": own})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--images", type=int, default=128)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # Labels would be ranked as well, and the gate compares no metric of theirs.
        loaded = load_evalset(f"phantom:{given.images}")
        pairs = tuple(replace(pair, labels=None) for pair in loaded.pairs)
        evalset = decode_once(replace(loaded, pairs=pairs), Store(Path(folder)))
        baseline = measure(Setting("cpu", "float32", 64, 2), evalset, "baseline")
        failed, moved, drops = Counter[str](), Counter[str](), Counter[str]()
        runs = Counter[str]()
        for number, setting in zip(range(given.repeats), settings(), strict=False):
            records = regression.compare(
                measure(setting, evalset, str(number)), baseline, Regression()
            )
            runs[setting.precision] += 1
            failed[setting.precision] += any(record["verdict"] != "pass" for record in records)
            moved[setting.precision] += any(record["p"] < 1 for record in records)
            largest = max(abs(record["drop"]["value"]) for record in records)
            drops[setting.precision] = max(drops[setting.precision], largest)
    print(f"{given.repeats} releases of {len(records)} cases, n = {given.images}, same weights\n")
    print("| precision | releases | failed | with any rank moved | largest change of hit@10 |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for precision, count in runs.items():
        print(
            f"| {precision} | {count} | {failed[precision]} | {moved[precision]}"
            f" | {100 * drops[precision]:.2f} points |"
        )
    print(f"\nfailed: {failed.total()} of {given.repeats}")


if __name__ == "__main__":
    main()
