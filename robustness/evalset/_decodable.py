"""Which images of a set cannot be decoded, found out before anything is measured on it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from robustness.environment import cores
from robustness.errors import EvaluationSetError
from robustness.evalset._base import EvaluationSet, Pair

AT_ONCE = 256
"""Images that are begun before the first of them is waited for."""


def undecodable(evalset: EvaluationSet, advance: Callable[[int], object]) -> dict[str, str]:
    """Decodes every image of a set, on all the cores, and keeps none.

    Args:
        evalset: The set; its ``decode`` is called from several threads.
        advance: Is told of every image that is done.

    Returns:
        Why an image cannot be decoded, by its id, of those that cannot, in the set's order.
    """

    def why(pair: Pair) -> str:
        try:
            evalset.decode(pair)
        except EvaluationSetError as error:
            return str(error)
        return ""

    found: dict[str, str] = {}
    with ThreadPoolExecutor(cores(), thread_name_prefix="decode") as pool:
        for start in range(0, len(evalset), AT_ONCE):
            pairs = evalset.pairs[start : start + AT_ONCE]
            for pair, reason in zip(pairs, pool.map(why, pairs), strict=True):
                if reason:
                    found[pair.image_id] = reason
                advance(1)
    return found
