"""The end of a server in good order: told, flushed, closed with 1012, all by the deadline."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roomactors import CannotConnectError, ServerSettings
from roomactors.testing import Client, Closed, MemoryServer, open_test_server
from tests.server.heads import UPGRADE
from tests.server.test_frames import TEXT, client_frame

RESTARTING = Closed(1012, "restarting, come back")


async def drained(server: MemoryServer) -> float:
    """Drain the server; returns the seconds that it took."""
    began = trio.current_time()
    await server.server.drain()
    return trio.current_time() - began


def kinds(client: Client) -> list[str]:
    return [json.loads(frame)["type"] for frame in client.frames]


async def test_each_client_is_told_and_then_closed_with_1012(autojump_clock: MockClock) -> None:
    """`closing` with the reason and when to come back, nothing else, and the close frame."""
    async with open_test_server() as server:
        clients = [await server.connect() for _ in range(5)]
        for client in clients:
            await client.join("tea")
        await wait_all_tasks_blocked()
        for client in clients:
            client.frames.clear()
        assert await drained(server) < 1
        for client in clients:
            frame = await client.expect(type="closing", reason="restarting")
            assert 0 < frame["reconnect_after"] < 2
            assert await client.wait_closed() == RESTARTING
            await client.expect_nothing()
        assert server.server.statistics().sockets == 0


async def test_departures_in_a_drain_are_not_announced(autojump_clock: MockClock) -> None:
    """Clients that all go do not each tell the others so."""
    async with open_test_server() as server:
        clients = [await server.connect() for _ in range(50)]
        for client in clients:
            await client.join("tea")
        await wait_all_tasks_blocked()
        for client in clients:
            client.frames.clear()
        await drained(server)
        assert {tuple(kinds(client)) for client in clients} == {("closing",)}


async def test_what_was_accepted_is_delivered_and_acknowledged(autojump_clock: MockClock) -> None:
    """Broadcasts that the room holds when the drain begins go out, before the close."""
    async with open_test_server() as server:
        ada, bob = await server.connect(), await server.connect()
        await ada.join("tea")
        await bob.join("tea")
        await ada.expect(type="member_joined")
        await wait_all_tasks_blocked()
        messages = b"".join(
            client_frame(
                TEXT,
                b'{"type":"broadcast","room":"tea","data":%d,"ref":%d}' % (number, number),
            )
            for number in range(20)
        )
        await ada.send_raw(messages)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drained, server)
        heard = [json.loads(frame) for frame in ada.frames]
        acked = [frame["ref"] for frame in heard if frame["type"] == "ack"]
        refused = [frame["ref"] for frame in heard if frame["type"] == "error"]
        assert sorted(acked + refused) == list(range(20))
        for client in (ada, bob):
            frames = [json.loads(frame) for frame in client.frames]
            assert [frame["data"] for frame in frames if frame["type"] == "message"] == acked
            assert client.closed == RESTARTING


async def test_accepted_broadcasts_survive_a_drain_that_begins_at_once(
    autojump_clock: MockClock,
) -> None:
    """In the mailbox, before the room's turn, when the drain begins: delivered all the same."""
    async with open_test_server() as server:
        ada, bob = await server.connect(), await server.connect()
        await ada.join("tea")
        await bob.join("tea")
        await wait_all_tasks_blocked()
        ada.frames.clear()
        bob.frames.clear()

        async with trio.open_nursery() as nursery:
            # The hub's own command is in the mailbox when `drain` is called.
            nursery.start_soon(server.hub.room("tea").broadcast, "accepted")
            await trio.lowlevel.checkpoint()
            nursery.start_soon(drained, server)
        for client in (ada, bob):
            assert sorted(kinds(client)) == ["closing", "message"]
            assert client.closed == RESTARTING


async def test_commands_during_a_drain_are_refused_as_busy(autojump_clock: MockClock) -> None:
    """Except pings; and a client may still leave."""
    async with open_test_server() as server:
        clients = [await server.connect() for _ in range(100)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drained, server)
            await wait_all_tasks_blocked()
            # Some time is left to the last of them.
            ada = next(client for client in clients if client.closed is None)
            await ada.expect(type="closing")
            await ada.send(type="broadcast", room="tea", data=1, ref="b")
            await ada.expect(type="error", ref="b", room="tea", code="busy")
            await ada.send(type="join", room="hall", ref="j")
            await ada.expect(type="error", ref="j", room="hall", code="busy")
            await ada.send(type="ping", ref="p")
            await ada.expect(type="pong", ref="p")


async def test_new_connections_during_a_drain_are_answered_503(autojump_clock: MockClock) -> None:
    """So is `/readyz`, while `/healthz` goes on saying that the process lives."""
    async with open_test_server() as server:
        ada = await server.connect()
        ada.incoming.take(then=0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drained, server)
            await wait_all_tasks_blocked()
            with pytest.raises(CannotConnectError) as caught:
                await server.connect()
            assert caught.value.status == 503
            headers = [(name, value) for name, value in UPGRADE.items() if name != "Host"]
            assert (await server.get("/ws", headers=headers)).status == 503
            assert (await server.get("/readyz")).status == 503
            assert (await server.get("/healthz")).status == 200


