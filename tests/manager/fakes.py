"""What the manager's tests share: a small hub's settings, a recorder of removals, an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from roomactors import ConnectionManager, HubSettings, RemovedReason, RoomSettings
from roomactors.core.commands import Present
from roomactors.errors import RoomActorsError
from tests.manager.textbook import Peer

SMALL = HubSettings(room=RoomSettings(log_messages=64, log_floor=64), data_bytes=100)

REMOVED = list[tuple[str, RemovedReason]]


def recorder() -> tuple[REMOVED, Callable[[str, RemovedReason], Awaitable[None]]]:
    """A list, and an `on_removed` that writes into it."""
    removed: REMOVED = []

    async def on_removed(connection_id: str, reason: RemovedReason) -> None:
        await trio.lowlevel.checkpoint()
        removed.append((connection_id, reason))

    return removed, on_removed


async def put(manager: ConnectionManager, room: str, **peers: Peer) -> None:
    """Add connections and put them into a room."""
    for name, peer in peers.items():
        await manager.add_connection(name, peer)
        await manager.join_room(name, room)


class Then:
    """An answer for a room to give, on which something is done within its turn."""

    abandoned = done = False

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def set(self, _value: Present) -> None:
        self._act()

    def fail(self, error: RoomActorsError) -> None:
        raise error
