"""What the tests share."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest
from support.gate_repository import MODELS, Repository, noisy
from support.sabotaged import MODELS as SABOTAGED_MODELS
from support.sabotaged import THRESHOLDS, Sabotaged, sabotage_of

import robustness
from robustness._util.threads import wait_briefly

wait_briefly()

REPOSITORY = Path(__file__).parents[1]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves the project's own tests out where only the gate is asked for.

    They import torch when they are read; the gate's collection stays light.
    """
    only_gate = config.option.markexpr in {"robustness", "benchmark", "conformance"}
    if only_gate and collection_path.name.startswith("test_"):
        return collection_path.name != "test_gate.py" or None
    return None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; ROBUSTNESS_SHARED names another."""
    folder = Path(os.environ.get("ROBUSTNESS_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: real data are not at hand (set ROBUSTNESS_SHARED)")
    return folder


@pytest.fixture(scope="session")
def open_i(shared: Path) -> Path:
    """The sample of the Indiana collection."""
    return shared / "open_i"


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """One store for all: what a case embeds, the next one finds."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def imported_package():
    """Import what a gate run imports: pytester forgets every module that a run imports first."""
    import scipy.stats  # noqa: F401
    from transformers import BertModel  # noqa: F401

    for module in walk_packages(robustness.__path__, "robustness."):
        if not module.name.startswith(("robustness.suite", "robustness.__main__")):
            import_module(module.name)


@pytest.fixture
def repository(pytester, store, imported_package):
    """A user's repository."""
    return Repository(pytester, store)


@pytest.fixture
def small(repository):
    """The same with two cases and four properties, of one example each."""
    repository.edit("examples: 4", "examples: 1")
    repository.edit("patterns: [square, grid]", "patterns: [square]")
    repository.edit("fills: [black, grey]", "fills: [black]")
    return repository


@pytest.fixture(scope="session")
def worse(tmp_path_factory):
    """An option that gives the reference encoder weights that keep its bounds, and rank worse."""
    path = tmp_path_factory.mktemp("weights") / "worse.safetensors"
    noisy(path, 0.3)
    return f"--robustness-weights=phantom={path}"


@pytest.fixture
def changed(repository, monkeypatch):
    """The same with models in it that go wrong, each in one way."""
    (repository.path / "my_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(repository.path)
    monkeypatch.setenv("PYTHONPATH", str(repository.path))
    monkeypatch.delitem(sys.modules, "my_models", raising=False)
    return repository


@pytest.fixture
def sabotaged(changed, request, pytester, monkeypatch):
    """A small repository, and what is to become of the sabotage that the test is named after."""
    (changed.path / "thresholds.yaml").write_text(THRESHOLDS)
    (changed.path / "my_sabotage.py").write_text(SABOTAGED_MODELS)
    monkeypatch.setenv("PYTHONPATH", f"{changed.path}{os.pathsep}{REPOSITORY}")
    own = Sabotaged(changed, sabotage_of(request.node), pytester)
    yield own
    assert own.seen, "the test did not look what became of it"
