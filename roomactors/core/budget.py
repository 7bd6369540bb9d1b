"""The shared budget of the loop: nobody's work delays the others for long."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import final

import trio

SLICE_SECONDS = 0.001
"""Work of rooms, and as much of the reader, between two looks at the sockets. A message
passes the loop about three times (the wait for the pass under way, its reader, its room), so
that heavy rooms delay it by about 6 ms at the most; a pass costs some 0.05 ms of this."""


@final
class Budget:
    """What rooms and readers may do before the loop goes round.

    Whoever does heavy work calls `admit` before it and `spend` after it, even
    if the work failed. When a slice has been spent, the next one to ask lets
    the loop go round once; who asks meanwhile waits in the order of asking.

    Args:
      stopwatch: seconds of real work, whatever trio's clock says.
    """

    def __init__(self, stopwatch: Callable[[], float] = perf_counter) -> None:
        self.stopwatch = stopwatch
        self._spent = 0.0
        self._typical = SLICE_SECONDS
        self._refilling = False
        self._waiting = trio.lowlevel.ParkingLot()
        # Woken, and not run since. While somebody waits, there is one of these,
        # or one that refills, or one that has been let in and will `spend`.
        self._woken = 0

    async def admit(self) -> None:
        """Wait until this slice has something left.

        A checkpoint only if it waits. Cancelling it changes nothing for the others.
        """
        while self._spent >= SLICE_SECONDS:
            if self._refilling:
                await self._waiting.park()
                self._woken -= 1
                continue
            self._refilling = True
            try:
                await trio.lowlevel.checkpoint()
            finally:
                self._refilling = False
                self._spent = 0.0
                # As many as will fit, so that those at the head of the queue
                # go first; the others would only find the slice spent.
                self._wake(max(1, int(SLICE_SECONDS / self._typical)))

    def spend(self, seconds: float) -> None:
        """Account for work that has been done."""
        self._spent += seconds
        self._typical = max(1e-5, self._typical * 0.9 + seconds * 0.1)
        # With nothing left, one is enough: it refills the slice.
        more = self._spent < SLICE_SECONDS or not self._woken
        if self._waiting and more and not self._refilling:
            self._wake(1)

    def _wake(self, most: int) -> None:
        self._woken += len(self._waiting.unpark(count=most))
