"""Environment of timings: versions, cores, GPUs."""

from __future__ import annotations

import os
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness._util import environment
from robustness._util.environment import CLOCKS, GPU, gpus, parse_gpus, timing_facts

TWO = """\
0, NVIDIA H100 80GB HBM3, 550.54.15, 345, 1980, 2619, 2619
1, Tesla T4, 550.54.15, [N/A], 1590, [Not Supported], 5001
"""

FIRST = {
    "index": 0,
    "name": "NVIDIA H100 80GB HBM3",
    "driver": "550.54.15",
    "sm_clock_mhz": 345,
    "sm_clock_max_mhz": 1980,
    "memory_clock_mhz": 2619,
    "memory_clock_max_mhz": 2619,
}


def test_gpus_have_the_recorded_fields():
    first, second = parse_gpus(TWO)
    assert first == FIRST
    assert second == FIRST | {
        "index": 1,
        "name": "Tesla T4",
        "sm_clock_mhz": None,
        "sm_clock_max_mhz": 1590,
        "memory_clock_mhz": None,
        "memory_clock_max_mhz": 5001,
    }


@pytest.mark.parametrize(
    "text",
    ["", "\n", "No devices were found\n", "NVIDIA-SMI has failed because, well, it failed\n"],
)
def test_no_gpus(text):
    assert parse_gpus(text) == []


@given(st.text())
def test_any_output_is_parsed(text):
    for gpu in parse_gpus(text):
        assert gpu.keys() == GPU.keys()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that installs a fake nvidia-smi."""

    def with_program(script):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return with_program


def test_the_output_of_the_program_is_recorded(machine, tmp_path):
    (tmp_path / "gpus").write_text(TWO)
    machine(f'echo "$@" > {tmp_path}/asked; cat {tmp_path}/gpus')
    assert gpus() == parse_gpus(TWO)
    still = [{k: v for k, v in gpu.items() if k not in CLOCKS} for gpu in parse_gpus(TWO)]
    assert timing_facts()["gpus"] == still
    assert all("name" in gpu and "sm_clock_max_mhz" in gpu for gpu in still)
    asked = (tmp_path / "asked").read_text()
    assert f"--query-gpu={','.join(GPU.values())} " in asked
    assert "--format=csv,noheader,nounits" in asked


@pytest.mark.parametrize("script", ["exit 9", "echo out of order >&2; exit 1"])
def test_a_failing_program_gives_no_gpus(machine, script):
    machine(script)
    assert gpus() == []


def test_a_hanging_program_times_out(machine, monkeypatch):
    machine("exec sleep 60")
    monkeypatch.setattr(environment, "TIMEOUT_S", 0.2)
    assert gpus() == []


def test_a_machine_without_the_program(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []


def test_versions_and_cores():
    facts = timing_facts()
    assert facts["packages"] == {
        name: version(name)
        for name in ("robustness-gate", "torch", "open_clip_torch", "transformers")
    }
    assert facts["cores"] >= 1


def test_the_cuda_version_is_the_one_torch_was_built_for(monkeypatch, tmp_path):
    import torch

    assert timing_facts()["cuda"] == torch.version.cuda
    (tmp_path / "version.py").write_text("cuda = '12.8'\n")
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(environment, "find_spec", {"torch": spec}.get)
    assert timing_facts()["cuda"] == "12.8"
    monkeypatch.setattr(environment, "find_spec", lambda _name: None)
    assert timing_facts()["cuda"] is None
