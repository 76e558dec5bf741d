"""Is a candidate worse than a baseline? Both answered the same queries under the same masks.

Two questions are kept apart. *Is there a change?* is asked of the log rank, which moves
with every query and so sees small drops, by an exact sign-flip test. *Does it matter?* is
asked of hit@10, the headline, whose drop is estimated with an interval. A regression is a
change that matters: the first question alone finds harmless changes, the second chance.
"""

from robustness.paired._answers import Answers, log_ranks, query_clusters
from robustness.paired._compare import PairedComparison, compare_answers
from robustness.paired._decide import (
    adjust,
    non_inferior,
    regressed,
    smallest_drop,
    upper_limit,
)
from robustness.paired._signflip import holm, sign_flip_test

__all__ = [
    "Answers",
    "PairedComparison",
    "adjust",
    "compare_answers",
    "holm",
    "log_ranks",
    "non_inferior",
    "query_clusters",
    "regressed",
    "sign_flip_test",
    "smallest_drop",
    "upper_limit",
]
