"""The robustness gate of this repository: `pytest -m robustness`."""

from robustness.suite import *  # noqa: F403
