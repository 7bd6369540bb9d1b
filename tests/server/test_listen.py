"""Accepting, limits and addresses of a real server, over loopback and Unix sockets."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import roomactors
from roomactors import CannotConnectError, ServerSettings
from roomactors.server import listen as listen_module
from roomactors.server.listen import REFUSALS_AT_ONCE, Server
from roomactors.server.sockets import open_listeners
from roomactors.testing import Closed, MemoryServer, open_test_hub, open_test_server
from tests.server.driven import is_closed, open_files
from tests.server.heads import head_of
from tests.server.moments import at, just_before

RESTARTING = Closed(1012, "restarting, come back")


@asynccontextmanager
async def serving(**arguments: Any) -> AsyncGenerator[Server, None]:  # noqa: ANN401 - those of `serve`
    """A server on a port of its own, for the length of a block."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(roomactors.serve, **({"port": 0} | arguments)))
        yield server
        nursery.cancel_scope.cancel()


async def connect_to(server: Server, host: str = "127.0.0.1") -> trio.SocketStream:
    assert server.port is not None
    return await trio.open_tcp_stream(host, server.port)


async def said_by(stream: trio.abc.Stream, path: str = "/healthz") -> bytes:
    """What a server answers to a plain request."""
    await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: rooms.test\r\n\r\n".encode())
    answer = b""
    with trio.fail_after(5):
        while b"\r\n\r\n" not in answer:
            answer += await stream.receive_some()
    await trio.aclose_forcefully(stream)
    return answer


def sockets(server: MemoryServer) -> int:
    return server.server.statistics().sockets


# Accepting


@final
class Listener(socket.socket):
    """A listening socket of which `accept` fails first, as the test says."""

    errors: list[OSError]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            raise self.errors.pop(0)
        return super().accept()


