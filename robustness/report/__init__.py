"""What a run says: in the terminal, in failures, as a table, as a page, to JUnit."""

from robustness.report._files import begin, forget, unreported, write
from robustness.report._html import html
from robustness.report._junit import case_properties, tell_junit
from robustness.report._table import markdown
from robustness.report._terminal import summary
from robustness.report._text import describe_case, describe_property, say_once

__all__ = [
    "begin",
    "case_properties",
    "describe_case",
    "describe_property",
    "forget",
    "html",
    "markdown",
    "say_once",
    "summary",
    "tell_junit",
    "unreported",
    "write",
]
