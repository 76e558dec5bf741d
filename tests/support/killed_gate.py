"""Runs of the gate that can be killed or run out of room, each a process forked from one server.

The server has imported everything: what a kill meets is the gate at work, not its imports.
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
            # Python ignores SIGXFSZ: a write beyond the limit fails as on a full disk.
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

LONGEST = 120
"""Seconds after which a run hangs."""


class Gates:
    """Starts runs of the gate, and kills them."""

    def __init__(self):
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            # Where it is no CI, pytest cuts its summary's lines to the terminal's width.
            env=os.environ | {"CI": "true"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, folder, *, kill_after=LONGEST, room=0):
        """Runs the gate in a folder.

        Args:
            folder: The repository; made where it is missing.
            kill_after: Seconds.
            room: Bytes that a file may have; 0 for any number.

        Returns:
            Its exit status, below 0 where a signal ended it, and its seconds.
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
                # It has no group of its own yet, or has just ended.
                os.kill(int(process), signal.SIGKILL)
        seconds = time.perf_counter() - started
        assert over or kill_after < LONGEST, said(folder)
        return int(self._server.stdout.readline().split()[1]), seconds

    def close(self):
        self._server.stdin.close()
        self._server.wait(LONGEST)
        self._server.stdout.close()


def results(folder):
    return json.loads((folder / ".robustness" / "report" / "results.json").read_text())


def half_written(folder):
    """Temporary files under a folder."""
    return [str(p.relative_to(folder)) for p in folder.rglob("*") if ".partial" in p.suffixes]


def said(folder):
    """What the last run in a folder printed."""
    return (folder / "said").read_text()
