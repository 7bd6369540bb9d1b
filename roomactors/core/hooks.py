"""What a program wants to be told of, outside any turn."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import final

import attrs
import trio

logger = logging.getLogger("roomactors")

MemberHook = Callable[[str], Awaitable[None]]
RoomHook = Callable[[str], Awaitable[None]]


@final
@attrs.frozen(kw_only=True)
class Hooks:
    """Async functions that are called, one at a time and in order, by a task of the hub.

    They may take their time and use the hub: no room and no connection waits
    for them. What they raise is logged with its traceback and stops nothing.
    """

    connected: MemberHook | None = None
    """Called with a member id once it can be sent to."""
    disconnected: MemberHook | None = None
    """Called with a member id once it is gone, and has left its rooms."""
    room_occupied: RoomHook | None = None
    """Called with a room's name when its first member has come."""
    room_vacated: RoomHook | None = None
    """Called with a room's name when its last member has gone."""


@final
class HookRunner:
    """The line of notifications before the hooks.

    Args:
      most: how many may wait for a slow hook; above it the newest are
        counted in `missed` and reported once, not kept.
    """

    def __init__(self, most: int) -> None:
        self._sender, self._receiver = trio.open_memory_channel[
            tuple[Callable[[str], Awaitable[None]], str]
        ](most)
        self.missed = 0

    def notify(self, hook: Callable[[str], Awaitable[None]] | None, subject: str) -> None:
        """Have a hook called later. Never waits."""
        if hook is None:
            return
        try:
            self._sender.send_nowait((hook, subject))
        except trio.WouldBlock:
            self.missed += 1
            if self.missed == 1:
                logger.error("a hook is too slow: notifications are being left out")

    async def run(self) -> None:
        """Call the hooks, for ever."""
        async for hook, subject in self._receiver:
            try:
                await hook(subject)
            except Exception:
                logger.exception("a hook failed for %r", subject)
