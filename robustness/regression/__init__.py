"""Paired comparison of a candidate with a baseline: same queries, same masks.

Two questions are separate. *Is there a change?* is answered by an exact sign-flip
(randomisation) test of the log ranks, which respond to small changes. *Does it matter?* is
answered by the drop of hit@10 with its interval. A regression needs both: the test alone finds
harmless changes, the drop alone chance.
"""

from robustness.regression._answers import Answers, log_ranks, query_clusters
from robustness.regression._compare import PairedComparison, compare_answers
from robustness.regression._decide import (
    adjust,
    non_inferior,
    regressed,
    smallest_drop,
    upper_limit,
)
from robustness.regression._signflip import holm, sign_flip_test

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
