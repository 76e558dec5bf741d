"""Fixtures of all tests."""

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

# In-process runs are runs of their own: they must not take themselves for workers of xdist.
for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
    os.environ.pop(name, None)

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data next to the checkout, or ROBUSTNESS_SHARED."""
    folder = Path(os.environ.get("ROBUSTNESS_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: real data not available (set ROBUSTNESS_SHARED)")
    return folder


@pytest.fixture(scope="session")
def open_i(shared: Path) -> Path:
    """Sample of the Indiana collection."""
    return shared / "open_i"


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Store that all tests share, so that embeddings are computed once."""
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
def repository(imported_package, pytester, store):
    """Temporary repository with a gate."""
    return Repository(pytester, store)


@pytest.fixture
def small(repository):
    """Temporary repository with two cases and four properties of one example each."""
    repository.edit("examples: 4", "examples: 1")
    repository.edit("patterns: [square, grid]", "patterns: [square]")
    repository.edit("fills: [black, grey]", "fills: [black]")
    return repository


@pytest.fixture(scope="session")
def recorded_runs():
    """Finished runs by name; each is made by the first test that needs it."""
    return {}


@pytest.fixture
def record(request, imported_package, recorded_runs, tmp_path_factory):
    """Function that returns the run of a name, made in the repository fixture on first use."""

    def run(name, fixture, *arguments):
        if name not in recorded_runs:
            folder = tmp_path_factory.mktemp("recorded") / name
            recorded_runs[name] = request.getfixturevalue(fixture).record(folder, *arguments)
        return recorded_runs[name]

    return run


@pytest.fixture
def good_run(record):
    """Passing run of all cases from an empty store, with its report in ``out``."""
    return record("good", "repository", "-v", "--robustness-store=store", "--robustness-report=out")


@pytest.fixture
def small_run(record):
    """Passing run of the small repository."""
    return record("small", "small")


@pytest.fixture
def saved_run(record):
    """Passing run of the small repository that saves the baseline 0001_main."""
    return record("saved", "small", "--robustness-save=main")


@pytest.fixture(scope="session")
def worse(tmp_path_factory):
    """Option for weights that meet all bounds but rank worse."""
    path = tmp_path_factory.mktemp("weights") / "worse.safetensors"
    noisy(path, 0.3)
    return f"--robustness-weights=phantom={path}"


@pytest.fixture
def changed(repository, monkeypatch):
    """Temporary repository with faulty models in ``my_models``."""
    (repository.path / "my_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(repository.path)
    monkeypatch.setenv("PYTHONPATH", str(repository.path))
    monkeypatch.delitem(sys.modules, "my_models", raising=False)
    return repository


@pytest.fixture
def sabotaged(changed, request, pytester, monkeypatch):
    """Small repository for the sabotage that the test is named after."""
    (changed.path / "thresholds.yaml").write_text(THRESHOLDS)
    (changed.path / "my_sabotage.py").write_text(SABOTAGED_MODELS)
    monkeypatch.setenv("PYTHONPATH", f"{changed.path}{os.pathsep}{REPOSITORY}")
    repository = Sabotaged(changed, sabotage_of(request.node), pytester)
    yield repository
    assert repository.checked, "the test did not check the run"
