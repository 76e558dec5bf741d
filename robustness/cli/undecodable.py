"""Find the images of an evaluation set that cannot be decoded."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from robustness._util.environment import cores
from robustness.errors import EvaluationSetError
from robustness.evalset._base import EvaluationSet, Pair

MAX_PENDING = 256
"""Images in the thread pool at once."""


def undecodable(evalset: EvaluationSet, advance: Callable[[int], object]) -> dict[str, str]:
    """Decode every image of a set on all cores, and return the failures.

    Args:
        evalset: The set; its ``decode`` is called from several threads.
        advance: Called with 1 after every image.

    Returns:
        The error message by image id, of images that cannot be decoded, in the order of the set.
    """

    def error_message(pair: Pair) -> str:
        try:
            evalset.decode(pair)
        except EvaluationSetError as error:
            return str(error)
        return ""

    failures: dict[str, str] = {}
    with ThreadPoolExecutor(cores(), thread_name_prefix="decode") as pool:
        for start in range(0, len(evalset), MAX_PENDING):
            pairs = evalset.pairs[start : start + MAX_PENDING]
            for pair, message in zip(pairs, pool.map(error_message, pairs), strict=True):
                if message:
                    failures[pair.image_id] = message
                advance(1)
    return failures
