"""Mutants that mutmut does not make: constants, defaults, properties, context managers.

    python benchmarks/mutation_by_hand.py     # about five minutes; changes a copy, in --folder

Each changes one text of one module, and the named test files must fail.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from mutation import REPOSITORY, copy

BOUNDS, EDGES = "thresholds_bounds", "thresholds_edges"
UPDATE, OBSERVED = "thresholds_update", "observed"

MUTANTS = (
    ("counts", 'if name != "gallery_size"', "if name", ("baseline_records", "ranking_references")),
    (
        "metrics",
        "CUTOFFS = (1, 5, 10, 100)",
        "CUTOFFS = (1, 5, 10, 50)",
        ("estimates", "thresholds"),
    ),
    ("metrics", "RSUM_CUTOFFS = (1, 5, 10)", "RSUM_CUTOFFS = (1, 5)", ("estimates", EDGES)),
    (
        "metrics",
        'PRIMARY_METRIC = "hit@10"',
        'PRIMARY_METRIC = "hit@5"',
        (EDGES, UPDATE, "regression"),
    ),
    ("metrics", "LABEL_CUTOFFS = (1, 5, 10)", "LABEL_CUTOFFS = (1, 5)", ("estimates", "topk")),
    ("metrics", '*LABEL_MEANS, "rsum")', '"rsum")', ("estimates", "judgements")),
    (
        "metrics",
        "(*MEANS, *LABEL_MEANS), (0.0, 1.0)",
        "(*MEANS, *LABEL_MEANS), (-1.0, 1.0)",
        (EDGES,),
    ),
    ("metrics", '"median_rank": (1.0,', '"median_rank": (0.0,', (EDGES,)),
    ("metrics", "2.0 * len(RSUM", "1.0 * len(RSUM", (EDGES,)),
    ("ranking/_inputs", "TILE_BYTES = 32 *", "TILE_BYTES = 31 *", ("ranking_references",)),
    ("ranking/_inputs", 'precision("highest")', 'precision("medium")', ("ranking",)),
    ("ranking/_inputs", "precision(before)", 'precision("highest")', ("ranking",)),
    ("statistics", "REPLICATES = 1000", "REPLICATES = 999", ("statistics",)),
    ("statistics", "CONFIDENCE = 0.95", "CONFIDENCE = 0.9", ("statistics", OBSERVED, UPDATE)),
    ("topk", "GRAIN = 2.0**-32", "GRAIN = 2.0**-60", ("topk",)),
    ("verdict", 'message: str = ""', 'message: str = "x"', ("judgements",)),
    ("thresholds/_bounds", 'frozenset({"median_rank"})', "frozenset()", (BOUNDS, EDGES)),
    ("thresholds/_bounds", r"(?P<operator>[<>]=)", r"(?P<operator>[<>]=?)", (BOUNDS, "thresholds")),
    ("thresholds/_bounds", r"(?P<sign>[-+])", r"(?P<sign>[+])", (BOUNDS, EDGES)),
    ("thresholds/_observed", "DIGITS = 3", "DIGITS = 2", (OBSERVED, UPDATE)),
    ("thresholds/_observed", "return str(self.bound)", 'return ""', (OBSERVED, UPDATE)),
    (
        "thresholds/_observed",
        "{estimate['low']:.3f}, {estimate['high']:.3f}]\"\n        )\n\n    @",
        "{estimate['high']:.3f}, {estimate['low']:.3f}]\"\n        )\n\n    @",
        (OBSERVED, UPDATE),
    ),
    ("thresholds/_observed", "n = {self.cell['n']}", "n = {0}", (OBSERVED, UPDATE)),
    ("thresholds/_values", "field(compare=False)", "field()", ("thresholds", UPDATE)),
    (
        "thresholds/_values",
        "reference: str | None = None",
        'reference: str | None = ""',
        ("verdict",),
    ),
    ("thresholds/_values", "factor: float = 1.0", "factor: float = 2.0", (BOUNDS,)),
    ("thresholds/_values", "if self.factor == 1", "if self.factor != 1", (BOUNDS,)),
    ("thresholds/_values", "'-' if self.limit < 0", "'-' if self.limit > 0", (BOUNDS,)),
    ("thresholds/_values", "'>=' if self.at_least", "'>=' if not self.at_least", (BOUNDS,)),
    ("thresholds/_values", "self.alpha is not None", "self.alpha is None", (EDGES,)),
    ("thresholds/_values", "self.mode == MODES[0] else", "self.mode != MODES[0] else", (EDGES,)),
    ("thresholds/_values", "alpha: float | None = None", "alpha: float | None = 0.05", (EDGES,)),
    ("thresholds/_values", "SLACK = 0.01", "SLACK = 0.02", (EDGES, UPDATE)),
    ("thresholds/_values", "max_level: float = 0.5", "max_level: float = 0.6", (EDGES,)),
    ("thresholds/_values", "subset: int = 64", "subset: int = 65", (EDGES,)),
    ("thresholds/_values", "noise: float = 0.1", "noise: float = 0.2", (EDGES,)),
    ("thresholds/_yaml", "start_mark.line) + 1", "start_mark.line)", ("thresholds",)),
    ("thresholds/_yaml", "start_mark.column) + 1", "start_mark.column)", (BOUNDS,)),
    ("baseline/_file", "{0,99}", "{0,100}", ("baseline", "baseline_records")),
    ("baseline/_file", r"(?P<number>\d{{4,}})", r"(?P<number>\d{{5,}})", ("baseline",)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "build" / "mutation_by_hand")
    folder = parser.parse_args().folder
    copy(folder)
    survivors = [mutant for mutant in MUTANTS if not killed(folder, *mutant)]
    print(f"{len(MUTANTS) - len(survivors)} of {len(MUTANTS)} killed")
    for module, before, after, _ in survivors:
        print(f"{module}: {before} -> {after}")


def killed(folder: Path, module: str, before: str, after: str, tests: tuple[str, ...]) -> bool:
    path = folder / "robustness" / f"{module}.py"
    text = path.read_text(encoding="utf-8")
    if before not in text:
        raise SystemExit(f"{module} has no {before!r}; mend MUTANTS")
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    files = [f"tests/test_{name}.py" for name in tests]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CI": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(  # noqa: S603
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=False
    )
    path.write_text(text, encoding="utf-8")
    # 1 is a test that failed, 2 a module that cannot be imported any more.
    if done.returncode > 2:
        raise SystemExit(f"pytest ended with {done.returncode}: {' '.join(command)}")
    return done.returncode > 0


if __name__ == "__main__":
    main()
