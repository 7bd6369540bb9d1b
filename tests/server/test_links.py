"""Byte streams over real socket pairs: plain ones and TLS."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roomactors.server.frames import text_frame
from roomactors.server.links import ENDED, Link, SocketLink, TlsLink, tune
from tests.server.driven import is_closed, open_drivers, received
from tests.server.fakes import Acts, texts


@contextmanager
def plain() -> Iterator[tuple[SocketLink, socket.socket]]:
    """A link, and the peer's socket, which does not block."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    link = SocketLink(ours, remote="192.0.2.1")
    try:
        yield link, peer
    finally:
        link.abort()
        peer.close()


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate made here, and a client's that trusts it."""
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "chain.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=rooms.test"]
    command += ["-addext", "subjectAltName=DNS:rooms.test", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", str(key)]
    subprocess.run([*command, "-out", str(chain)], check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain, key)
    return server, ssl.create_default_context(cafile=str(chain))


@asynccontextmanager
async def secure(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> AsyncGenerator[tuple[TlsLink, trio.SSLStream[trio.SocketStream]], None]:
    """A link, and the client's stream; neither has made its handshake."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    link = TlsLink(ours, contexts[0], remote="192.0.2.1")
    stream = trio.SSLStream(
        trio.SocketStream(trio.socket.from_stdlib_socket(peer)),
        contexts[1],
        server_hostname="rooms.test",
        https_compatible=True,
    )
    try:
        yield link, stream
    finally:
        link.abort()
        await trio.aclose_forcefully(stream)


async def fails(link: Link) -> None:
    """Whatever is asked of a link at its end raises what says so, and asks the kernel nothing."""
    for act in (link.receive(10), link.wait_writable(), link.send_all(b"x")):
        with pytest.raises(ENDED):
            await act


# Plain sockets


async def test_bytes_are_received_as_they_come_and_then_the_end() -> None:
    """At most so many at once; an end is empty."""
    with plain() as (link, peer):
        peer.send(b"abcdef")
        assert await link.receive(4) == b"abcd"
        assert await link.receive(4) == b"ef"
        got: list[bytes] = []

        async def receive() -> None:
            got.append(await link.receive(4))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            assert got == []
            peer.send(b"gh")
        assert got == [b"gh"]
        peer.send(b"ijkl")
        peer.close()
        assert await link.receive(4) == b"ijkl"
        assert await link.receive(4) == b""


async def test_a_read_that_was_full_is_followed_by_one_that_finds_nothing() -> None:
    """It asks the socket again at once, and then waits."""
    with plain() as (link, peer):
        peer.send(b"abcd")
        assert await link.receive(4) == b"abcd"
        with trio.move_on_after(0):
            await link.receive(4)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.receive, 4)
            await wait_all_tasks_blocked()
            peer.send(b"e")


async def test_receiving_is_a_checkpoint_also_if_bytes_are_there() -> None:
    """A peer that always has some lets the others run."""
    with plain() as (link, peer):
        peer.send(b"abcdefgh")
        for expected in (b"abcd", b"efgh"):
            with trio.CancelScope() as scope:
                scope.cancel()
                await link.receive(4)
            assert scope.cancelled_caught
            assert await link.receive(4) == expected


async def test_everything_is_written_as_the_peer_takes_it() -> None:
    """However much more than the kernel holds."""
    data = os.urandom(3_000_000)
    with plain() as (link, peer):
        got = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.send_all, data)
            while len(got) < len(data):
                await wait_all_tasks_blocked()
                got += received(peer)
        assert got == data


async def test_a_half_close_is_the_end_for_the_peer_alone() -> None:
    """It may still say something."""
    with plain() as (link, peer):
        link.send_eof()
        assert peer.recv(1) == b""
        peer.send(b"x")
        assert await link.receive(1) == b"x"
        peer.close()
        link.abort()
        link.send_eof()


async def test_aborting_wakes_who_waits_and_ends_all() -> None:
    """A reader and a writer at once; afterwards nothing is asked of a number that may be reused."""
    with plain() as (link, peer):
        ended: list[str] = []

        async def receive() -> None:
            with pytest.raises(ENDED):
                await link.receive(1)
            ended.append("reader")

        async def send() -> None:
            with pytest.raises(ENDED):
                await link.send_all(b"x" * 3_000_000)
            ended.append("writer")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            link.abort()
        assert sorted(ended) == ["reader", "writer"]
        assert link.fileno() == -1
        await fails(link)
        received(peer)
        assert is_closed(peer)


async def test_one_that_is_aborted_while_bytes_wait_gives_none_of_them() -> None:
    """Also between a full read and the next."""
    with plain() as (link, peer):
        peer.send(b"abcdefgh")
        assert await link.receive(4) == b"abcd"
        link.abort()
        with pytest.raises(ENDED):
            await link.receive(4)


def test_before_it_is_closed_somebody_may_be_told() -> None:
    """Once, while it still has its number."""
    with plain() as (link, _):
        told: list[int] = []
        link.on_close = lambda: told.append(link.fileno())
        number = link.fileno()

        async def abort() -> None:
            link.abort()
            link.abort(reset=True)

        trio.run(abort)
        assert told == [number]


async def test_a_reset_is_seen_by_a_tcp_peer() -> None:
    """What the kernel still held for it is let go."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for reset in (False, True):
            peer = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
            ours.setblocking(False)
            link = SocketLink(ours, remote="127.0.0.1")
            link.abort(reset=reset)
            with peer:
                if reset:
                    with pytest.raises(ConnectionResetError):
                        peer.recv(1)
                else:
                    assert peer.recv(1) == b""


def test_a_tcp_socket_is_tuned_and_another_is_left_alone() -> None:
    """Small writes go at once, and the kernel holds little that it cannot send yet."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as tcp:
            tune(tcp, 12345)
            assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            if sys.platform == "linux":
                assert tcp.getsockopt(socket.IPPROTO_TCP, 25) == 12345
        tune(tcp, 12345)  # closed by now, as when the peer was fast
    left, right = socket.socketpair()
    with left, right:
        tune(left, 12345)


# TLS


async def test_tls_carries_bytes_both_ways(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """The handshake is made by the first read; more than one record, and the end."""
    data = os.urandom(200_000)
    async with secure(contexts) as (link, stream):
        assert (link.secure, link.send, link.remote) == (True, None, "192.0.2.1")
        got = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"hello")
            assert await link.receive(100) == b"hello"
            nursery.start_soon(link.send_all, data)
            while len(got) < len(data):
                got += await stream.receive_some()
        assert got == data
        await link.wait_writable()
        link.send_eof()
        await trio.aclose_forcefully(stream)
        assert await link.receive(100) == b""


async def test_aborting_tls_wakes_who_waits_and_ends_all(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """It does not wait for the peer's part of an end."""
    async with secure(contexts) as (link, stream):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"hello")
            await link.receive(100)

        async def receive() -> None:
            with pytest.raises(ENDED):
                await link.receive(100)

        async def send() -> None:
            with pytest.raises(ENDED):
                await link.send_all(b"x" * 3_000_000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            link.abort(reset=True)
            link.abort()
        await fails(link)


async def test_what_is_no_tls_is_at_its_end(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """A client that speaks plain HTTP to the port of wss."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    with peer:
        link = TlsLink(ours, contexts[0], remote="")
        peer.send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ENDED):
            await link.receive(100)
        link.abort()


async def test_a_connection_over_tls_says_and_hears(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Through its writer, a large reply and small ones, in order; and its end is seen."""
    large = text_frame(b"x" * 300_000)
    acts: Acts = {
        b"large": lambda it: it.outlet.push(large),
        b"small": lambda it: it.outlet.push(text_frame(b"s")),
        b"bye": lambda it: it.close(1012),
    }
    async with open_drivers(by_reader=False) as driven:
        connection, script, peer = driven.connect(
            acts, wrap=lambda sock: TlsLink(sock, contexts[0], remote="")
        )
        stream = trio.SSLStream(
            trio.SocketStream(trio.socket.from_stdlib_socket(peer)),
            contexts[1],
            server_hostname="rooms.test",
            https_compatible=True,
        )
        await stream.send_all(texts(b"small", b"large", b"small"))
        await stream.send_all(texts(b"bye"))
        got = b""
        with trio.fail_after(5):
            while not got.endswith(b"come back"):
                got += await stream.receive_some()
        start = text_frame(b"welcome") + text_frame(b"s") + large + text_frame(b"s")
        assert got.startswith(start)
        assert got[len(start) :].startswith(b"\x88")
        assert script.heard == [b"small", b"large", b"small", b"bye"]
        await trio.aclose_forcefully(stream)
        await wait_all_tasks_blocked()
        assert driven.ended == [connection]
