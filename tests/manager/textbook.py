"""The connection manager that everybody writes, and a connection to give to it and to ours.

The manager is what tutorials show: a dict of sockets and a dict of sets of
their ids, with no more care than they take. `test_differential` runs
the same scenarios on it and on `roomactors.ConnectionManager`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Protocol

import trio


class Sends(Protocol):
    """As much of a WebSocket as the textbook knows."""

    async def send(self, message: str | bytes) -> None: ...


class TextbookManager:
    """A dict of sockets and a dict of sets."""

    def __init__(self) -> None:
        self.connections: dict[str, Sends] = {}
        self.rooms: defaultdict[str, set[str]] = defaultdict(set)

    async def add_connection(self, connection_id: str, connection: Sends) -> None:
        self.connections[connection_id] = connection

    async def remove_connection(self, connection_id: str) -> None:
        del self.connections[connection_id]
        for members in self.rooms.values():
            members.discard(connection_id)

    async def join_room(self, connection_id: str, room: str) -> None:
        self.rooms[room].add(connection_id)

    async def leave_room(self, connection_id: str, room: str) -> None:
        self.rooms[room].discard(connection_id)

    async def broadcast_to_room(self, room: str, message: str | bytes) -> None:
        for connection_id in self.rooms[room]:
            await self.connections[connection_id].send(message)

    async def broadcast_to_all(self, message: str | bytes) -> None:
        for connection in self.connections.values():
            await connection.send(message)

    def get_room_connections(self, room: str) -> set[str]:
        return self.rooms[room]

    def get_connection_rooms(self, connection_id: str) -> set[str]:
        return {room for room, members in self.rooms.items() if connection_id in members}


class Peer:
    """A connection that keeps what it was sent, and fails or waits as it is told.

    Args:
      seconds: how long each send takes.
      passes: of trio's loop, that each send takes beside that.
      error: what each send raises.
    """

    def __init__(
        self, *, seconds: float = 0, passes: int = 1, error: Exception | None = None
    ) -> None:
        self.got: list[str | bytes] = []
        self.asked: list[str | bytes] = []
        """What it was asked to send, whether that came to its end or not."""
        self.seconds = seconds
        self.passes = passes
        self.error = error

    async def send(self, message: str | bytes) -> None:
        self.asked.append(message)
        for _ in range(self.passes):
            await trio.lowlevel.checkpoint()
        if self.seconds:
            await trio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        self.got.append(message)
