"""Mutation testing of the code that decides a verdict, with mutmut: counts by module.

    pip install mutmut==3.8.1
    python benchmarks/mutation.py             # all modules, one to two hours on two cores
    python benchmarks/mutation.py metrics     # only modules whose name contains "metrics"
    python benchmarks/mutation.py --show      # with the diff of every survivor

It mutates a copy of the checkout, in --folder. Another run with the same folder tests only changed
code, and all survivors again. ``[tool.mutmut]`` in pyproject.toml lists the mutated modules and the
tests; CONTRIBUTING.md explains how to read the result. Run it on an otherwise idle machine: mutmut
signals workers by process id after a timeout, even if they have already ended.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
KILLED = "killed"
SURVIVED = ("survived", "no tests")
STATUSES = (KILLED, "timeout", *SURVIVED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", help="parts of module names (default: all modules)")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "build" / "mutation")
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--show", action="store_true", help="print the diff of every survivor")
    options = parser.parse_args()
    copy_checkout(options.folder)
    forget_survivors(options.folder)
    patterns = [f"robustness.*{part}*" for part in options.modules]
    mutmut(options.folder, "run", "--max-children", str(options.children), *patterns, quiet=False)
    report(options.folder, options.modules, show=options.show)


def copy_checkout(folder: Path) -> None:
    """Copy tracked and new files; replace the copies of an earlier run."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(  # noqa: S603
        command, cwd=REPOSITORY, capture_output=True, check=True
    ).stdout
    for earlier in ("robustness", "tests", "models"):
        shutil.rmtree(folder / earlier, ignore_errors=True)
        remove_all_but_results(folder / "mutants" / earlier)
    for name in filter(None, names.decode().split("\0")):
        source, target = REPOSITORY / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():  # robustness/models
            target.symlink_to(source.readlink())
        elif source.is_file():
            shutil.copy(source, target)


def remove_all_but_results(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".meta":
            path.unlink()


def forget_survivors(folder: Path) -> None:
    """Reset the results of survivors; mutmut would keep them, but a new test may kill them."""
    for path in folder.glob("mutants/robustness/**/*.meta"):
        content = json.loads(path.read_text(encoding="utf-8"))
        codes = content["exit_code_by_key"]
        # pytest exits with 1 if a test failed.
        content["exit_code_by_key"] = {
            name: code if code == 1 else None for name, code in codes.items()
        }
        path.write_text(json.dumps(content), encoding="utf-8")


def mutmut(folder: Path, *arguments: str, quiet: bool = True) -> str:
    """Run mutmut in the copy, with one thread per process so that forked processes cannot hang."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CI": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    completed = subprocess.run(  # noqa: S603
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE if quiet else None,
        text=True,
        check=True,
    )
    return completed.stdout or ""


def report(folder: Path, parts: list[str], *, show: bool) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    survivors = []
    for line in mutmut(folder, "results", "--all", "true").splitlines():
        name, _, status = line.strip().rpartition(": ")
        module = name.rpartition(".")[0]
        if any(part in module for part in parts) or not parts:
            counts[module][status] += 1
            if status in SURVIVED:
                survivors.append(name)
    counts["all"] = sum(counts.values(), Counter())
    print("| module | mutants | killed | timeouts | survived | no test | caught |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for module, by_status in counts.items():
        total = by_status.total()
        numbers = " | ".join(str(by_status[status]) for status in STATUSES)
        other = {status: n for status, n in by_status.items() if status not in STATUSES}
        caught = (by_status[KILLED] + by_status["timeout"]) / max(total, 1)
        print(f"| {module} | {total} | {numbers} | {caught:.1%} |", other or "")
    print()
    for name in survivors:
        print(name)
        if show:
            diff = mutmut(folder, "show", name).splitlines()
            print(
                "\n".join(
                    line for line in diff if line[:1] in "+-" and line[:3] not in {"+++", "---"}
                )
            )


if __name__ == "__main__":
    main()
