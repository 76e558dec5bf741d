"""The benchmark of the paired gate compares as the gate does, and runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robustness.ranking import rank_counts
from robustness.regression import Answers, adjust, compare_answers, regressed
from robustness.thresholds import ALPHA, MARGIN

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def simulated(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import simulated

    return simulated


@pytest.fixture
def patients(simulated):
    """Ninety images of seventy texts in three cases, the first of them twice."""
    rng = np.random.default_rng(0)
    reports = simulated.unit(rng.normal(size=(70, simulated.DIMENSIONS)).astype(np.float32))
    text = np.concatenate([np.arange(70), rng.integers(0, 70, 20)])
    images = [
        simulated.unit(
            reports[text]
            + np.float32(noise) * rng.normal(size=(90, simulated.DIMENSIONS)).astype(np.float32)
        )
        for noise in (0.2, 0.4, 0.8)
    ]
    return simulated.Patients(images, reports, text, (0, 0, 1, 2))


def counts(patients, images):
    positives = [np.flatnonzero(patients.text == t) for t in range(len(patients.reports))]
    return {
        "image_to_report": rank_counts(images, patients.reports, patients.text),
        "report_to_image": rank_counts(patients.reports, images, positives),
    }


def test_ranks_are_those_of_the_gate(simulated, patients):
    for images, ranks in zip(patients.images, patients.ranks(), strict=True):
        found = counts(patients, images).values()
        assert not any(each.equal.any() for each in found)
        assert ranks.tolist() == np.concatenate([each.greater + 1 for each in found]).tolist()


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0])
def test_comparisons_are_those_of_the_gate(simulated, patients, scale):
    rng = np.random.default_rng(1)
    candidate = simulated.model(rng, patients, scale)
    ours = simulated.Compared.of(patients, patients.ranks(), candidate.ranks())
    n = len(patients)
    clusters = {"image_to_report": patients.cluster[:n], "report_to_image": patients.cluster[n:]}
    theirs = [
        compare_answers(
            *(
                {d: Answers.of(c) for d, c in counts(p, p.images[k]).items()}
                for p in (patients, candidate)
            ),
            clusters,
        )
        for k in patients.case_of
    ]
    for k, found in zip(patients.case_of, theirs, strict=True):
        assert ours.drops[k] == pytest.approx(found.drop, abs=1e-12)
        if ours.z[k] >= 2.5:
            # Its bound stands in for p only where both are rejected.
            same = ours.p(k) == pytest.approx(found.p, rel=1e-6)
            assert same or found.p <= ours.p(k) <= ALPHA / len(theirs)
        else:
            assert found.p > ALPHA
    for margin in (MARGIN, 0.0):
        fails = any(regressed(found, margin=margin) for found in adjust(theirs))
        assert ours.regressed(margin) == fails


def test_mcnemar_is_the_binomial_test_of_the_discordant(simulated, patients):
    from scipy import stats

    candidate = simulated.model(np.random.default_rng(2), patients, 1.0)
    before, after = patients.ranks()[2] <= 10, candidate.ranks()[2] <= 10
    p = []
    for way in (slice(0, 90), slice(90, None)):
        lost, gained = (before & ~after)[way].sum(), (~before & after)[way].sum()
        p.append(stats.binomtest(lost, lost + gained, alternative="greater").pvalue)
    found = simulated.Compared.of(patients, patients.ranks(), candidate.ranks())
    assert found.mcnemar[2] == pytest.approx(min(1, 2 * min(p)))


@pytest.mark.slow
def test_the_benchmark_runs(simulated):
    command = [sys.executable, BENCHMARKS / "false_alarms.py", "--quick"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "|" in line]
    alarms = [row for row in rows if re.match("swaps|pairs|fp16|two new", row[0])]
    assert len(alarms) == 10
    # Among 300 swaps a failed run or two would not be strange; more would.
    assert all(int(row[6]) <= 2 for row in alarms if row[0].startswith("swaps"))
    real = [row for row in rows if re.match("[0-9] [(]", row[0])]
    assert [row[2] for row in real] == ["all 32 cases", "1 of 32"] * 4
    for row in real:
        assert 0 <= float(row[4]) <= float(row[5]) <= float(row[6]) <= 1
