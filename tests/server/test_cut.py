"""Connections cut after each byte of what they do: the server is up, and nobody is left behind."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roomactors import CannotConnectError
from roomactors.testing import Client, MemoryServer, Wire, open_test_server
from tests.server.heads import head_of

GONE = (trio.BrokenResourceError, trio.ClosedResourceError, AssertionError, CannotConnectError)
"""What a client that is cut off may see, depending on where it is."""

Act = Callable[[Client], Awaitable[None]]


async def join(client: Client) -> None:
    await client.join("tea")


async def broadcast(client: Client) -> None:
    await client.join("tea")
    await client.send(type="broadcast", room="tea", data="x" * 200, ref=1)
    await client.receive()
    await client.receive()


async def leave(client: Client) -> None:
    await client.join("tea")
    await client.send(type="leave", room="tea")
    await client.expect(type="left")


async def close(client: Client) -> None:
    await client.join("tea")
    await client.close(1001)


async def members(client: Client) -> None:
    await client.join("tea")
    await client.send(type="members", room="tea", ref=1)
    await client.expect(type="members")


@attrs.frozen
class Fault:
    """How a connection is cut."""

    to_server: bool
    reset: bool

    def put(self, incoming: Wire, outgoing: Wire, count: int) -> None:
        (outgoing if self.to_server else incoming).cut_after(count, reset=self.reset)


FAULTS = [
    pytest.param(Fault(to_server=True, reset=True), id="reset after k bytes to the server"),
    pytest.param(Fault(to_server=True, reset=False), id="end after k bytes to the server"),
    pytest.param(Fault(to_server=False, reset=True), id="reset after k bytes to the client"),
    pytest.param(Fault(to_server=False, reset=False), id="end after k bytes to the client"),
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("act", [join, broadcast, leave, close, members])
async def test_a_connection_cut_anywhere_leaves_nothing_behind(
    autojump_clock: MockClock, act: Act, fault: Fault
) -> None:
    """For each k of the bytes of a whole visit, from the upgrade to the end of the act."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        baseline = look_at(server)
        size = await bytes_of(server, act, fault)
        assert check_departure(ada) == 1
        came = 0
        for k in range(size + 1):
            await visit(server, act, fault, k)
            await wait_all_tasks_blocked()
            came += check_departure(ada)
            assert look_at(server) == baseline, f"after {k} bytes"
        # Who joins and is gone in one moment was never there.
        assert came > 0 or act is join
        await ada.send(type="ping")
        await ada.expect(type="pong")


@pytest.mark.parametrize("writes_at_once", [True, False])
async def test_a_client_that_resets_at_each_stage_leaves_nothing_behind(
    autojump_clock: MockClock, writes_at_once: bool
) -> None:
    """After each of its steps, and with things on their way in both directions."""

    async def nothing(client: Client) -> None:
        pass

    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        baseline = look_at(server)
        for act in (nothing, join, broadcast, leave, members):
            client = await server.connect(writes_at_once=writes_at_once)
            await act(client)
            await server.hub.room("tea").broadcast("on its way")
            client.reset()
            await wait_all_tasks_blocked()
            check_departure(ada)
            assert look_at(server) == baseline
        for sent in (0, 10, len(head_of())):
            stream = server.open_stream(writes_at_once=writes_at_once)
            await stream.send_all(head_of()[:sent])
            stream.reset()
            await wait_all_tasks_blocked()
            assert look_at(server) == baseline


async def test_a_raw_connection_cut_anywhere_leaves_nothing_behind(
    autojump_clock: MockClock,
) -> None:
    """The same at `/raw`: a handshake, a text, a close, cut after each byte."""

    async def talk(server: MemoryServer, k: int | None) -> int:
        stream = server.open_stream()
        if k is not None:
            stream.outgoing.cut_after(k)
        with suppress(*GONE):
            client = await server.connect("/raw/tea", stream=stream)
            await client.send_text("x" * 50)
            await client.receive_frame()
            await client.close(1000)
        return stream.outgoing.carried

    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        size = await talk(server, None)
        await wait_all_tasks_blocked()
        check_departure(ada)
        baseline = look_at(server)
        for k in range(size):
            await talk(server, k)
            await wait_all_tasks_blocked()
            check_departure(ada)
            assert look_at(server) == baseline, f"after {k} bytes"


