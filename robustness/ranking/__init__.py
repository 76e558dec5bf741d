"""Ranks of the right answers, without an N x N matrix in memory.

Scores are float32 dot products, whatever precision the caller's settings allow. Three
things go wrong in silence here, and shape this module:

- Ties. Where all embeddings are equal, "how many score above" is 0 for everybody, a
  perfect rank; so ties are counted beside it and metrics take their expectation.
- A positive's score must be one number wherever it is looked at: computed apart it differs
  in its last bits from its copies' in the product. It is read from the tile, or put there
  before anything is compared with it, and excluded by its index.
- A product's last bits depend on where in the matrix a row stands. The gallery's
  distinct rows are brought into an order of their own first, so that equal rows score
  equally and the caller's order changes nothing.
"""

from robustness.counts import RankCounts
from robustness.ranking._blocks import rank_both
from robustness.ranking._inputs import TILE_BYTES, Distinct, Positives
from robustness.ranking._rows import Score, Watch, rank_counts

__all__ = [
    "TILE_BYTES",
    "Distinct",
    "Positives",
    "RankCounts",
    "Score",
    "Watch",
    "rank_both",
    "rank_counts",
]
