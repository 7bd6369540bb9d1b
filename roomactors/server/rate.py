"""How often one connection may broadcast."""

from __future__ import annotations

from typing import final

BURST_SECONDS = 2.0
"""So much of the rate may be used at once: a client that was offline sends what it kept."""

_ROUNDING = 1e-9
"""Tokens that sums of floats may be short of."""


@final
class TokenBucket:
    """Allows `rate` broadcasts a second, and `BURST_SECONDS` of them at once.

    Args:
      rate: broadcasts a second, more than 0.
      now: seconds, of the clock that `take` is given.
    """

    __slots__ = ("_burst", "_excess_since", "_last", "_rate", "_tokens")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._burst = max(1.0, rate * BURST_SECONDS)
        self._tokens = self._burst
        self._last = now
        self._excess_since: float | None = None

    def take(self, now: float) -> float:
        """Use one; returns 0 if there was one, else the seconds until there will be."""
        self._fill(now)
        if self._tokens >= 1.0 - _ROUNDING:
            self._tokens -= 1.0
            return 0.0
        if self._excess_since is None:
            self._excess_since = now
        return (1.0 - self._tokens) / self._rate

    def overdraw(self, now: float) -> float:
        """Use one, there or not; returns the seconds after which the debt is paid."""
        self._fill(now)
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._rate)

    def excess_seconds(self, now: float) -> float:
        """For how long it has been used up without ever having filled again."""
        return 0.0 if self._excess_since is None else now - self._excess_since

    def _fill(self, now: float) -> None:
        self._tokens += (now - self._last) * self._rate
        self._last = now
        if self._tokens >= self._burst:
            self._tokens = self._burst
            self._excess_since = None
