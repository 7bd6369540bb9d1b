"""Medians and percentiles, the same everywhere. Pure."""

import math
from collections.abc import Iterable, Sequence


def median(values: Iterable[float]) -> float:
    """Return the middle value; of an even number the mean of the middle two.

    Raises:
      ValueError: there is none.
    """
    ranked = sorted(values)
    if not ranked:
        raise ValueError("no values")
    half = len(ranked) // 2
    return ranked[half] if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) / 2


def percentile(ranked: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` percent of all are not above.

    It is one of the values, never a mean of two (nearest rank).

    Args:
      ranked: the values, in ascending order.
      share: percent, above 0 and at most 100.

    Raises:
      ValueError: there are no values, or no such share.
    """
    if not ranked or not 0 < share <= 100:
        raise ValueError("no values, or no such share")
    return ranked[math.ceil(len(ranked) * share / 100) - 1]
