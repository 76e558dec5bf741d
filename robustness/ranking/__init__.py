"""Rank counts of positives without an N x N score matrix in memory.

Scores are float32 dot products, independent of the caller's precision settings. Three silent
errors shape this package:

- Ties. If all embeddings are equal, the number of higher scores is 0 for every query, a
  perfect rank. So ties are counted too, and metrics take the expectation over them.
- A positive must have one score. Computed separately, it differs in its last bits from the
  score of an equal row in the matrix product. So it is read from the tile, or written into it
  before any comparison, and the positive is excluded by index.
- The last bits of a product depend on a row's position in the matrix. So the distinct gallery
  rows are first put into a canonical order: equal rows score equally, and the caller's order
  changes nothing.
"""

from robustness.metrics.rank_counts import RankCounts
from robustness.ranking._blocks import rank_both
from robustness.ranking._inputs import TILE_BYTES, Distinct, Positives
from robustness.ranking._rows import Score, TileCallback, rank_counts

__all__ = [
    "TILE_BYTES",
    "Distinct",
    "Positives",
    "RankCounts",
    "Score",
    "TileCallback",
    "rank_both",
    "rank_counts",
]
