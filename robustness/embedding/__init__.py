"""Embeddings of an evaluation set: made batch by batch, kept in a store."""

from robustness.embedding._embed import BATCH_SIZE, embed_images, embed_reports
from robustness.embedding._store import DamagedEntryWarning, Store, StoreCounts

__all__ = [
    "BATCH_SIZE",
    "DamagedEntryWarning",
    "Store",
    "StoreCounts",
    "embed_images",
    "embed_reports",
]
