"""Reports of a run: terminal, messages of failed cases, results.json, page and JUnit."""

from robustness.report._files import begin, remove, unreported, write
from robustness.report._html import html
from robustness.report._junit import add_to_junit, case_properties
from robustness.report._terminal import summary
from robustness.report._text import describe_case, describe_property, without_repeats

__all__ = [
    "add_to_junit",
    "begin",
    "case_properties",
    "describe_case",
    "describe_property",
    "html",
    "remove",
    "summary",
    "unreported",
    "without_repeats",
    "write",
]
