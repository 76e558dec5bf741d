"""``python -m robustness``: the table, error messages and exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from robustness.__main__ import main
from robustness.cli import COMMANDS
from robustness.cli import evalset as _evalset
from robustness.errors import EvaluationSetError, UsageError

FULL = Path("/dev/full")
"""A device that is always full, on Linux."""

RESULTS = {
    "schema": "robustness-results-2",
    "measurements": [
        {
            "model": "m",
            "pattern": "square",
            "fill": "black",
            "direction": direction,
            "level": level,
            "metrics": {"hit@10": {"value": value}, "mrr": {"value": None}},
        }
        for direction, level, value in [
            ("image_to_report", 0.0, 0.95),
            ("image_to_report", 0.3, 0.5),
            ("report_to_image", 0.0, 1.0),
            ("report_to_image", 0.3, None),
        ]
    ],
}


def python(*arguments, **settings):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
        **settings,
    )


def one_line(capsys):
    out, err = capsys.readouterr()
    assert not out
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    return err


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = (
        "import sys; from robustness.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "print('heavy:', sorted({'torch', 'pydicom', 'transformers', 'scipy'} & set(sys.modules)))"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"
    names = [command.__name__.rpartition(".")[2] for command in COMMANDS]
    assert names == ["table", "evalset", "schema"]
    for name in names:
        assert f"\n    {name} " in done.stdout


# --- table -----------------------------------------------------------------------------


def test_the_table_of_a_run(tmp_path, capsys):
    file = tmp_path / "results.json"
    file.write_text(json.dumps(RESULTS))
    assert main(["table", str(file)]) == 0
    out, err = capsys.readouterr()
    assert not err
    assert out.splitlines() == [
        "| model | pattern | fill | direction | 0 % | 30 % |",
        "| --- | --- | --- | --- | ---: | ---: |",
        "| m | square | black | image to report | .950 | .500 |",
        "| m | square | black | report to image | 1.000 | - |",
    ]
    assert main(["table", str(file), "--metric", "mrr"]) == 0
    assert "| - | - |" in capsys.readouterr().out


def test_the_table_reads_the_default_results(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["table"]) == 2
    assert ".robustness/report/results.json is not the results.json of a run: " in one_line(capsys)
    (tmp_path / ".robustness" / "report").mkdir(parents=True)
    (tmp_path / ".robustness" / "report" / "results.json").write_text(json.dumps(RESULTS))
    assert main(["table"]) == 0


NOT_RESULTS = ["", "{", "[]", "null", "{}", '{"measurements": [{}]}', "\udcff"]


@pytest.mark.parametrize("content", NOT_RESULTS)
def test_what_is_no_result_is_named(tmp_path, capsys, content):
    file = tmp_path / "results.json"
    file.write_bytes(content.encode(errors="surrogateescape"))
    assert main(["table", str(file)]) == 2
    said = one_line(capsys)
    assert said.startswith(f"{file} is not the results.json of a run: ")
    assert said.endswith("; run pytest -m robustness\n")


def test_results_of_an_earlier_schema_are_refused_in_one_line(tmp_path, capsys):
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"schema": "robustness-results-1", "cases": []}))
    assert main(["table", str(file)]) == 2
    assert one_line(capsys).endswith(
        "results.json is not the results.json of a run: its schema is 'robustness-results-1', this"
        " version reads 'robustness-results-2'; run pytest -m robustness\n"
    )


# --- mistakes, and how it ends ---------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["tables"], "invalid choice: 'tables'"),
        (["table", "--metric", "hits"], "invalid choice: 'hits'"),
        (["evalset"], "required: SPEC"),
        (["evalset", "phantom:4", "--jsn"], "unrecognized arguments: --jsn"),
    ],
)
def test_a_malformed_command_line_is_one_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    line = one_line(capsys)
    assert message in line
    assert "--help" in line


@pytest.mark.parametrize(
    ("error", "status"),
    [(UsageError("asked\nwrongly"), 2), (EvaluationSetError("cannot be\nread"), 1)],
)
def test_errors_are_one_line(monkeypatch, capsys, error, status):
    def failing(*_arguments, **_named):
        raise error

    monkeypatch.setattr(_evalset.evalset, "load", failing)
    assert main(["evalset", "phantom:4"]) == status
    assert one_line(capsys) == f"{error}\n"


def test_an_interrupt_ends_the_command_quietly(monkeypatch, capsys):
    def interrupted(*_arguments, **_named):
        raise KeyboardInterrupt

    monkeypatch.setattr(_evalset.evalset, "load", interrupted)
    assert main(["evalset", "phantom:4"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.fixture(params=["buffered", "unbuffered"])
def buffered(request):
    """Return an environment with buffered or unbuffered output."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return environ | ({"PYTHONUNBUFFERED": "1"} if request.param == "unbuffered" else {})


def test_a_closed_pipe_ends_the_command_quietly(buffered):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "robustness", "evalset", "phantom:2"],
            stdout=writing,
            stderr=subprocess.PIPE,
            env=buffered,
            check=False,
            timeout=120,
        )
    finally:
        os.close(writing)
    assert done.returncode == 141
    assert done.stderr == b""


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full does not exist")
def test_a_full_disk_is_one_line(buffered):
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "robustness", "evalset", "phantom:2"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=buffered,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "No space left on device" in done.stderr


def test_characters_that_the_terminal_lacks_are_replaced():
    arguments = ("-m", "robustness", "evalset", "phantom:200")
    plain = python(*arguments, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    whole = python(*arguments, env={**os.environ, "PYTHONIOENCODING": "utf-8"}, encoding="utf-8")
    assert (plain.returncode, plain.stderr, whole.returncode) == (0, "", 0)
    assert "…" in whole.stdout
    assert plain.stdout == whole.stdout.replace("…", "?")


# --- progress on a terminal ----------------------------------------------------


WITHOUT_DELAY = (
    "import sys, robustness._util.progress\n"
    "from robustness.__main__ import main\n"
    "robustness._util.progress.MIN_DURATION_S = 0\n"
    "sys.exit(main(sys.argv[1:]))"
)
"""A command that draws progress bars without a delay."""


def at_a_terminal(*arguments, folder):
    """Return the error output of a command with a terminal of 80 columns."""
    import pty

    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DELAY, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        cwd=folder,
        check=True,
        timeout=120,
    )
    os.close(theirs)
    output = bytearray()
    with open(ours, "rb", buffering=0) as terminal, suppress(OSError):  # noqa: PTH123
        while part := terminal.read(4096):
            output += part
    assert done.returncode == 0
    return output.decode()


def test_progress_is_shown_on_a_terminal_and_erased(tmp_path):
    shown = at_a_terminal("evalset", "phantom:3", "--contact-sheet", "x.png", folder=tmp_path)
    line = "reading phantom:3"
    assert shown.startswith(f"{line}\r{' ' * len(line)}\r")
    assert "drawing" in shown
    assert "\n" not in shown
    assert shown.endswith("\r")
    assert not shown.rstrip("\r").rpartition("\r")[2].strip()
