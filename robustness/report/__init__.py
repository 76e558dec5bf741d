"""What a run says: in the terminal, in failures, in ``results.json``."""

from robustness.report._terminal import summary
from robustness.report._text import describe_case, describe_property

__all__ = ["describe_case", "describe_property", "summary"]
