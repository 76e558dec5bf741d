"""How many mutants of what decides a verdict the tests kill: mutmut's, counted by module.

    pip install mutmut==3.8.1
    python benchmarks/mutation.py             # all of it: one to two hours on two cores
    python benchmarks/mutation.py metrics     # the modules with this in their name
    python benchmarks/mutation.py --show      # and what every survivor changes

A copy of the checkout is mutated, in --folder. Run again with the same folder, it tests what
changed, and every survivor anew. ``[tool.mutmut]`` of pyproject.toml says which modules are
mutated and which tests are run; docs/mutation.md what the figures mean. Give it a machine of
its own: mutmut signals workers by number when their time is up, also when they have long ended.
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
    parser.add_argument("modules", nargs="*", help="parts of modules' names; all, where none")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "build" / "mutation")
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--show", action="store_true", help="print every survivor's change")
    options = parser.parse_args()
    copy(options.folder)
    forget_survivors(options.folder)
    wanted = [f"robustness.*{part}*" for part in options.modules]
    mutmut(options.folder, "run", "--max-children", str(options.children), *wanted, quiet=False)
    report(options.folder, options.modules, show=options.show)


def copy(folder: Path) -> None:
    """The checkout, tracked files and new ones, without the copies of an earlier run."""
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(  # noqa: S603
        listed, cwd=REPOSITORY, capture_output=True, check=True
    ).stdout
    for earlier in ("robustness", "tests", "models"):
        shutil.rmtree(folder / earlier, ignore_errors=True)
        keep_results_alone(folder / "mutants" / earlier)
    for name in filter(None, names.decode().split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)


def keep_results_alone(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".meta":
            path.unlink()


def forget_survivors(folder: Path) -> None:
    """mutmut lets results stand, but another test may kill what survived."""
    for path in folder.glob("mutants/robustness/**/*.meta"):
        content = json.loads(path.read_text(encoding="utf-8"))
        codes = content["exit_code_by_key"]
        # pytest exits with 1 where a test failed.
        content["exit_code_by_key"] = {
            name: code if code == 1 else None for name, code in codes.items()
        }
        path.write_text(json.dumps(content), encoding="utf-8")


def mutmut(folder: Path, *arguments: str, quiet: bool = True) -> str:
    """Runs mutmut in the copy; one thread a process, so that forked ones cannot hang."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CI": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    done = subprocess.run(  # noqa: S603
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE if quiet else None,
        text=True,
        check=True,
    )
    return done.stdout or ""


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
    print("| module | mutants | killed | time-outs | survived | no test | caught |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for module, found in counts.items():
        total = found.total()
        numbers = " | ".join(str(found[status]) for status in STATUSES)
        other = {status: n for status, n in found.items() if status not in STATUSES}
        caught = (found[KILLED] + found["timeout"]) / max(total, 1)
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