async def test_an_http_request_cut_anywhere_leaves_nothing_behind(
    autojump_clock: MockClock,
) -> None:
    """K4: half a request and a reset, and half an answer and a reset."""
    request = b"GET /healthz HTTP/1.1\r\nHost: rooms.test\r\n\r\n"
    async with open_test_server() as server:
        await wait_all_tasks_blocked()
        baseline = look_at(server)
        for reset in (True, False):
            for k in range(len(request)):
                stream = server.open_stream()
                stream.outgoing.cut_after(k, reset=reset)
                with suppress(*GONE):
                    await stream.send_all(request)
                await wait_all_tasks_blocked()
                assert look_at(server) == baseline
            for k in range(300):
                stream = server.open_stream()
                stream.incoming.cut_after(k, reset=reset)
                with suppress(*GONE):
                    await stream.send_all(request)
                await trio.sleep(3)
                assert look_at(server) == baseline
        assert (await server.get("/healthz")).status == 200


async def test_2000_connections_that_leave_at_once_leave_nothing_behind(
    autojump_clock: MockClock,
) -> None:
    """All reset in one moment; who stays hears of each exactly once."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        baseline = look_at(server)
        crowd = [
            await server.connect("/raw/tea", remote=f"192.0.2.{number % 10}")
            for number in range(2000)
        ]
        await wait_all_tasks_blocked()
        there = present(ada, set())
        assert len(there) == 2000
        for client in crowd:
            client.reset()
        await wait_all_tasks_blocked()
        assert present(ada, there) == set()
        assert look_at(server) == baseline


async def bytes_of(server: MemoryServer, act: Act, fault: Fault) -> int:
    """How many bytes an undisturbed visit sends or gets."""
    stream = server.open_stream()
    client = await server.connect(stream=stream)
    await act(client)
    client.reset()
    await wait_all_tasks_blocked()
    return (stream.outgoing if fault.to_server else stream.incoming).carried


async def visit(server: MemoryServer, act: Act, fault: Fault, k: int) -> None:
    """Connect and act, cut after k bytes; what is left of the client then goes away."""
    stream = server.open_stream()
    fault.put(stream.incoming, stream.outgoing, k)
    with suppress(*GONE):
        client = await server.connect(stream=stream)
        await act(client)
    await stream.aclose()


def check_departure(watcher: Client) -> int:
    """Nobody came who did not also go, once; returns how many came."""
    there = set()
    came = 0
    while watcher.frames:
        frame = json.loads(watcher.frames.popleft())
        if frame["type"] == "member_joined":
            there.add(frame["member"])
            came += 1
        elif frame["type"] == "member_left":
            there.remove(frame["member"])
    assert not there
    return came


def present(watcher: Client, there: set[str]) -> set[str]:
    """Who is there, by what the watcher has heard since it was `there`."""
    there = set(there)
    while watcher.frames:
        frame = json.loads(watcher.frames.popleft())
        if frame["type"] == "presence":
            for gone in frame["left"]:
                there.remove(gone["member"])
            came = [entry["member"] for entry in frame["joined"]]
            assert there.isdisjoint(came)
            there.update(came)
        elif frame["type"] == "member_joined":
            assert frame["member"] not in there
            there.add(frame["member"])
        elif frame["type"] == "member_left":
            there.remove(frame["member"])
    return there


def look_at(server: MemoryServer) -> tuple[object, ...]:
    """What must be as before once a connection is gone."""
    statistics = server.server.statistics()
    return (
        statistics.connections,
        statistics.sockets,
        server.hub.members(),
        server.hub.room("tea").statistics().members,
        server.hub.room("tea").statistics().mailbox_waiting,
        trio.lowlevel.current_statistics().tasks_living,
    )
