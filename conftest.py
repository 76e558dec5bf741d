"""Hypothesis profiles."""

from __future__ import annotations

import os

from hypothesis import settings

# A first example pays for importing torch, so there is no deadline; in CI every run is
# the same run, whatever an earlier one left on the disk.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
