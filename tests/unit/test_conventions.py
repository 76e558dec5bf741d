"""Conventions of CONTRIBUTING.md that ruff and import-linter cannot check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("robustness", "models", "tests", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "robustness/models/" not in path.as_posix()
]
QUESTION = re.compile(r"(What|Whether|Where|How|Which)\b")


def strings_as_documentation(path: Path) -> list[tuple[int, str]]:
    """Return line and text of docstrings, and of strings that document a name."""
    return [
        (node.lineno, node.value.value.strip())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


def test_no_docstring_opens_with_a_question_word():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in SOURCES
        for line, text in strings_as_documentation(path)
        if QUESTION.match(text)
    ]
    assert not found, "\n".join(found)


def test_the_check_sees_docstrings(tmp_path):
    module = tmp_path / "module.py"
    module.write_text('"""What it is."""\nX = 1\n"""Whether X."""\ndef f():\n    """How."""\n')
    found = [text for _, text in strings_as_documentation(module) if QUESTION.match(text)]
    assert found == ["What it is.", "Whether X.", "How."]


def test_few_modules_are_flat():
    flat = sorted(path.name for path in (ROOT / "robustness").glob("*.py"))
    assert len(flat) <= 7, flat


def test_models_are_one_package_under_two_paths():
    assert (ROOT / "robustness" / "models").resolve() == (ROOT / "models").resolve()
