"""A link that cannot write without waiting, like TLS: a writer serves it, no promise changes."""

from __future__ import annotations

import json
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roomactors import HubSettings, RoomSettings
from roomactors.testing import Client, Closed, MemoryServer, open_test_server
from tests.server.moments import at, just_before
from tests.server.test_frames import TEXT, client_frame

SHORT_LOG = HubSettings(room=RoomSettings(log_messages=10, log_floor=1))


async def connect(server: MemoryServer, path: str = "/ws", **options: Any) -> Client:  # noqa: ANN401
    return await server.connect(path, writes_at_once=False, secure=True, **options)


async def received(client: Client) -> list[dict[str, Any]]:
    """All that has come by now."""
    await wait_all_tasks_blocked()
    return [await client.receive() for _ in range(len(client.frames))]


def data_of(frames: list[dict[str, Any]]) -> list[object]:
    return [frame["data"] for frame in frames if frame["type"] == "message"]


async def two_in_tea(server: MemoryServer, **options: Any) -> tuple[Client, Client]:  # noqa: ANN401
    """One that keeps up, over a plain link; and one over a link like TLS."""
    ada, bob = await server.connect(), await connect(server, **options)
    await ada.join("tea")
    await bob.join("tea")
    await ada.expect(type="member_joined")
    return ada, bob


async def test_a_whole_visit(autojump_clock: MockClock) -> None:
    """Join, hear, speak, ask, leave, close: as over any link."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        await ada.send(type="broadcast", room="tea", data=1)
        await bob.expect(type="message", data=1)
        await bob.send(type="broadcast", room="tea", data=2, ref="r", echo=False)
        await bob.expect(type="ack", ref="r", seq=4)
        assert data_of(await received(ada)) == [1, 2]
        await bob.send(type="members", room="tea", ref=1)
        await bob.expect(type="members", count=2)
        await bob.ping(b"?")
        await bob.send(type="leave", room="tea")
        await bob.expect(type="left", seq=4)
        assert bob.pongs == [b"?"]
        assert await bob.close() == Closed(1000, "done")
        await ada.expect(type="member_left", reason="left")
        assert server.server.statistics().sockets == 1


async def test_raw_frames_keep_their_kind(autojump_clock: MockClock) -> None:
    """The raw protocol, over the same link."""
    async with open_test_server() as server:
        ada, bob = await connect(server, "/raw/tea"), await connect(server, "/raw/tea?echo=0")
        await ada.send_text("text")
        await ada.send_bytes(b"\0")
        await wait_all_tasks_blocked()
        assert list(ada.frames) == list(bob.frames) == ["text", b"\0"]


async def test_every_message_arrives_once_and_in_order(autojump_clock: MockClock) -> None:
    """Through a pipe of any size, from one byte on."""
    for capacity in (1, 2, 7, 100, 1000, 100_000):
        async with open_test_server() as server:
            _, bob = await two_in_tea(server, capacity=100_000)
            bob.incoming.capacity = capacity
            for number in range(50):
                await server.hub.room("tea").broadcast([number, "x" * number])
            assert data_of(await received(bob)) == [[n, "x" * n] for n in range(50)]


async def test_a_client_that_lags_gets_the_rest_when_it_reads(autojump_clock: MockClock) -> None:
    """Both its rooms, its own frames between them, each in order."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server, capacity=1000)
        await bob.join("hall")
        bob.incoming.stall()
        for number in range(40):
            await server.hub.room("tea").broadcast([number, "x" * 200])
            await server.hub.room("hall").broadcast(number)
        await bob.send(type="members", room="tea", ref=1)
        await wait_all_tasks_blocked()
        assert server.hub.room("tea").statistics().behind == 1
        bob.incoming.resume()
        frames = await received(bob)
        tea = [frame for frame in frames if frame.get("room") == "tea"]
        hall = [frame for frame in frames if frame.get("room") == "hall"]
        assert data_of(tea) == [[number, "x" * 200] for number in range(40)]
        assert data_of(hall) == list(range(40))
        assert [frame["ref"] for frame in frames if frame["type"] == "members"] == [1]
        assert server.hub.room("tea").statistics().behind == 0
        assert len(await received(ada)) == 40


