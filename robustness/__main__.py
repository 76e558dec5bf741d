"""Command line ``robustness``, also ``python -m robustness``."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from robustness.cli import COMMANDS
from robustness.errors import GateError, UsageError

INTERRUPTED = 128 + signal.SIGINT
BROKEN_PIPE = 128 + 13
"""Exit status of a program that SIGPIPE ended; Windows has no such signal."""


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, as all commands do."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The arguments; by default those of this process.

    Returns:
        The exit status: 0 for success, 1 for a failure, 2 for invalid arguments, 130 for an
        interrupt, 141 for a closed output.

    Raises:
        SystemExit: The command line is malformed (status 2) or contains ``--help`` (0).
    """
    # The console script and ``python -m robustness`` are the same program under two names.
    name = "robustness" if Path(sys.argv[0]).stem == "robustness" else "python -m robustness"
    parser = _Parser(
        prog=name,
        description="Inspect evaluation sets and results. To run the gate itself, use:"
        " pytest -m robustness",
        epilog=f"{name} COMMAND --help shows the options of a command.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.register(commands)
    given = parser.parse_args(arguments)
    try:
        status: int = given.run(given)
        sys.stdout.flush()
    except GateError as error:
        return _failed(str(error), 2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _close_output()
        return BROKEN_PIPE
    except OSError as error:  # such as a full disk behind the output
        _close_output()
        return _failed(f"{parser.prog} {given.command}: {error}", 1)
    return status


def _failed(message: str, status: int) -> int:
    sys.stderr.write(f"{message}\n")
    return status


def _close_output() -> None:
    """Discard buffered output: Python would try to write it again at exit, and report that."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def program() -> int:
    """Run the command line of this process; the console script ``robustness`` calls it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Replace characters that the terminal cannot show, rather than fail halfway.
        sys.stdout.reconfigure(errors="replace")
    return main()


if __name__ == "__main__":
    sys.exit(program())
