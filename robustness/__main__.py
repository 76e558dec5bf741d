"""``python -m robustness``: what is not a test."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from robustness.commands import COMMANDS
from robustness.errors import GateError, UsageError

INTERRUPTED = 128 + signal.SIGINT
NOT_READ = 128 + 13
"""What a shell shows of a program that SIGPIPE ended; Windows has no such signal."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every error here is said."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: list[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: The command line without the program; by default this process's.

    Returns:
        The exit status: 0; 2 where the command was asked for in a way that cannot work; 1
        where it failed; 130 where it was interrupted, 141 where its output is not read.

    Raises:
        SystemExit: The command line is malformed (status 2), or asks for help (0).
    """
    parser = _Parser(
        prog="python -m robustness", description="What is not a test; tests run with pytest."
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
        return NOT_READ
    except OSError as error:  # such as a full disk behind the output
        _close_output()
        return _failed(f"{parser.prog} {given.command}: {error}", 1)
    return status


def _failed(message: str, status: int) -> int:
    sys.stderr.write(f"{message}\n")
    return status


def _close_output() -> None:
    """Drops what is not written yet: Python would try again at its end, and complain."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A letter that a terminal lacks is no reason to end with half of the text.
        sys.stdout.reconfigure(errors="replace")
    sys.exit(main())