async def test_what_fell_out_of_the_log_is_a_gap(autojump_clock: MockClock) -> None:
    """It accounts for what is missing, to the number."""
    async with open_test_server(hub_settings=SHORT_LOG) as server:
        _, bob = await two_in_tea(server, capacity=2000)
        bob.incoming.stall()
        for number in range(100):
            await server.hub.room("tea").broadcast([number, "x" * 200])
        bob.incoming.resume()
        seen = 2
        gaps = 0
        for frame in await received(bob):
            if frame["type"] == "gap":
                gaps += 1
                assert frame["from"] == seen + 1
                seen = frame["to"]
            else:
                assert frame["seq"] == seen + 1
                seen = frame["seq"]
        assert (gaps, seen) == (1, 102)


async def test_a_raw_client_that_falls_out_of_the_log_is_4008(autojump_clock: MockClock) -> None:
    """The frames that were being written are finished first."""
    async with open_test_server(hub_settings=SHORT_LOG) as server:
        bob = await connect(server, "/raw/tea", capacity=2000)
        bob.incoming.stall()
        for number in range(100):
            await server.hub.room("tea").broadcast(f"{number} {'x' * 200}")
        bob.incoming.resume()
        assert await bob.wait_closed() == Closed(4008, "too slow")
        assert [str(frame).split()[0] for frame in bob.frames] == [
            str(number) for number in range(len(bob.frames))
        ]


async def test_a_client_that_takes_nothing_for_10_seconds_is_cut_off(
    autojump_clock: MockClock,
) -> None:
    """Though its writer is in the middle of a write, which never ends."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server, capacity=1000)
        bob.incoming.stall()
        await at(3)
        await server.hub.room("tea").broadcast("x" * 2000)
        await ada.expect(type="message")
        await just_before(13)
        await ada.expect_nothing()
        await at(13)
        await ada.expect(type="member_left", member=bob.member, reason="lagged")
        assert server.server.statistics().sockets == 1
        assert trio.lowlevel.current_statistics().tasks_living < 15


async def test_left_comes_after_the_tail(autojump_clock: MockClock) -> None:
    """One who leaves while it lags gets what it was owed, then `left`, then nothing."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server, capacity=500)
        bob.incoming.stall()
        for number in range(20):
            await server.hub.room("tea").broadcast([number, "x" * 200])
        await bob.send(type="leave", room="tea", ref=1)
        await wait_all_tasks_blocked()
        await server.hub.room("tea").broadcast("too late")
        bob.incoming.resume()
        frames = await received(bob)
        assert data_of(frames) == [[number, "x" * 200] for number in range(20)]
        assert (frames[-1]["type"], frames[-1]["seq"]) == ("left", frames[-2]["seq"])
        assert len(await received(ada)) == 22


async def test_volatile_messages_reach_one_who_keeps_up(autojump_clock: MockClock) -> None:
    """They are in no log, so they are handed over in the turn; one who lags does not get them."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server, capacity=500)
        await ada.send(type="broadcast", room="tea", data="seen", volatile=True)
        assert data_of(await received(bob)) == ["seen"]
        bob.incoming.stall()
        for number in range(10):
            await server.hub.room("tea").broadcast([number, "x" * 200])
        await ada.send(type="broadcast", room="tea", data="unseen", volatile=True)
        await wait_all_tasks_blocked()
        bob.incoming.resume()
        assert "unseen" not in data_of(await received(bob))


async def test_exclusions_hold_for_one_who_lags(autojump_clock: MockClock) -> None:
    """Its own without echo, and what excepts it."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server, capacity=500)
        bob.incoming.stall()
        await server.hub.room("tea").broadcast("x" * 600)
        await bob.send(type="broadcast", room="tea", data="mine", echo=False)
        await ada.send({"except": [bob.member]}, type="broadcast", room="tea", data="hers")
        await ada.send(type="broadcast", room="tea", data="ours")
        await wait_all_tasks_blocked()
        bob.incoming.resume()
        assert data_of(await received(bob)) == ["x" * 600, "ours"]


