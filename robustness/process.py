"""A process that measures: what is set before torch is loaded, and while it computes."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, chdir, contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest

from robustness.collection import of_suite
from robustness.console import terminal_of
from robustness.options import plan_of
from robustness.parallel import wait_briefly

if TYPE_CHECKING:
    from robustness.gate import Gate


@contextmanager
def opened(config: pytest.Config) -> Iterator[Gate]:
    """The gate of this process: models and the evaluation set, loaded once.

    Raises:
        pytest.UsageError: What the run was asked for is malformed or unknown.
    """
    from robustness.profile import STARTING, Profile

    wait_briefly()
    profile = Profile()
    with profile.phase(STARTING):
        from robustness.devices import measuring
        from robustness.gate import Gate

        # What was imported stays: the garbage collector need not look through it again.
        gc.freeze()
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    with measuring(workers):
        yield Gate(plan_of(config), stream=terminal_of(config), profile=profile)


def where_asked(item: pytest.Item) -> AbstractContextManager[None]:
    """Runs a case of the suite in the command line's folder, which the paths given there are of.

    A repository's fixtures may have left it.
    """
    return chdir(item.config.invocation_params.dir) if of_suite(item) else nullcontext()
