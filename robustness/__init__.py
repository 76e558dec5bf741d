"""The robustness gate for medical image-report retrieval."""

__version__ = "0.1.0"
