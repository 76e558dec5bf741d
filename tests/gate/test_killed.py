"""Killed runs, runs on a full disk, and the runs after them."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from support.gate_repository import assert_no_traceback, comparable
from support.killed_gate import Gates, half_written, results, said

pytestmark = pytest.mark.slow

KILLS = 50
MOST_RUNS = 400


@pytest.fixture(scope="module")
def gates():
    own = Gates()
    yield own
    own.close()


class Undisturbed(NamedTuple):
    """Folder, text of the results, and seconds of a run that was not killed."""

    folder: Path
    text: str
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(gates, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    status, seconds = gates.run(folder)
    assert status == 0, said(folder)
    return Undisturbed(folder, text_of(folder), seconds)


def text_of(folder):
    return json.dumps(comparable(results(folder)), indent=2)


def check(folder, text):
    """Check that the results of a completed run are right and no file is half-written."""
    assert text_of(folder) == text
    assert results(folder)["timing"]["store"]["damaged"] == 0
    assert half_written(folder) == []


def check_store_is_whole(gates, folder, text):
    """Check that another run computes nothing."""
    assert gates.run(folder)[0] == 0, said(folder)
    assert results(folder)["timing"]["store"]["computed"] == 0
    check(folder, text)


def test_runs_killed_at_any_moment_leave_what_the_next_one_can_use(gates, undisturbed, tmp_path):
    """A store is reused until a run ends before it is killed."""
    moments = np.random.default_rng(0).uniform(0, undisturbed.seconds, MOST_RUNS)
    killed = stores = 0
    for moment in moments:
        folder = tmp_path / str(stores)
        left = {} if killed == KILLS else {"kill_after": moment}
        status, _ = gates.run(folder, **left)
        if status == -signal.SIGKILL:
            killed += 1
            continue
        assert status == 0, said(folder)
        check(folder, undisturbed.text)
        stores += 1
        if killed == KILLS:
            break
    assert killed == KILLS
    check_store_is_whole(gates, folder, undisturbed.text)


def keep(folder, undisturbed, names):
    """Copy some files of the store of a completed run."""
    for path in (undisturbed / ".robustness" / "store").glob(f"*/{names}"):
        place = folder / ".robustness" / "store" / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


@pytest.mark.parametrize(
    ("kept", "room", "what"),
    [("none", 200_000, "decoded images"), ("*.images", 40_000, "store entry")],
)
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    gates, undisturbed, tmp_path, kept, room, what
):
    keep(tmp_path, undisturbed.folder, kept)
    assert gates.run(tmp_path, room=room)[0] == 1
    text = said(tmp_path)
    assert_no_traceback(text)
    store = tmp_path / ".robustness" / "store"
    full = re.compile(
        rf"  {what} {store}/\S+ cannot be written: File too large; free disk space or use another"
        r" folder with --robustness-store \[store_failed\]"
    )
    (failed,) = re.findall(r"^(\d+) failed", text, re.MULTILINE)
    # In the section of a case and in the summary; other cases with the same error refer to it.
    told = [line for line in text.splitlines() if full.fullmatch(line)]
    alike = re.findall(r"^  the same as in \S+ \[store_failed\]$", text, re.MULTILINE)
    assert len(told) == 2 * len(set(told)) > 0
    assert len(told) + len(alike) == 2 * int(failed)
    assert results(tmp_path)["verdict"] == "fail"
    assert half_written(tmp_path) == []
    assert gates.run(tmp_path)[0] == 0, said(tmp_path)
    check(tmp_path, undisturbed.text)


def test_no_room_for_the_results_is_one_line_and_leaves_no_older_ones(gates, undisturbed, tmp_path):
    keep(tmp_path, undisturbed.folder, "*")
    assert gates.run(tmp_path)[0] == 0
    assert gates.run(tmp_path, room=10_000)[0] == pytest.ExitCode.USAGE_ERROR
    place = tmp_path / ".robustness" / "report" / "results.json"
    assert f"ERROR: results {place} cannot be written: File too large; name" in said(tmp_path)
    assert_no_traceback(said(tmp_path))
    assert not place.exists()
    assert half_written(tmp_path) == []
    check_store_is_whole(gates, tmp_path, undisturbed.text)
