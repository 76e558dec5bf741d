"""Fetching a public collection: download with resume, safe unpacking, a folder in place."""

from __future__ import annotations

from robustness.fetch._archives import BASE, IMAGES, LICENCE
from robustness.fetch._console import Console
from robustness.fetch._download import Patience
from robustness.fetch._run import Order, fetch

__all__ = ["BASE", "IMAGES", "LICENCE", "Console", "Order", "Patience", "fetch"]
