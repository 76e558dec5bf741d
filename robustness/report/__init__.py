"""What a run says: in the terminal, in failures, as a table."""

from robustness.report._table import markdown
from robustness.report._terminal import summary
from robustness.report._text import describe_case, describe_property

__all__ = ["describe_case", "describe_property", "markdown", "summary"]
