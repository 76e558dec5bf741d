"""Embeddings of an evaluation set: computed in batches, kept in a store."""

from robustness.embedding._decoded import decode_once
from robustness.embedding._embed import BATCH_SIZE, embed_images, embed_reports
from robustness.embedding._precision import FLOAT32, PRECISIONS, check_precision
from robustness.embedding._store import Store, StoreCounts

__all__ = [
    "BATCH_SIZE",
    "FLOAT32",
    "PRECISIONS",
    "Store",
    "StoreCounts",
    "check_precision",
    "decode_once",
    "embed_images",
    "embed_reports",
]
