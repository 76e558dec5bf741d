"""Test helpers: builders of input files, reference implementations, and in-process gate runs."""