async def test_a_stalled_client_is_cut_off_at_the_deadline(autojump_clock: MockClock) -> None:
    """It delays the end by no more than the drain may take."""
    async with open_test_server(settings=ServerSettings(drain_seconds=8)) as server:
        ada, bob = await server.connect(), await server.connect()
        await ada.join("tea")
        await bob.join("tea")
        bob.incoming.take(then=0)
        assert await drained(server) <= 8
        assert ada.closed == RESTARTING
    assert server.server.statistics().sockets == 0


async def test_a_client_that_does_not_answer_the_close_delays_it_by_2_seconds(
    autojump_clock: MockClock,
) -> None:
    """The bounded close is bounded in a drain too."""
    async with open_test_server() as server:
        ada = await server.connect()
        ada.answers_close = False
        assert await drained(server) == pytest.approx(2, abs=0.1)
        assert ada.closing == RESTARTING


async def test_a_slow_client_gets_what_it_was_owed_before_the_close(
    autojump_clock: MockClock,
) -> None:
    """One who reads within the time gets its backlog, `closing`, and 1012."""
    async with open_test_server() as server:
        ada, bob = await server.connect(), await server.connect()
        await ada.join("tea")
        await bob.join("tea")
        bob.incoming.take(5, then=0)
        for number in range(50):
            await server.hub.room("tea").broadcast(number)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drained, server)
            await wait_all_tasks_blocked()
            bob.incoming.take()
        frames = [json.loads(frame) for frame in bob.frames]
        assert [frame["data"] for frame in frames if "data" in frame] == list(range(50))
        assert bob.closed == RESTARTING


@pytest.mark.parametrize("slow", [0, 20])
async def test_closes_are_spread_over_time(autojump_clock: MockClock, slow: int) -> None:
    """Plain clients know no jitter, so a thousand do not all come back in one moment.

    Some who do not read are waited for, and the others do not wait with them.
    """
    async with open_test_server() as server:
        ends: list[float] = []

        async def note_end(client: Client) -> None:
            await client.wait_closed(within=60)
            ends.append(trio.current_time())

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(slow):
                client = await server.connect(remote="192.0.2.2")
                client.incoming.take(then=0)
            for _ in range(1000):
                nursery.start_soon(note_end, await server.connect("/raw/tea"))
            took = await drained(server)
        assert 4 < took < (11 if slow else 6)
        ends = [end - began for end in ends]
        for second in range(5):
            assert 150 < sum(second <= end < second + 1 for end in ends) < 250


async def test_reconnect_after_is_jittered(autojump_clock: MockClock) -> None:
    """Different clients are told different times, spread as far as the closes are."""
    async with open_test_server() as server:
        clients = [await server.connect() for _ in range(200)]
        await drained(server)
        told = [json.loads(client.frames[0])["reconnect_after"] for client in clients]
        assert min(told) < 0.5
        assert max(told) > 1.2
        assert len(set(told)) > 50


async def test_a_raw_client_is_closed_with_1012_and_told_nothing_else(
    autojump_clock: MockClock,
) -> None:
    """It has no word for `closing`."""
    async with open_test_server() as server:
        ada = await server.connect("/raw/tea")
        await drained(server)
        assert (ada.closed, list(ada.frames)) == (RESTARTING, [])


async def test_a_half_opened_connection_ends_with_the_drain(autojump_clock: MockClock) -> None:
    """Who has sent half a head is not waited for beyond the deadline."""
    async with open_test_server() as server:
        stream = server.open_stream()
        await stream.send_all(b"GET /ws HTTP/1.1\r\n")
        await wait_all_tasks_blocked()
        assert await drained(server) <= 10
        with trio.fail_after(1):
            with suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""


async def test_a_connection_that_opens_while_the_drain_begins_is_closed_too(
    autojump_clock: MockClock,
) -> None:
    """Admitted before the drain and upgraded after: refused, or closed with 1012."""
    go_on = trio.Event()

    async def admit(_request: object) -> None:
        await go_on.wait()

    async with open_test_server(admit=admit) as server:
        outcome: list[object] = []

        async def come() -> None:
            try:
                client = await server.connect()
                outcome.append(await client.wait_closed(within=30))
            except (CannotConnectError, AssertionError) as error:
                outcome.append(getattr(error, "status", error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come)
            await wait_all_tasks_blocked()
            nursery.start_soon(drained, server)
            await wait_all_tasks_blocked()
            go_on.set()
        assert outcome in ([503], [RESTARTING])
        assert server.server.statistics().sockets == 0


async def test_a_drain_that_is_cancelled_leaves_the_server_draining(
    autojump_clock: MockClock,
) -> None:
    """New clients are refused; a second drain ends it."""
    async with open_test_server() as server:
        ada = await server.connect()
        ada.incoming.take(then=0)
        with trio.move_on_after(1):
            await server.server.drain()
        with pytest.raises(CannotConnectError):
            await server.connect()
        assert await drained(server) <= 10


async def test_an_empty_server_drains_at_once(autojump_clock: MockClock) -> None:
    """Nobody to tell, nothing to wait for."""
    async with open_test_server() as server:
        assert await drained(server) == 0
