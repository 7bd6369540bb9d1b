"""The running server: accept, tell WebSocket from HTTP, drain, stop."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import secrets
import select
import socket
import ssl
from typing import final

import attrs
import trio

from roomactors.core.hooks import Hooks
from roomactors.core.hub import Hub
from roomactors.core.settings import HubSettings
from roomactors.errors import RoomActorsError
from roomactors.library import open_hub
from roomactors.protocol.codes import CloseCode
from roomactors.server.admission import Admit, Plan, admit_user, plan_upgrade
from roomactors.server.config import ServerSettings
from roomactors.server.connection import Connection, Dialogue
from roomactors.server.dialogue_json import JsonDialogue
from roomactors.server.dialogue_raw import RawDialogue
from roomactors.server.drivers import Drivers, Pulse
from roomactors.server.handshake import upgrade_response
from roomactors.server.head import HttpRefusal, Request, head_end, parse_head
from roomactors.server.links import ENDED, Link, SocketLink, TlsLink, tune
from roomactors.server.reader import EpollReader
from roomactors.server.sockets import open_listeners
from roomactors.server.upgrade import ordinary_upgrade_response
from roomactors.server.web import answer, refusal_response

logger = logging.getLogger("roomactors")

ACCEPTS_AT_ONCE = 64
"""Connections accepted before the others get their turn."""
REFUSALS_AT_ONCE = 256
"""Connections over a limit that are told so; above it they are closed without a word."""
OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
SPREAD_SECONDS = 0.005
"""Between two closes in a drain, so that 1,000 clients come back within 5 s and not at once."""


@final
@attrs.frozen(kw_only=True)
class ServerStatistics:
    """A look at a server, at one moment."""

    connections: int
    """WebSocket connections that are open."""
    sockets: int
    """Sockets, those included that are opening, closing or only fetch a page."""
    accepted: int
    """Sockets accepted since the start."""
    refused: int
    """Of these, over a limit."""
    draining: bool


@final
class Server:
    """A server that runs. Made by `serve`."""

    def __init__(
        self,
        hub: Hub,
        *,
        nursery: trio.Nursery,
        settings: ServerSettings,
        admit: Admit | None,
        tls: ssl.SSLContext | None,
        owns_hub: bool,
        reader: EpollReader | None = None,
    ) -> None:
        self.hub = hub
        self.settings = settings
        self.port: int | None = None
        """The TCP port; None on a Unix socket."""
        self.draining = False
        self._admit = admit
        self._tls = tls
        self._owns_hub = owns_hub
        self._nursery = nursery
        self._accepting = trio.CancelScope()
        self._pulse = Pulse()
        self._reader = reader
        self._driver = Drivers(
            nursery,
            pulse=self._pulse,
            reader=reader,
            read_bytes=settings.read_bytes,
            stopwatch=hub.keeper.budget.stopwatch,
        )
        self._reading_heads: set[trio.CancelScope] = set()
        self._sockets = 0
        self._refusing = 0
        self._per_address: dict[str, int] = {}
        self._accepted = 0
        self._refused = 0
        self._all_gone = trio.Event()

    def statistics(self) -> ServerStatistics:
        """A look at the server."""
        return ServerStatistics(
            connections=len(self._driver.open),
            sockets=self._sockets,
            accepted=self._accepted,
            refused=self._refused,
            draining=self.draining,
        )

    async def run(self, listeners: list[socket.socket]) -> None:
        """Serve until cancelled or drained.

        Args:
          listeners: what to accept from, and to close at the end; none if all
            links come by `take`.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pulse.run, name="pulse")
            if self._reader is not None:
                nursery.start_soon(self._reader.run, name="reader")
            with self._accepting:
                async with trio.open_nursery() as acceptors:
                    for listener in listeners:
                        acceptors.start_soon(self._accept_all, listener)
            for listener in listeners:
                listener.close()
            await self._all_gone.wait()
            nursery.cancel_scope.cancel()

    # Accepting

    async def _accept_all(self, listener: socket.socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            for _ in range(ACCEPTS_AT_ONCE):
                try:
                    sock, address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in OUT_OF_FILES:
                        logger.error("cannot accept a connection: %s", error)
                        await trio.sleep(0.1)
                    break
                sock.setblocking(False)
                tune(sock, self.settings.unsent_bytes)
                # An IPv4 peer of a socket for both is written as IPv6.
                remote = address[0].removeprefix("::ffff:") if isinstance(address, tuple) else ""
                link: Link = (
                    SocketLink(sock, remote=remote)
                    if self._tls is None
                    else TlsLink(sock, self._tls, remote=remote)
                )
                self.take(link)

    def take(self, link: Link) -> None:
        """Serve one more link, in a task of its own; over a limit, refuse it."""
        self._accepted += 1
        refusal = self._over_limit(link.remote)
        if refusal is not None:
            self._refused += 1
            if self._refusing >= REFUSALS_AT_ONCE:
                link.abort(reset=True)
                return
            self._refusing += 1
        else:
            self._per_address[link.remote] = self._per_address.get(link.remote, 0) + 1
        self._sockets += 1
        self._nursery.start_soon(self._serve_link, link, refusal)

    def _over_limit(self, remote: str) -> HttpRefusal | None:
        settings = self.settings
        limit = settings.max_connections
        if limit and self._sockets - self._refusing >= limit:
            return HttpRefusal(503, "unavailable", f"this server is full ({limit} connections)")
        limit = settings.max_connections_per_address
        if limit and remote and self._per_address.get(remote, 0) >= limit:
            return HttpRefusal(
                429, "rate_limited", f"there are {limit} connections from your address already"
            )
        return None

    async def _serve_link(self, link: Link, refusal: HttpRefusal | None) -> None:
        """One socket, from its first byte to its last: nothing that it does gets out of here."""
        try:
            await self._open(link, refusal)
        except ENDED:
            pass  # the peer is gone
        except Exception:
            logger.exception("serving a connection from %s failed", link.remote or "?")
        finally:
            link.abort()
            self._sockets -= 1
            if refusal is None:
                self._forget_address(link.remote)
            else:
                self._refusing -= 1
            self._look_whether_all_are_gone()

    def _forget_address(self, remote: str) -> None:
        left = self._per_address[remote] - 1
        if left:
            self._per_address[remote] = left
        else:
            del self._per_address[remote]

    async def _open(self, link: Link, refusal: HttpRefusal | None) -> None:
        opened = await self._front_door(link, refusal)
        if opened is not None:
            await self._driver.drive(*opened)

    async def _front_door(
        self, link: Link, refusal: HttpRefusal | None
    ) -> tuple[Connection, bytes, bytes] | None:
        """Read the request's head and answer it; what is left is a connection."""
        deadline = trio.current_time() + self.settings.opening_seconds
        try:
            head = None
            with trio.move_on_at(deadline) as scope:
                self._reading_heads.add(scope)
                try:
                    head = await self._read_head(link)
                finally:
                    self._reading_heads.discard(scope)
            if head is None:
                return None
            request, early = head
            if refusal is not None:
                raise refusal
            if not request.is_upgrade:
                await self._answer(link, answer(request, ready=not self.draining))
                return None
            plan = plan_upgrade(request, allowed_origins=self.settings.allowed_origins)
            self._check_that_it_stays()
            left = max(0.0, deadline - trio.current_time())
            user = await admit_user(request, plan, self._admit, deadline_seconds=left)
            response = ordinary_upgrade_response(request, subprotocol=plan.subprotocol)
            if response is None:
                response = await upgrade_response(request, subprotocol=plan.subprotocol)
            # Again, since that took its time; from here on a drain closes the connection.
            self._check_that_it_stays()
            connection = self._connect(link, plan, user)
        except HttpRefusal as refused:
            logger.info("refused %s: %s", link.remote or "?", refused)
            await self._answer(link, refusal_response(refused))
            return None
        return connection, response, early

    def _check_that_it_stays(self) -> None:
        if self.draining:
            raise HttpRefusal(503, "draining", "this server is stopping, try another")

    async def _read_head(self, link: Link) -> tuple[Request, bytes] | None:
        """The request, and what came behind it; None if the peer sent nothing whole."""
        buffer = b""
        while (end := head_end(buffer)) is None:
            data = await link.receive(self.settings.read_bytes)
            if not data:
                return None
            buffer += data
        return parse_head(buffer[:end], remote=link.remote, secure=link.secure), buffer[end:]

    def _connect(self, link: Link, plan: Plan, user: str | None) -> Connection:
        def dialogue(connection: Connection) -> Dialogue:
            if plan.room is None:
                return JsonDialogue(connection, resume=plan.resume)
            return RawDialogue(connection, room=plan.room, echo=plan.echo)

        connection = Connection(
            "m_" + secrets.token_urlsafe(9),
            user,
            link=link,
            keeper=self.hub.keeper,
            settings=self.settings,
            driver=self._driver,
            dialogue=dialogue,
        )
        try:
            self.hub.keeper.connect(connection.outlet)
        except RoomActorsError as error:
            raise HttpRefusal(503, "unavailable", str(error)) from None
        return connection

    async def _answer(self, link: Link, response: bytes) -> None:
        """Write an HTTP response and close, so that it is not lost to a reset."""
        discarded = 0
        with trio.move_on_after(self.settings.close_seconds):
            await link.send_all(response)
            link.send_eof()
            while discarded <= self.settings.close_discard_bytes:
                data = await link.receive(self.settings.read_bytes)
                if not data:
                    return
                discarded += len(data)

    # Stopping

    def _look_whether_all_are_gone(self) -> None:
        if self.draining and not self._sockets:
            self._all_gone.set()

    async def drain(self) -> None:
        """Stop for good, so that clients come back elsewhere and nothing accepted is lost.

        Listeners close; clients are told and, once what the rooms have taken
        has gone out to them, closed with 1012, spread over time. It ends when
        all sockets are closed, at the latest after `drain_seconds`; what is
        open then is aborted. The server's task then ends too. A hub of your
        own goes on, and announces that the clients have gone. A checkpoint;
        cancelling it leaves the server draining.
        """
        settings = self.settings
        self.draining = True
        self._accepting.cancel()
        for scope in list(self._reading_heads):
            scope.cancel()  # whoever has asked for nothing yet
        connections = list(self._driver.open)
        random.shuffle(connections)
        spread = min(settings.drain_seconds / 2, SPREAD_SECONDS * len(connections))
        with trio.move_on_after(settings.drain_seconds):
            for connection in connections:
                jitter = random.uniform(0.1, 1 + spread)  # noqa: S311 - to spread load, not a secret
                connection.announce_drain(round(jitter, 2))
            if self._owns_hub:
                await self.hub.keeper.drain(settings.drain_seconds / 4)
            begun = trio.current_time()
            # A slow one gets more time than its place in the row, and holds nobody up.
            patience = begun + max(spread, settings.drain_seconds / 2)
            async with trio.open_nursery() as closing:
                for number, connection in enumerate(connections):
                    await trio.sleep_until(begun + spread * number / len(connections))
                    closing.start_soon(self._close_when_written, connection, patience)
            self._look_whether_all_are_gone()
            await self._all_gone.wait()
        self._all_gone.set()

    async def _close_when_written(self, connection: Connection, at_the_latest: float) -> None:
        with trio.move_on_at(at_the_latest):
            await connection.wait_written()
        connection.close(CloseCode.RESTARTING)


async def serve(
    host: str | None = "127.0.0.1",
    port: int = 8000,
    *,
    unix: str | os.PathLike[str] | None = None,
    hub: Hub | None = None,
    admit: Admit | None = None,
    settings: ServerSettings | None = None,
    hub_settings: HubSettings | None = None,
    hooks: Hooks | None = None,
    tls: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve rooms over WebSocket, until cancelled or drained.

    Start it with ``server = await nursery.start(roomactors.serve)``.

    Args:
      host: the address to listen on; ``"::"`` and None are all of them.
      port: TCP; 0 lets the system choose, and `Server.port` says which.
      unix: a path for a Unix socket, in place of host and port.
      hub: rooms of your own, which go on when the server ends; None opens a
        hub for as long as the server runs.
      admit: decides who may connect, before the upgrade; within
        `ServerSettings.opening_seconds`.
      settings: every bound of connections.
      hub_settings: every bound of rooms, for the server's own hub.
      hooks: what you want to be told of, for the server's own hub.
      tls: serve wss and https with this context.
      task_status: hands over the `Server` once it accepts connections.

    Raises:
      OSError: the address is in use, or cannot be had.
      ValueError: both `hub` and settings for a hub were given.

    Cancelling it aborts all connections; to end them in good order, call
    `Server.drain`, after which it returns.
    """
    if hub is not None and (hub_settings is not None or hooks is not None):
        raise ValueError("a hub of your own has its settings and hooks already")
    async with contextlib.AsyncExitStack() as stack:
        listeners = await stack.enter_async_context(open_listeners(host, port, unix))
        owns_hub = hub is None
        if hub is None:
            hub = await stack.enter_async_context(open_hub(settings=hub_settings, hooks=hooks))
        settings = settings or ServerSettings()
        reader = None
        if hasattr(select, "epoll"):
            # Closed after the nursery, whose tasks use it to their end.
            reader = EpollReader(read_bytes=settings.read_bytes)
            stack.callback(reader.close)
        nursery = await stack.enter_async_context(trio.open_nursery())
        server = Server(
            hub,
            nursery=nursery,
            settings=settings,
            admit=admit,
            tls=tls,
            owns_hub=owns_hub,
            reader=reader,
        )
        if unix is None:
            server.port = listeners[0].getsockname()[1]
        task_status.started(server)
        await server.run(listeners)
        nursery.cancel_scope.cancel()
