"""A hub and a server for tests: in memory, on trio's clock, the same in every run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import count
from typing import final

import trio

from roomactors.core.hooks import Hooks
from roomactors.core.hub import Hub, open_hub
from roomactors.core.settings import HubSettings
from roomactors.protocol.json_data import freeze
from roomactors.server.admission import JSON_PATH, Admit
from roomactors.server.config import ServerSettings
from roomactors.server.listen import Server
from roomactors.testing.client import Client, HttpAnswer, fetch
from roomactors.testing.network import CAPACITY, MemoryStream, memory_link_pair

START_MS = 1_000_000_000_000
"""The wall clock of a test hub when it opens, in milliseconds since the Unix epoch."""


def _no_time() -> float:
    return 0.0


def open_test_hub(
    *, settings: HubSettings | None = None, hooks: Hooks | None = None
) -> AbstractAsyncContextManager[Hub]:
    """Run a hub that does the same in every run, for the length of an ``async with`` block.

    Its wall clock begins at `START_MS` and goes with trio's, its epochs are
    ``"epoch-1"``, ``"epoch-2"`` and so on, in the order in which rooms begin
    (a server's first connection begins the room of everyone), and how long
    work really takes changes nothing. All else is as in `roomactors.open_hub`.
    """
    began = trio.current_time()
    numbers = count(1)
    return open_hub(
        freeze=partial(freeze, max_bytes=0),
        settings=settings,
        hooks=hooks,
        wall_clock=lambda: START_MS + round((trio.current_time() - began) * 1000),
        stopwatch=_no_time,
        new_epoch=lambda: f"epoch-{next(numbers)}",
    )


@final
class MemoryServer:
    """A server without sockets, and the way to connect to it. Made by `open_test_server`.

    Attributes:
      hub: its rooms.
      server: the server itself.
    """

    def __init__(self, hub: Hub, server: Server, nursery: trio.Nursery) -> None:
        self.hub = hub
        self.server = server
        self._nursery = nursery

    def open_stream(
        self,
        *,
        latency: float = 0.0,
        capacity: int = CAPACITY,
        writes_at_once: bool = True,
        remote: str = "192.0.2.1",
        secure: bool = False,
    ) -> MemoryStream:
        """Connect, and say nothing yet; the arguments are those of `memory_link_pair`."""
        link, stream = memory_link_pair(
            latency=latency,
            capacity=capacity,
            writes_at_once=writes_at_once,
            remote=remote,
            secure=secure,
        )
        self.server.take(link)
        return stream

    async def connect(
        self,
        path: str = JSON_PATH,
        *,
        headers: Iterable[tuple[str, str]] = (),
        subprotocols: Iterable[str] = (),
        stream: MemoryStream | None = None,
        latency: float = 0.0,
        capacity: int = CAPACITY,
        writes_at_once: bool = True,
        remote: str = "192.0.2.1",
        secure: bool = False,
    ) -> Client:
        """Open a WebSocket; at ``/ws`` the welcome has been received.

        Args:
          path: with its query.
          headers: further ones.
          subprotocols: to offer, in this order.
          stream: from `open_stream`, if its faults are to begin before the
            first byte; the arguments after this are then not looked at.
          latency: seconds from one end to the other.
          capacity: bytes that each direction holds.
          writes_at_once: whether the server's end has a non-blocking write;
            without it, it is like TLS.
          remote: the client's address.
          secure: whether the server takes it for TLS.

        Raises:
          CannotConnectError: the server said no, with `status`, or hung up.

        The client lives as long as the test server's block.
        """
        if stream is None:
            stream = self.open_stream(
                latency=latency,
                capacity=capacity,
                writes_at_once=writes_at_once,
                remote=remote,
                secure=secure,
            )
        client = Client(stream, self._nursery)
        await client.open(path, list(headers), list(subprotocols))
        if path.partition("?")[0] == JSON_PATH:
            client.welcome = await client.expect(type="welcome")
        return client

    async def get(
        self, path: str, *, method: str = "GET", headers: Iterable[tuple[str, str]] = ()
    ) -> HttpAnswer:
        """Make an HTTP request, on a connection of its own."""
        return await fetch(self.open_stream(), path, method=method, headers=headers)


@asynccontextmanager
async def open_test_server(
    *,
    settings: ServerSettings | None = None,
    hub_settings: HubSettings | None = None,
    admit: Admit | None = None,
    hooks: Hooks | None = None,
) -> AsyncGenerator[MemoryServer, None]:
    """Run a server in memory for the length of an ``async with`` block.

    Give the test a mock clock (`trio.testing.MockClock`; with pytest-trio, the
    fixture ``autojump_clock``), and deadlines of minutes pass in no time.

    Args:
      settings: of the server.
      hub_settings: of its hub, which is one of `open_test_hub`.
      admit: as for `roomactors.serve`.
      hooks: as for `roomactors.serve`.

    Leaving the block ends all clients and connections at once; what it raises
    comes out as it is, in no group. Entering is no checkpoint, leaving is one.
    """
    raised: Exception | None = None
    async with open_test_hub(settings=hub_settings, hooks=hooks) as hub:
        async with trio.open_nursery() as nursery:
            server = Server(
                hub,
                nursery=nursery,
                settings=settings or ServerSettings(),
                admit=admit,
                tls=None,
                owns_hub=True,
            )
            nursery.start_soon(server.run, [], name="server")
            try:
                yield MemoryServer(hub, server, nursery)
            except Exception as error:  # noqa: BLE001 - raised again below, outside the nursery
                raised = error
            nursery.cancel_scope.cancel()
        if raised is not None:
            raise raised