async def test_heartbeats_are_the_same(autojump_clock: MockClock) -> None:
    """A ping after 25 s, and 10 s for the pong."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        await just_before(25)
        assert bob.pings == []
        await at(25)
        assert bob.pings == [b""]
        bob.answers_pings = False
        await just_before(60)
        assert bob.closed is None
        await at(60)
        assert bob.closed == Closed(1006, "")
        await ada.expect(type="member_left", reason="disconnected")


async def test_what_a_peer_is_sent_is_no_sign_of_its_life(autojump_clock: MockClock) -> None:
    """The kernel takes a busy room's messages though the peer may be gone: it is pinged."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        bob.answers_pings = False
        for second in range(1, 35):
            await at(second)
            await server.hub.room("tea").broadcast(second)
        await just_before(35)
        assert (len(bob.pings), bob.closed) == (1, None)
        await at(35)
        assert bob.closed == Closed(1006, "")
        assert (await received(ada))[-1]["reason"] == "disconnected"


async def test_what_is_taken_from_a_backlog_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    """While it lags it is not pinged, and then 25 seconds after it took the last of it."""
    async with open_test_server() as server:
        _, bob = await two_in_tea(server, capacity=500)
        bob.answers_pings = False
        bob.incoming.stall()
        await at(20)
        await server.hub.room("tea").broadcast("x" * 600)
        await at(28)
        bob.incoming.resume()
        await just_before(53)
        assert (len(bob.frames), bob.pings) == (1, [])
        await at(53)
        assert bob.pings == [b""]


async def test_a_violation_is_told_with_its_code(autojump_clock: MockClock) -> None:
    """The close frame goes out through the writer, and the socket is closed within 2 s."""
    async with open_test_server() as server:
        _, bob = await two_in_tea(server)
        bob.answers_close = False
        await bob.send_bytes(b"binary")
        await wait_all_tasks_blocked()
        assert bob.closing == Closed(1003, "binary frame where text is spoken")
        await at(2)
        assert server.server.statistics().sockets == 1


async def test_a_kicked_client_is_told_so(autojump_clock: MockClock) -> None:
    """With 4003, though it lags."""
    async with open_test_server() as server:
        _, bob = await two_in_tea(server, capacity=500)
        bob.incoming.stall()
        await server.hub.room("tea").broadcast("x" * 600)
        await wait_all_tasks_blocked()
        server.hub.disconnect(bob.member)
        await wait_all_tasks_blocked()
        bob.incoming.resume()
        assert await bob.wait_closed() == Closed(4003, "kicked")


async def test_a_drain_flushes_and_closes_with_1012(autojump_clock: MockClock) -> None:
    """What is owed, `closing`, and the close frame."""
    async with open_test_server() as server:
        _, bob = await two_in_tea(server, capacity=500)
        bob.incoming.stall()
        for number in range(10):
            await server.hub.room("tea").broadcast([number, "x" * 200])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.server.drain)
            await wait_all_tasks_blocked()
            bob.incoming.resume()
        frames = [json.loads(frame) for frame in bob.frames]
        assert data_of(frames) == [[number, "x" * 200] for number in range(10)]
        assert "closing" in {frame["type"] for frame in frames}
        assert bob.closed == Closed(1012, "restarting, come back")


async def test_a_stalled_client_ends_with_the_drain(autojump_clock: MockClock) -> None:
    """At its deadline at the latest."""
    async with open_test_server() as server:
        _, bob = await two_in_tea(server, capacity=500)
        bob.incoming.stall()
        await server.hub.room("tea").broadcast("x" * 600)
        began = trio.current_time()
        await server.server.drain()
        assert trio.current_time() - began <= 10
    assert server.server.statistics().sockets == 0


async def test_a_flood_of_requests_by_one_that_never_reads_is_bounded(
    autojump_clock: MockClock,
) -> None:
    """Its replies are made when they can be sent, and it is not read beyond their bound."""
    async with open_test_server() as server:
        _, bob = await two_in_tea(server, capacity=50_000)
        bob.incoming.stall()
        request = client_frame(TEXT, b'{"type":"members","room":"tea","ref":1}')
        refused = []
        try:
            for _ in range(20_000):
                await bob.send_raw(request)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            refused.append(error)
        assert refused
        assert trio.current_time() <= 11
