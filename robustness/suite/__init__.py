"""Test cases of the gate, collected by ``from robustness.suite import *`` in a test file."""

from robustness.suite._cases import (
    test_conformance,
    test_fingerprint,
    test_occlusion,
    test_property,
)
from robustness.suite._timing import (
    test_image_embedding_speed,
    test_ranking_speed,
    test_report_embedding_speed,
)

__all__ = [
    "test_conformance",
    "test_fingerprint",
    "test_image_embedding_speed",
    "test_occlusion",
    "test_property",
    "test_ranking_speed",
    "test_report_embedding_speed",
]
