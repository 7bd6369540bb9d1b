"""Moments of the mock clock, for tests of what happens when."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked


async def at(seconds: float) -> None:
    """Go on at this time of trio's clock, when all that is due then has been done."""
    await trio.sleep_until(seconds)
    await wait_all_tasks_blocked()


async def just_before(seconds: float) -> None:
    """Go on a moment before this time."""
    await at(seconds - 0.001)
