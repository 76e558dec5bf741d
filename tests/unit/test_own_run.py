"""Defaults of this project's own test runs: the root conftest.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

ARGS = pytest.Config.ArgsSource


@pytest.fixture
def own(monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    path = Path(__file__).parents[2] / "conftest.py"
    spec = importlib.util.spec_from_file_location("own_conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    return module


def config(source=ARGS.TESTPATHS, markexpr="not slow", numprocesses=None, **attributes):
    option = SimpleNamespace(
        markexpr=markexpr, numprocesses=numprocesses, usepdb=False, collectonly=False
    )
    return SimpleNamespace(
        args_source=source,
        option=option,
        getini=lambda name: ["-m", "not slow"],
        **attributes,
    )


def test_a_bare_run_uses_the_cores(own):
    bare = config()
    own.pytest_cmdline_main(bare)
    assert bare.option.numprocesses == 2


@pytest.mark.parametrize(
    "other",
    [
        config(source=ARGS.ARGS),
        config(markexpr="robustness"),
        config(numprocesses=0),
        config(workerinput={}),
    ],
    ids=["paths", "marker", "n", "worker"],
)
def test_other_runs_are_left_alone(own, other):
    before = other.option.numprocesses
    own.pytest_cmdline_main(other)
    assert other.option.numprocesses == before


def test_a_worker_is_also_known_by_its_environment(own, monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    bare = config()
    own.pytest_cmdline_main(bare)
    assert bare.option.numprocesses is None
