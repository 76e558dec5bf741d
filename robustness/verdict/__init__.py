"""The verdict: reasons, and the one place that decides."""
