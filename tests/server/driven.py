"""Connections over real socket pairs, driven by a task each or by the one reader."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import final

import pytest
import trio

from roomactors.core.hub import Hub
from roomactors.server.config import ServerSettings
from roomactors.server.connection import Connection, Dialogue
from roomactors.server.drivers import Drivers, Pulse
from roomactors.server.links import Link, SocketLink
from roomactors.server.reader import EpollReader
from roomactors.testing import open_test_hub
from tests.server.fakes import Acts, Script, scripted

BOTH = [
    pytest.param(False, id="task"),
    *([pytest.param(True, id="reader")] if hasattr(select, "epoll") else []),
]
"""Whether the one reader reads, for parametrised tests."""


@final
class Driven:
    """Drivers with all that they need; made by `open_drivers`."""

    def __init__(
        self, hub: Hub, nursery: trio.Nursery, reader: EpollReader | None, read_bytes: int
    ) -> None:
        self.hub = hub
        self.nursery = nursery
        self.pulse = Pulse()
        self.drivers = Drivers(nursery, pulse=self.pulse, reader=reader, read_bytes=read_bytes)
        self.ended: list[Connection] = []
        """Those whose `drive` has returned, in that order."""
        self.scopes: dict[Connection, trio.CancelScope] = {}
        """Of those that are driven, to cancel them by."""
        self._peers: list[socket.socket] = []
        self._count = 0

    def connect(
        self,
        acts: Acts | None = None,
        *,
        settings: ServerSettings | None = None,
        early: bytes = b"",
        wrap: Callable[[socket.socket], Link] | None = None,
    ) -> tuple[Connection, Script, socket.socket]:
        """A connection in a task of its own, its protocol, and the client's socket."""
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        peer.setblocking(False)
        self._peers.append(peer)
        made, dialogue = scripted(acts)
        link = SocketLink(ours, remote="") if wrap is None else wrap(ours)
        connection = self.add(link, dialogue, settings=settings, early=early)
        return connection, made[0], peer

    def add(
        self,
        link: Link,
        dialogue: Callable[[Connection], Dialogue],
        *,
        settings: ServerSettings | None = None,
        early: bytes = b"",
    ) -> Connection:
        """A connection over this link, in a task of its own."""
        self._count += 1
        connection = Connection(
            f"m_{self._count}",
            None,
            link=link,
            keeper=self.hub.keeper,
            settings=settings or ServerSettings(),
            driver=self.drivers,
            dialogue=dialogue,
        )
        self.hub.keeper.connect(connection.outlet)
        self.nursery.start_soon(self._drive, connection, early)
        return connection

    async def _drive(self, connection: Connection, early: bytes) -> None:
        with trio.CancelScope() as self.scopes[connection]:
            try:
                await self.drivers.drive(connection, b"", early)
            finally:
                del self.scopes[connection]
                self.ended.append(connection)

    def close(self) -> None:
        """Close the clients' sockets."""
        for peer in self._peers:
            peer.close()


@contextmanager
def opened_reader(read_bytes: int) -> Iterator[EpollReader]:
    reader = EpollReader(read_bytes=read_bytes)
    try:
        yield reader
    finally:
        reader.close()


@asynccontextmanager
async def open_drivers(
    *, by_reader: bool, read_bytes: int = 64 * 1024
) -> AsyncGenerator[Driven, None]:
    """Run drivers for the length of a block; what it raises comes out as it is."""
    raised: Exception | None = None
    with opened_reader(read_bytes) as reader:
        async with open_test_hub() as hub:
            async with trio.open_nursery() as nursery:
                driven = Driven(hub, nursery, reader if by_reader else None, read_bytes)
                nursery.start_soon(driven.pulse.run)
                if by_reader:
                    nursery.start_soon(reader.run)
                try:
                    yield driven
                except Exception as error:  # noqa: BLE001 - raised again, outside the nursery
                    raised = error
                nursery.cancel_scope.cancel()
            driven.close()
            if raised is not None:
                raise raised


def open_files() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - no object that holds one more


def received(peer: socket.socket) -> bytes:
    """What has arrived at a client."""
    data = b""
    while True:
        try:
            piece = peer.recv(1 << 20)
        except BlockingIOError:
            return data
        if not piece:
            return data
        data += piece


def is_closed(peer: socket.socket) -> bool:
    """Whether the server has closed its end, and all that came before has been read."""
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
