"""False alarms of the comparison with a baseline if the weights did not change.

A candidate with the weights of the baseline is embedded again with another precision (float32,
bfloat16, float16, by autocast), batch size and number of threads, on every device, over the
default occlusions, and compared with the baseline as a release would be. Nothing is stored in
between. No comparison may fail.

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
from robustness.embedding.dataset import EmbeddingSettings
from robustness.evalset import EvaluationSet
from robustness.evalset import load as load_evalset
from robustness.models.phantom import load as load_phantom
from robustness.perturbation.occlusion import CLEAN, Occlusion
from robustness.regression import run as regression
from robustness.regression.baseline import Key, ModelRun, Run
from robustness.run.subject import Subject
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
    """Return the rankings of a release, without stored embeddings."""
    torch.set_num_threads(setting.threads)
    encoder = load_phantom(device=setting.device)
    encoder.fingerprint = f"{name} {encoder.fingerprint}"
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(
            encoder,
            evalset,
            EmbeddingSettings(Store(Path(folder)), setting.batch, setting.precision),
            positives="identical_text",
            seed=0,
        )
        clean = subject.rank(CLEAN)
        ranks = {
            Key(pattern, fill, level, direction): ranked.counts
            for pattern, fill, level in itertools.product(PATTERNS, FILLS, LEVELS)
            for direction, ranked in (
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
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # Labels would cost a second ranking, and no metric of them is compared.
        loaded = load_evalset(f"phantom:{args.images}")
        pairs = tuple(replace(pair, labels=None) for pair in loaded.pairs)
        evalset = decode_once(replace(loaded, pairs=pairs), Store(Path(folder)))
        baseline = measure(Setting("cpu", "float32", 64, 2), evalset, "baseline")
        failed, changed, drops = Counter[str](), Counter[str](), Counter[str]()
        runs = Counter[str]()
        for number, setting in zip(range(args.repeats), settings(), strict=False):
            records = regression.compare(
                measure(setting, evalset, str(number)), baseline, Regression()
            )
            runs[setting.precision] += 1
            failed[setting.precision] += any(record.verdict != "pass" for record in records)
            changed[setting.precision] += any(record.p < 1 for record in records)
            largest = max(abs(record.drop.value) for record in records)
            drops[setting.precision] = max(drops[setting.precision], largest)
    print(
        f"{args.repeats} releases of {len(records)} comparisons, n = {args.images}, same weights\n"
    )
    print("| precision | releases | failed | with any rank changed | largest change of hit@10 |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for precision, count in runs.items():
        print(
            f"| {precision} | {count} | {failed[precision]} | {changed[precision]}"
            f" | {100 * drops[precision]:.2f} points |"
        )
    print(f"\nfailed: {failed.total()} of {args.repeats}")


if __name__ == "__main__":
    main()
