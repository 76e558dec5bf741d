"""Gate runs that are killed or fill the disk, each forked from one server.

The server has imported everything, so that a kill hits the run and not its imports.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time

_SERVER = """
import os, resource, sys
import pytest
import robustness.models.phantom, robustness.run.gate, robustness.run.search, scipy.stats

for line in sys.stdin:
    folder, room = line.split()
    child = os.fork()
    if not child:
        os.setsid()
        if int(room):
            # Python ignores SIGXFSZ: a write beyond the limit fails, as on a full disk.
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), int(room)))
        said = os.open(folder + "/said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.chdir(folder)
        status = pytest.main(["-q", "-p", "no:cacheprovider", "-m", "robustness"])
        sys.stdout.flush()
        os._exit(status)
    print("started", child, flush=True)
    _, status = os.waitpid(child, 0)
    print("ended", os.waitstatus_to_exitcode(status), flush=True)
"""

THRESHOLDS = """\
version: 1
evalset: phantom:64
models:
  phantom: {loader: robustness.models.phantom:load}
occlusion: {patterns: [square], fills: [black, grey], levels: [0, 0.3, 0.6]}
bounds: [{require: [hit@10 >= 0.1]}]
properties: {bound: hit@10 >= 0.1, max_level: 0.3, subset: 16, examples: 1, noise: 0.3}
"""

TIMEOUT_S = 120
"""Seconds after which a run counts as hanging."""


class Gates:
    """Server of gate runs that can be killed."""

    def __init__(self):
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            # Outside CI, pytest cuts lines of its summary to the terminal's width.
            env=os.environ | {"CI": "true"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, folder, *, kill_after=TIMEOUT_S, room=0):
        """Run the gate in a folder.

        Args:
            folder: Repository; created if missing.
            kill_after: Seconds.
            room: Maximum size of a file in bytes; 0 for no limit.

        Returns:
            Exit status (negative signal number if killed) and seconds.
        """
        folder.mkdir(exist_ok=True)
        (folder / "thresholds.yaml").write_text(THRESHOLDS)
        (folder / "test_release.py").write_text("from robustness.suite import *\n")
        (folder / "pytest.ini").write_text("[pytest]\n")
        print(folder, room, file=self._server.stdin, flush=True)
        said, process = self._server.stdout.readline().split()
        assert said == "started"
        started = time.perf_counter()
        with selectors.DefaultSelector() as ended:
            ended.register(self._server.stdout, selectors.EVENT_READ)
            over = bool(ended.select(kill_after))
        if not over:
            try:
                os.killpg(int(process), signal.SIGKILL)
            except ProcessLookupError:
                # The process has not called setsid yet, or has just ended.
                os.kill(int(process), signal.SIGKILL)
        seconds = time.perf_counter() - started
        assert over or kill_after < TIMEOUT_S, said(folder)
        return int(self._server.stdout.readline().split()[1]), seconds

    def close(self):
        self._server.stdin.close()
        self._server.wait(TIMEOUT_S)
        self._server.stdout.close()


def results(folder):
    return json.loads((folder / ".robustness" / "report" / "results.json").read_text())


def half_written(folder):
    """Return the temporary files under a folder."""
    return [str(p.relative_to(folder)) for p in folder.rglob("*") if ".partial" in p.suffixes]


def said(folder):
    """Return the output of the last run in a folder."""
    return (folder / "said").read_text()
