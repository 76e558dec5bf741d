"""Process that measures: settings before torch is imported and while it computes."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, chdir, contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest

from robustness._util.progress import terminal_of
from robustness._util.threads import wait_briefly
from robustness.plugin.collection import is_suite_item
from robustness.plugin.options import plan_of

if TYPE_CHECKING:
    from robustness.run.gate import Gate


@contextmanager
def open_gate(config: pytest.Config) -> Iterator[Gate]:
    """Provide the gate of this process, which loads models and the evaluation set once.

    Raises:
        pytest.UsageError: An option or the thresholds file is invalid.
    """
    from robustness._util.profile import STARTING, Profile

    wait_briefly()
    profile = Profile()
    with profile.phase(STARTING):
        from robustness.embedding.devices import measuring
        from robustness.run.gate import Gate

        # Imported modules live as long as the process; the collector need not scan them again.
        gc.freeze()
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    with measuring(workers):
        yield Gate(plan_of(config), stream=terminal_of(config), profile=profile)


def in_invocation_dir(item: pytest.Item) -> AbstractContextManager[None]:
    """Change to the invocation directory so that relative paths resolve as given.

    A repository's own fixtures may have changed the working directory.
    """
    return chdir(item.config.invocation_params.dir) if is_suite_item(item) else nullcontext()