@pytest.mark.parametrize(
    ("code", "pauses"),
    [(errno.EMFILE, 3), (errno.ENFILE, 3), (errno.ENOBUFS, 3), (errno.ECONNABORTED, 0)],
)
async def test_an_accept_that_fails_is_tried_again(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, code: int, pauses: int
) -> None:
    """After a pause and a word in the log, if there are no files; at once, if the peer has gone."""
    with Listener(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.errors = [OSError(code, "no")] * 3
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        with socket.create_connection(listener.getsockname()):
            async with open_test_server() as server, trio.open_nursery() as nursery:
                nursery.start_soon(server.server._accept_all, listener)
                if pauses:
                    await just_before(0.1 * pauses)
                    assert sockets(server) == 0
                await at(0.1 * pauses)
                assert sockets(server) == 1
                assert len(caplog.records) == pauses
                nursery.cancel_scope.cancel()


async def test_many_that_come_at_once_are_all_accepted(autojump_clock: MockClock) -> None:
    """In more than one go."""
    async with open_listeners("127.0.0.1", 0, None) as (listener,):
        peers = [socket.create_connection(listener.getsockname()) for _ in range(150)]
        async with open_test_server() as server, trio.open_nursery() as nursery:
            nursery.start_soon(server.server._accept_all, listener)
            await wait_all_tasks_blocked()
            assert sockets(server) == 150
            nursery.cancel_scope.cancel()
        for peer in peers:
            peer.close()


async def test_where_there_is_no_epoll_each_connection_has_a_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on macOS: the same is served."""
    monkeypatch.delattr(select, "epoll")
    async with serving() as server:
        assert server._reader is None
        stream = await connect_to(server)
        await stream.send_all(head_of())
        answer = b""
        with trio.fail_after(5):
            while b"welcome" not in answer:
                answer += await stream.receive_some()
        await trio.aclose_forcefully(stream)


async def test_an_upgrade_that_is_not_ordinary_is_answered_too(autojump_clock: MockClock) -> None:
    """By trio-websocket's own handshake."""
    async with open_test_server() as server:
        stream = server.open_stream()
        offers = [("Sec-WebSocket-Extensions", name) for name in ("foo", "bar")]
        await stream.send_all(head_of("GET /ws HTTP/1.1", *offers))
        answer = b""
        while b"welcome" not in answer:
            answer += await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 101 ")


async def test_after_an_answer_a_mebibyte_is_thrown_away_and_no_more(
    autojump_clock: MockClock,
) -> None:
    """A client that goes on sending hears the answer all the same, and is then cut off."""
    settings = ServerSettings(close_discard_bytes=1000)
    for size, ended in ((1000, False), (1001, True)):
        async with open_test_server(settings=settings) as server:
            stream = server.open_stream()
            await stream.send_all(head_of("GET /healthz HTTP/1.1", without="Upgrade"))
            await wait_all_tasks_blocked()
            await stream.send_all(b"x" * (size - 10))
            await wait_all_tasks_blocked()
            await stream.send_all(b"x" * 10)
            await wait_all_tasks_blocked()
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
            assert (sockets(server) == 0) == ended


async def test_an_error_of_ours_in_one_socket_is_logged_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is closed, and counted no more."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    async with open_test_server() as server:
        with monkeypatch.context() as patched:
            patched.setattr(listen_module, "parse_head", fail)
            stream = server.open_stream()
            await stream.send_all(head_of())
            await wait_all_tasks_blocked()
        assert "a bug" in caplog.text
        assert sockets(server) == 0
        assert await stream.receive_some() == b""
        await server.connect()


# Limits


async def test_over_the_limit_of_connections_it_is_503_until_one_leaves(
    autojump_clock: MockClock,
) -> None:
    """Those that are refused take no place; 0 is no limit."""
    settings = ServerSettings(max_connections=2, max_connections_per_address=0)
    async with open_test_server(settings=settings) as server:
        ada, _ = await server.connect(), await server.connect()
        lingering = [server.open_stream() for _ in range(3)]
        with pytest.raises(CannotConnectError) as caught:
            await server.connect()
        assert caught.value.status == 503
        assert server.server.statistics().refused == 4
        await ada.close()
        await wait_all_tasks_blocked()
        await server.connect()
        for stream in lingering:
            await stream.aclose()
    async with open_test_server(settings=ServerSettings(max_connections=0)) as server:
        await server.connect()
        assert sockets(server) == 1


async def test_over_the_limit_of_an_address_it_is_429_for_that_address(
    autojump_clock: MockClock,
) -> None:
    """Others come in; an address of which nobody is left is forgotten; no address, no limit."""
    settings = ServerSettings(max_connections_per_address=2)
    async with open_test_server(settings=settings) as server:
        ada = await server.connect(remote="192.0.2.7")
        bob = await server.connect(remote="192.0.2.7")
        lingering = server.open_stream(remote="192.0.2.7")
        with pytest.raises(CannotConnectError) as caught:
            await server.connect(remote="192.0.2.7")
        assert caught.value.status == 429
        await server.connect(remote="192.0.2.8")
        await ada.close()
        await wait_all_tasks_blocked()
        eve = await server.connect(remote="192.0.2.7")
        for client in (bob, eve):
            await client.close()
        await wait_all_tasks_blocked()
        assert list(server.server._per_address) == ["192.0.2.8"]
        await lingering.aclose()
        for _ in range(5):
            await server.connect(remote="")


async def test_more_refusals_than_can_be_told_are_reset(autojump_clock: MockClock) -> None:
    """Who does not even ask is told nothing; the others keep their answer."""
    settings = ServerSettings(max_connections=1)
    async with open_test_server(settings=settings) as server:
        await server.connect()
        refused = [server.open_stream() for _ in range(REFUSALS_AT_ONCE)]
        one_more = server.open_stream()
        with pytest.raises(trio.BrokenResourceError):
            await one_more.receive_some()
        await refused[0].send_all(head_of())
        assert (await refused[0].receive_some()).startswith(b"HTTP/1.1 503 ")
        assert sockets(server) == 1 + REFUSALS_AT_ONCE
        await trio.sleep(15)
        assert sockets(server) == 1


# Addresses


async def test_all_addresses_of_a_name_share_a_port() -> None:
    """The system chooses it once; each takes connections."""
    async with open_listeners(None, 0, None) as listeners:
        ports = {listener.getsockname()[1] for listener in listeners}
        families = [listener.family for listener in listeners]
        assert len(ports) == 1
        assert socket.AF_INET in families
    async with serving(host=None) as server:
        stream = await connect_to(server)
        assert (await said_by(stream)).startswith(b"HTTP/1.1 200 ")
        if socket.AF_INET6 in families:
            stream = await connect_to(server, "::1")
            assert (await said_by(stream)).startswith(b"HTTP/1.1 200 ")


async def test_a_taken_port_is_an_error_and_leaves_nothing_open() -> None:
    """Also what had been opened for another address before."""
    async with open_listeners("127.0.0.1", 0, None) as (listener,):
        port = listener.getsockname()[1]
        files = open_files()
        for host in ("127.0.0.1", None):
            with pytest.raises(OSError, match="in use"):
                async with open_listeners(host, port, None):
                    raise AssertionError
        assert open_files() == files


async def test_ipv4_peers_of_a_socket_for_both_have_ipv4_addresses() -> None:
    """So that they count as one address, however they come."""
    async with serving(host="::") as server:
        stream = await connect_to(server)
        await wait_all_tasks_blocked()
        while not server._per_address:
            await trio.lowlevel.checkpoint()
        assert list(server._per_address) == ["127.0.0.1"]
        await trio.aclose_forcefully(stream)


async def test_a_unix_socket_is_served_and_its_file_removed(tmp_path: Path) -> None:
    """It has no port, and its peers no address."""
    path = tmp_path / "rooms"
    async with serving(unix=path) as server:
        assert server.port is None
        assert (await said_by(await trio.open_unix_socket(path))).startswith(b"HTTP/1.1 200 ")
    assert not path.exists()
    async with open_listeners(None, 0, path) as listeners:
        assert [listener.getsockname() for listener in listeners] == [str(path)]
    assert not path.exists()


async def test_a_unix_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    """It is what a server that was killed has left behind; one that is gone at the end is gone."""
    path = tmp_path / "rooms"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    async with serving(unix=path):
        assert (await said_by(await trio.open_unix_socket(path))).startswith(b"HTTP/1.1 200 ")
        path.unlink()


async def test_what_somebody_else_owns_is_not_replaced(tmp_path: Path) -> None:
    """A socket on which somebody listens, however busy, and a file that is none."""
    path, file = tmp_path / "rooms", tmp_path / "notes"
    file.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        async with open_listeners(None, 0, file):
            raise AssertionError
    assert file.read_text() == "mine"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = []
        for _ in range(2):
            with pytest.raises(OSError, match="in use"):
                async with open_listeners(None, 0, path):
                    raise AssertionError
            assert path.exists()
            # The second time its backlog is full.
            while True:
                peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                peer.setblocking(False)
                waiting.append(peer)
                if peer.connect_ex(str(path)):
                    break
        for peer in waiting:
            peer.close()


async def test_without_unix_sockets_a_path_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a system that has none."""
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(OSError, match="no Unix sockets"):
        async with open_listeners(None, 0, tmp_path / "rooms"):
            raise AssertionError


# The whole


async def test_settings_of_a_hub_that_is_there_already_are_refused() -> None:
    """It was opened with its own."""
    async with open_test_hub() as hub:
        with pytest.raises(ValueError, match="has its settings"):
            await roomactors.serve(port=0, hub=hub, hooks=roomactors.Hooks())
        with pytest.raises(ValueError, match="has its settings"):
            await roomactors.serve(port=0, hub=hub, hub_settings=roomactors.HubSettings())


async def test_cancelling_a_server_ends_its_connections_and_not_its_hub() -> None:
    """At once, without a word; its members are gone, and so is every file."""
    files = open_files()
    async with open_test_hub() as hub:
        async with serving(hub=hub) as server:
            assert server.hub is hub
            with socket.create_connection(("127.0.0.1", server.port)) as peer:
                peer.sendall(head_of("GET /raw/tea HTTP/1.1"))
                peer.setblocking(False)
                with trio.fail_after(5):
                    while not hub.rooms():
                        await trio.lowlevel.checkpoint()
                assert hub.members()
                peer.recv(1000)
                server._nursery.cancel_scope.cancel()
                with trio.fail_after(5):
                    while not is_closed(peer):
                        await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
        assert not hub.members()
        assert await hub.room("tea").members() == ()
    assert open_files() == files


async def test_a_drained_server_returns() -> None:
    """With its own hub, or somebody else's, which goes on."""
    async with open_test_hub() as hub:
        for its_own in (None, hub):
            async with trio.open_nursery() as nursery:
                server = await nursery.start(partial(roomactors.serve, port=0, hub=its_own))
                with trio.fail_after(5):
                    await server.drain()
                    while nursery.child_tasks:
                        await trio.lowlevel.checkpoint()
        await hub.room("tea").broadcast("on")


async def test_who_was_admitted_when_the_drain_had_begun_is_refused(
    autojump_clock: MockClock,
) -> None:
    """Also where the rooms go on: nobody would tell it any more that the server stops."""
    go_on = trio.Event()

    async def admit(_request: object) -> None:
        await go_on.wait()

    async with open_test_hub() as hub, trio.open_nursery() as nursery:
        server = Server(
            hub,
            nursery=nursery,
            settings=ServerSettings(),
            admit=admit,
            tls=None,
            owns_hub=False,
        )
        nursery.start_soon(server.run, [])
        memory = MemoryServer(hub, server, nursery)
        stream = memory.open_stream()
        await stream.send_all(head_of())
        await wait_all_tasks_blocked()
        nursery.start_soon(server.drain)
        await trio.sleep(1)
        go_on.set()
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 503 ")
        await stream.aclose()
        await wait_all_tasks_blocked()
        assert server.statistics().sockets == 0


@pytest.mark.parametrize("said", [b"", head_of()[:20]])
async def test_who_has_asked_for_nothing_holds_up_no_drain(
    autojump_clock: MockClock, said: bytes
) -> None:
    """A socket that a browser opened in advance, or half a request: it is closed at once."""
    async with open_test_server() as server:
        stream = server.open_stream()
        await stream.send_all(said)
        await wait_all_tasks_blocked()
        await server.server.drain()
        assert trio.current_time() == 0
        assert await stream.receive_some() == b""


async def test_a_hub_that_has_closed_is_answered_503(autojump_clock: MockClock) -> None:
    """Its server may outlive it by a moment."""
    async with open_test_server() as server:
        server.hub.keeper.draining = True
        with pytest.raises(CannotConnectError) as caught:
            await server.connect()
        assert caught.value.status == 503
        server.hub.keeper.draining = False


@pytest.mark.parametrize("drain_seconds", [2, 10])
async def test_in_a_drain_a_slow_one_holds_up_nobody_and_gets_its_backlog(
    autojump_clock: MockClock, drain_seconds: float
) -> None:
    """It has half the time of the drain to take what it is owed; the others go in their turn."""
    settings = ServerSettings(drain_seconds=drain_seconds)
    async with open_test_server(settings=settings) as server:
        slow = await server.connect("/raw/tea")
        others = [await server.connect("/raw/tea") for _ in range(20)]
        slow.incoming.take(1, then=0)
        for number in range(100):
            await server.hub.room("tea").broadcast(number)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.server.drain)
            await trio.sleep(0.2)
            await wait_all_tasks_blocked()
            assert [other.closed for other in others] == [RESTARTING] * 20
            await trio.sleep(drain_seconds / 2 - 0.3)
            assert slow.closed is None
            slow.incoming.take()
        assert list(slow.frames) == [str(number) for number in range(100)]
        assert slow.closed == RESTARTING
