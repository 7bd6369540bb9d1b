"""A client that reads slowly gets everything once and in order, or is told what it did not get."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roomactors import HubSettings, MemberJoined, Message, RoomSettings, ServerSettings
from roomactors.server.outlet import FrameOutlet
from roomactors.testing import Client, Closed, MemoryServer, open_test_server
from tests.server.moments import at, just_before
from tests.server.test_frames import TEXT, client_frame

SHORT_LOG = HubSettings(room=RoomSettings(log_messages=10, log_floor=1))


async def say(client: Client, room: str, *values: object, **fields: object) -> None:
    """Broadcast these in one piece, so that the room takes them in one turn."""
    messages = [{"type": "broadcast", "room": room, "data": value, **fields} for value in values]
    await client.send_raw(
        b"".join(client_frame(TEXT, json.dumps(message).encode()) for message in messages)
    )
    await wait_all_tasks_blocked()


async def received(client: Client) -> list[dict[str, Any]]:
    """All that has come by now."""
    await wait_all_tasks_blocked()
    return [await client.receive() for _ in range(len(client.frames))]


def data_of(frames: list[dict[str, Any]], room: str = "tea") -> list[object]:
    """The data of a room's messages."""
    return [
        frame["data"] for frame in frames if frame["type"] == "message" and frame["room"] == room
    ]


def outlet_of(server: MemoryServer, client: Client) -> FrameOutlet:
    outlet = server.hub.keeper.outlets[client.member]
    assert isinstance(outlet, FrameOutlet)
    return outlet


async def two_in_tea(server: MemoryServer) -> tuple[Client, Client]:
    """A client that talks, and one that will be slow."""
    ada, bob = await server.connect(), await server.connect()
    await ada.join("tea")
    await bob.join("tea")
    await received(ada)
    return ada, bob


# Every cut


async def test_a_write_cut_anywhere_loses_and_repeats_nothing(autojump_clock: MockClock) -> None:
    """For each k: the socket takes k bytes of a turn, then nothing, then all."""
    async with open_test_server() as server:
        room = server.hub.room("tea")
        ada, bob = await two_in_tea(server)
        await say(ada, "tea", "a", "bb", "ccc", echo=False)
        size = bob.incoming.carried
        await say(ada, "tea", "a", "bb", "ccc", echo=False)
        size = bob.incoming.carried - size
        await received(bob)
        for k in range(size + 2):
            bob.incoming.take(k, then=0)
            await say(ada, "tea", "a", "bb", "ccc", echo=False)
            await room.broadcast(k)
            bob.incoming.take()
            await room.broadcast(-k)
            assert data_of(await received(bob)) == ["a", "bb", "ccc", k, -k]
            await trio.sleep(1)  # the rate
        assert bob.closed is None


@pytest.mark.parametrize("k", [1, 2, 3, 5, 7, 64, 127, 128, 129, 1000])
async def test_writes_of_k_bytes_at_a_time_deliver_everything(
    autojump_clock: MockClock, k: int
) -> None:
    """Each write of some hundreds takes at most k bytes, with refusals between."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(*[k, 0] * 3000)
        values = ["x" * number for number in range(20)]
        await say(ada, "tea", *values, echo=False)
        await say(ada, "tea", *values, echo=False)
        assert data_of(await received(bob)) == values * 2


async def test_a_write_cut_twice_keeps_only_one_frame(autojump_clock: MockClock) -> None:
    """The rest of a cut frame is itself cut, while the log goes on."""
    async with open_test_server() as server:
        _, bob = await two_in_tea(server)
        frame = 150
        for first in range(0, frame, 7):
            for second in range(0, frame, 11):
                bob.incoming.take(first, then=0)
                await server.hub.room("tea").broadcast([first, second])
                bob.incoming.take(second, then=0)
                await server.hub.room("tea").broadcast(second)
                await wait_all_tasks_blocked()
                assert outlet_of(server, bob).own_bytes < frame
                bob.incoming.take()
                assert data_of(await received(bob)) == [[first, second], second]


async def test_random_cuts_leaves_and_joins_agree_with_the_log(autojump_clock: MockClock) -> None:
    """Whatever happens to its way out, a client gets what was for it between join and leave."""
    for seed in range(150):
        await run_random_history(seed)


async def run_random_history(seed: int) -> None:
    random = Random(seed)
    async with open_test_server() as server:
        ada, bob = await server.connect(), await server.connect()
        logs: dict[str, list[dict[str, Any]]] = {"tea": [], "hall": []}
        async with trio.open_nursery() as nursery:
            for name, log in logs.items():
                await nursery.start(keep_log, server, name, log)
                await ada.join(name)
            for step in range(60):
                room = random.choice(["tea", "tea", "hall"])
                match random.randrange(10):
                    case 0 | 1:
                        bob.incoming.take(random.randrange(400), then=0)
                    case 2 | 3:
                        bob.incoming.take(*[random.randrange(200) for _ in range(5)])
                    case 4:
                        await bob.send(type="join", room=room)
                    case 5:
                        await bob.send(type="leave", room=room)
                    case 6:
                        await bob.send(type="broadcast", room=room, data=step, echo=False)
                    case 7:
                        other = {"except": [bob.member]}
                        await ada.send(type="broadcast", room=room, data=step, **other)
                    case _:
                        await ada.send(
                            type="broadcast", room=room, data=[step] * random.randrange(9)
                        )
                if random.random() < 0.5:
                    await trio.sleep(0.1)
            bob.incoming.take()
            await trio.sleep(0.1)
            frames = await received(bob)
            nursery.cancel_scope.cancel()
        for name, log in logs.items():
            mine = [frame for frame in frames if frame.get("room") == name]
            check_history(mine, log, bob.member, f"seed {seed}, room {name}")


async def keep_log(
    server: MemoryServer,
    name: str,
    log: list[dict[str, Any]],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Write down all that happens in a room, and who is not to get it."""
    async with server.hub.room(name).join(f"scribe of {name}") as seat:
        task_status.started()
        async for event in seat:
            kind = "message" if isinstance(event, Message) else "member_left"
            kind = "member_joined" if isinstance(event, MemberJoined) else kind
            assert event.seq is not None
            data = event.data if isinstance(event, Message) else None
            excluded: frozenset[str] = getattr(event, "excluded", frozenset())
            log.append({"type": kind, "seq": event.seq, "data": data, "excluded": excluded})


def check_history(
    frames: list[dict[str, Any]], log: list[dict[str, Any]], member: str, where: str
) -> None:
    """Compare what one member saw of a room with the room's log."""
    cursor: int | None = None  # None while not in
    for number, frame in enumerate(frames):
        note = f"{where}, frame {number}: {frame}"
        if frame["type"] == "joined":
            if cursor is not None:
                assert not for_member(log, cursor, frame["seq"], member), note
            cursor = frame["seq"]
        elif frame["type"] == "left":
            if cursor is not None:
                assert not for_member(log, cursor, frame["seq"], member), note
            cursor = None
        elif frame["type"] in {"message", "member_joined", "member_left"}:
            assert cursor is not None, note
            assert frame["seq"] > cursor, note
            skipped = for_member(log, cursor, frame["seq"] - 1, member)
            assert not skipped, f"{note}: {skipped} did not come"
            cursor = frame["seq"]
            (original,) = (entry for entry in log if entry["seq"] == cursor)
            assert frame["type"] == original["type"], note
            assert frame.get("data") == original["data"], note
            assert member not in original["excluded"], note
        else:
            assert frame["type"] == "error", note
            assert frame["code"] == "not_a_member", note
    if cursor is not None:
        assert not for_member(log, cursor, log[-1]["seq"], member), f"{where}: the end is missing"


def for_member(
    log: list[dict[str, Any]], after: int, last: int, member: str
) -> list[dict[str, Any]]:
    """What a member is to get of the events after one number, up to another."""
    return [
        entry for entry in log if after < entry["seq"] <= last and member not in entry["excluded"]
    ]


# Several rooms


async def test_a_client_blocked_in_two_rooms_gets_both_in_order(autojump_clock: MockClock) -> None:
    """Cut in the middle of one room's frame, while both go on."""
    async with open_test_server() as server:
        bob = await server.connect()
        await bob.join("tea")
        await bob.join("hall")
        tea, hall = server.hub.room("tea"), server.hub.room("hall")
        for k in range(100):
            bob.incoming.take(k, then=0)
            for number in range(5):
                await tea.broadcast([k, number])
                await hall.broadcast([number, k])
            bob.incoming.take()
            frames = await received(bob)
            assert data_of(frames, "tea") == [[k, number] for number in range(5)]
            assert data_of(frames, "hall") == [[number, k] for number in range(5)]


async def test_a_busy_room_does_not_starve_another_one(autojump_clock: MockClock) -> None:
    """Rooms that are behind take turns, with 64 KiB each."""
    async with open_test_server() as server:
        bob = await server.connect()
        await bob.join("tea")
        await bob.join("hall")
        bob.incoming.take(then=0)
        for _ in range(10):
            await server.hub.room("tea").broadcast("x" * 60_000)
        await server.hub.room("hall").broadcast("a word")
        bob.incoming.take()
        rooms = [frame["room"] for frame in await received(bob)]
        assert rooms.count("tea") == 10
        # One frame was on its way before the other room said anything.
        assert rooms.index("hall") <= 4


async def test_a_blocked_client_delays_no_one(autojump_clock: MockClock) -> None:
    """The others hear at the same moment what was said."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(then=0)
        await say(ada, "tea", "x")
        assert data_of(await received(ada)) == ["x"]
        assert trio.current_time() == 0


# The log moves on


async def test_what_fell_out_of_the_log_is_a_gap(autojump_clock: MockClock) -> None:
    """With the first and the last number that is lost, and that there were members among it."""
    async with open_test_server(hub_settings=SHORT_LOG) as server:
        _, bob = await two_in_tea(server)
        room = server.hub.room("tea")
        bob.incoming.take(5, then=0)
        cut = await room.broadcast("cut")
        async with room.join("eve"):
            await room.broadcast("lost")
        for number in range(29):
            await room.broadcast(number)
        last = await room.broadcast(29)
        assert cut.seq is not None
        assert last.seq is not None
        bob.incoming.take()
        frames = await received(bob)
        assert frames[0]["seq"] == cut.seq
        assert frames[1] == {
            "type": "gap",
            "room": "tea",
            "epoch": cut.epoch,
            "from": cut.seq + 1,
            "to": last.seq - 10,
            "reason": "lagged",
            "roster": True,
        }
        assert [frame["seq"] for frame in frames[2:]] == list(range(last.seq - 9, last.seq + 1))
        assert data_of(frames[2:]) == list(range(20, 30))


async def test_a_gap_of_messages_alone_says_nothing_of_the_roster(
    autojump_clock: MockClock,
) -> None:
    """`roster` is absent rather than false."""
    async with open_test_server(hub_settings=SHORT_LOG) as server:
        _, bob = await two_in_tea(server)
        bob.incoming.take(then=0)
        for number in range(30):
            await server.hub.room("tea").broadcast(number)
        bob.incoming.take()
        frames = await received(bob)
        gaps = [frame for frame in frames if frame["type"] == "gap"]
        assert len(gaps) == 1
        assert "roster" not in gaps[0]


async def test_a_gap_can_come_again_and_again(autojump_clock: MockClock) -> None:
    """Each accounts for what is between the events around it."""
    async with open_test_server(hub_settings=SHORT_LOG) as server:
        _, bob = await two_in_tea(server)
        room = server.hub.room("tea")
        seen = (await room.broadcast("begin")).seq
        assert seen is not None
        await received(bob)
        for round_ in range(20):
            bob.incoming.take(round_ * 10, then=0)
            for number in range(25):
                await room.broadcast(number)
            bob.incoming.take()
            frames = await received(bob)
            assert "gap" in {frame["type"] for frame in frames}
            for frame in frames:
                if frame["type"] == "gap":
                    assert frame["from"] == seen + 1
                    seen = frame["to"]
                else:
                    assert frame["seq"] == seen + 1
                    seen = frame["seq"]


async def test_a_raw_client_that_falls_out_of_the_log_is_closed_with_4008(
    autojump_clock: MockClock,
) -> None:
    """It has no word for a gap; what was cut is finished first, and the others see `lagged`."""
    async with open_test_server(hub_settings=SHORT_LOG) as server:
        ada = await server.connect()
        await ada.join("tea")
        bob = await server.connect("/raw/tea")
        member = (await ada.expect(type="member_joined"))["member"]
        bob.incoming.take(3, then=0)
        for number in range(30):
            await server.hub.room("tea").broadcast(f"message {number}")
        bob.incoming.take()
        assert await bob.wait_closed() == Closed(4008, "too slow")
        assert list(bob.frames) == ["message 0"]
        await received(ada)
        await at(0)
        assert server.hub.rooms_of(member) == []
        assert server.server.statistics().sockets == 1


async def test_the_others_see_a_raw_client_leave_as_lagged(autojump_clock: MockClock) -> None:
    """One `member_left`, with the reason."""
    async with open_test_server(hub_settings=SHORT_LOG) as server:
        ada = await server.connect()
        await ada.join("tea")
        bob = await server.connect("/raw/tea")
        member = (await ada.expect(type="member_joined"))["member"]
        bob.incoming.take(then=0)
        for number in range(30):
            await server.hub.room("tea").broadcast(number)
        bob.incoming.take()
        await bob.wait_closed()
        left = [frame for frame in await received(ada) if frame["type"] == "member_left"]
        assert [(frame["member"], frame["reason"]) for frame in left] == [(member, "lagged")]


# Deadline and memory


async def test_a_client_that_takes_nothing_for_10_seconds_is_cut_off(
    autojump_clock: MockClock,
) -> None:
    """Counted from when it first took less than all; the others see `lagged`."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        await at(3)
        bob.incoming.take(1, then=0)
        await server.hub.room("tea").broadcast("x")
        await ada.expect(type="message")
        await at(7)
        await server.hub.room("tea").broadcast("y")
        await ada.expect(type="message")
        await just_before(13)
        await ada.expect_nothing()
        await at(13)
        await ada.expect(type="member_left", member=bob.member, reason="lagged")
        assert bob.closed == Closed(1006, "")
        assert server.server.statistics().sockets == 1


async def test_each_byte_taken_gives_10_seconds_more(autojump_clock: MockClock) -> None:
    """Progress is what counts, not how much."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(then=0)
        await server.hub.room("tea").broadcast("x")
        await at(9)
        bob.incoming.take(1, then=0)
        await just_before(19)
        assert bob.closed is None
        await at(19)
        await ada.expect(type="message")
        await ada.expect(type="member_left", reason="lagged")


async def test_a_write_that_is_refused_again_is_no_progress(autojump_clock: MockClock) -> None:
    """Being told that it may write, and then that it may not, gives no time."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(then=0)
        await server.hub.room("tea").broadcast("x")
        for second in range(1, 10):
            await at(second)
            bob.incoming.take(0, then=0)
        await at(10)
        await ada.expect(type="message")
        await ada.expect(type="member_left", reason="lagged")


async def test_a_slow_client_costs_no_more_than_the_rest_of_one_frame(
    autojump_clock: MockClock,
) -> None:
    """A megabyte is said to the room, and of that it holds the frame that was cut."""
    async with open_test_server() as server:
        _, bob = await two_in_tea(server)
        bob.incoming.take(100, then=0)
        await server.hub.room("tea").broadcast("x" * 1000)
        for _ in range(100):
            await server.hub.room("tea").broadcast("y" * 10_000)
        assert 0 < outlet_of(server, bob).own_bytes < 1100


# The connection's own frames


async def test_left_comes_after_all_of_the_room_and_nothing_after_it(
    autojump_clock: MockClock,
) -> None:
    """A lagging client that leaves gets its tail first, then `left` with the last number."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(7, then=0)
        await say(ada, "tea", 1, 2, 3)
        await bob.send(type="leave", room="tea", ref="bye")
        await wait_all_tasks_blocked()
        await say(ada, "tea", "too late")
        bob.incoming.take()
        frames = await received(bob)
        assert data_of(frames) == [1, 2, 3]
        assert frames[-1] == {
            "type": "left",
            "ref": "bye",
            "room": "tea",
            "seq": frames[-2]["seq"],
            "reason": "left",
        }


async def test_a_kicked_client_gets_its_tail_first(autojump_clock: MockClock) -> None:
    """The same for one who is put out."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(7, then=0)
        await say(ada, "tea", 1, 2, 3)
        assert await server.hub.leave(bob.member, "tea")
        await say(ada, "tea", "too late")
        bob.incoming.take()
        frames = await received(bob)
        assert data_of(frames) == [1, 2, 3]
        assert (frames[-1]["type"], frames[-1]["reason"]) == ("left", "kicked")


async def test_a_kicked_raw_client_gets_its_tail_before_4003(autojump_clock: MockClock) -> None:
    """What it was owed, and then the close that says why."""
    async with open_test_server() as server:
        bob = await server.connect("/raw/tea")
        await wait_all_tasks_blocked()
        (member,) = server.hub.members()
        bob.incoming.take(3, then=0)
        for number in range(3):
            await server.hub.room("tea").broadcast(str(number))
        assert await server.hub.leave(member, "tea")
        await server.hub.room("tea").broadcast("too late")
        bob.incoming.take()
        assert await bob.wait_closed() == Closed(4003, "kicked")
        assert list(bob.frames) == ["0", "1", "2"]


async def test_a_tail_that_fell_out_of_the_log_is_a_gap_before_left(
    autojump_clock: MockClock,
) -> None:
    """What the leaving client does not get, it is told of, and no number after its last."""
    async with open_test_server(hub_settings=SHORT_LOG) as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(7, then=0)
        await say(ada, "tea", 1, 2, 3)
        last = server.hub.room("tea").statistics().seq
        await bob.send(type="leave", room="tea")
        await wait_all_tasks_blocked()
        for number in range(30):
            await server.hub.room("tea").broadcast(number)
        bob.incoming.take()
        frames = await received(bob)
        assert data_of(frames) == [1]
        assert [frame["type"] for frame in frames] == ["message", "gap", "left"]
        assert (frames[1]["from"], frames[2]["seq"]) == (frames[0]["seq"] + 1, last)
        assert frames[1]["to"] == last


async def test_a_second_join_while_lagging_starts_from_its_answer(
    autojump_clock: MockClock,
) -> None:
    """`joined` comes after what came before it, and later events after `joined`, each once."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(7, then=0)
        await say(ada, "tea", 1, 2)
        await bob.send(type="join", room="tea", ref="again")
        await wait_all_tasks_blocked()
        await say(ada, "tea", 3, 4)
        bob.incoming.take()
        frames = await received(bob)
        kinds = [frame["type"] for frame in frames]
        assert kinds == ["message", "message", "joined", "message", "message"]
        assert data_of(frames) == [1, 2, 3, 4]
        assert frames[2]["seq"] == frames[1]["seq"]
        assert frames[2]["ref"] == "again"
        assert frames[2]["count"] == 2


async def test_a_second_join_that_fell_out_of_the_log_is_followed_by_a_gap(
    autojump_clock: MockClock,
) -> None:
    """What is lost before the answer is said before it, and what is lost after it, after it."""
    async with open_test_server(hub_settings=SHORT_LOG) as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(7, then=0)
        await say(ada, "tea", "cut", "lost")
        await bob.send(type="join", room="tea")
        await wait_all_tasks_blocked()
        for number in range(29):
            await server.hub.room("tea").broadcast(number)
        last = (await server.hub.room("tea").broadcast(29)).seq
        assert last is not None
        bob.incoming.take()
        cut, before, joined, after, *rest = await received(bob)
        kinds = [frame["type"] for frame in (before, joined, after)]
        assert kinds == ["gap", "joined", "gap"]
        assert (before["from"], before["to"]) == (cut["seq"] + 1, joined["seq"])
        assert (after["from"], after["to"]) == (joined["seq"] + 1, last - 10)
        assert data_of(rest) == list(range(20, 30))


async def test_one_who_leaves_and_comes_back_while_lagging_gets_both_stays(
    autojump_clock: MockClock,
) -> None:
    """In order: the first stay's tail, `left`, `joined`, the second stay."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(7, then=0)
        await say(ada, "tea", 1, 2)
        await bob.send(type="leave", room="tea")
        await wait_all_tasks_blocked()
        await say(ada, "tea", "away")
        await bob.send(type="join", room="tea")
        await wait_all_tasks_blocked()
        await say(ada, "tea", 3)
        bob.incoming.take()
        frames = await received(bob)
        kinds = [frame["type"] for frame in frames]
        assert kinds == ["message", "message", "left", "joined", "message"]
        assert data_of(frames) == [1, 2, 3]


async def test_a_turn_with_a_message_a_leave_and_a_message_ends_with_left(
    autojump_clock: MockClock,
) -> None:
    """All three in one turn, for one who keeps up: the second message is not for it."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        first = {"type": "broadcast", "room": "tea", "data": "with"}
        leave = {"type": "leave", "room": "tea"}
        await bob.send_raw(
            b"".join(client_frame(TEXT, json.dumps(frame).encode()) for frame in (first, leave))
        )
        await say(ada, "tea", "without")
        frames = await received(bob)
        assert [frame["type"] for frame in frames] == ["message", "left"]
        assert data_of(await received(ada)) == ["with", "without"]


async def test_own_frames_come_before_what_is_left_of_the_rooms(
    autojump_clock: MockClock,
) -> None:
    """After the rest of the cut frame, before the backlog."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(7, then=0)
        await say(ada, "tea", "cut")
        await say(ada, "tea", "waits")
        await bob.send(type="leave", room="hall", ref=1)
        await wait_all_tasks_blocked()
        bob.incoming.take()
        frames = await received(bob)
        assert [frame["type"] for frame in frames] == ["message", "left", "message"]


async def test_only_the_latest_pong_is_kept(autojump_clock: MockClock) -> None:
    """Of a hundred pings to a server that cannot answer, the last is answered."""
    async with open_test_server() as server:
        _, bob = await two_in_tea(server)
        bob.incoming.take(then=0)
        await server.hub.room("tea").broadcast("x")
        for number in range(100):
            await bob.ping(b"%d" % number)
        await wait_all_tasks_blocked()
        bob.incoming.take()
        await received(bob)
        assert bob.pongs == [b"99"]


async def test_pings_of_the_socket_and_of_the_protocol_are_both_answered(
    autojump_clock: MockClock,
) -> None:
    """The latest of each: they are different questions."""
    async with open_test_server() as server:
        _, bob = await two_in_tea(server)
        bob.incoming.take(then=0)
        await server.hub.room("tea").broadcast("x")
        await bob.ping(b"socket")
        await bob.send(type="ping", ref="protocol")
        await wait_all_tasks_blocked()
        bob.incoming.take()
        frames = await received(bob)
        assert {"type": "pong", "ref": "protocol"} in frames
        assert bob.pongs == [b"socket"]


async def test_a_flood_of_members_requests_by_one_that_never_reads_is_bounded(
    autojump_clock: MockClock,
) -> None:
    """10,000 requests: it is not read on, holds little, and is cut off at the progress deadline."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea", info="x" * 900)
        for _ in range(50):
            await (await server.connect()).join("tea", info="y" * 900)
        bob = await server.connect(capacity=100_000)
        await bob.join("tea")
        bob.incoming.stall()
        request = client_frame(TEXT, b'{"type":"members","room":"tea","ref":1}')
        most = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, bob, request, 10_000)
            while bob.member in server.hub.members():
                most = max(most, outlet_of(server, bob).own_bytes)
                await trio.sleep(0.5)
        assert 0 < most < 320 * 1024
        assert trio.current_time() <= 11
        assert bob.outgoing.carried < 10_000 * len(request)


async def flood(client: Client, frame: bytes, count: int) -> None:
    try:
        for _ in range(count):
            await client.send_raw(frame)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def test_a_client_whose_replies_wait_is_read_on_when_it_reads(
    autojump_clock: MockClock,
) -> None:
    """Every request is answered in the end, in its order."""
    async with open_test_server() as server:
        _, bob = await two_in_tea(server)
        bob.incoming.stall()
        requests = b"".join(
            client_frame(TEXT, b'{"type":"members","room":"tea","ref":%d}' % ref)
            for ref in range(5000)
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bob.send_raw, requests)
            await at(5)
            bob.incoming.resume()
        refs = [frame["ref"] for frame in await received(bob) if frame["type"] == "members"]
        assert refs == list(range(5000))


# Who is not to get it


async def test_a_lagging_sender_does_not_get_what_it_wanted_no_echo_of(
    autojump_clock: MockClock,
) -> None:
    """Read from the log, the exclusion holds as it does live."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(7, then=0)
        await say(ada, "tea", "cut")
        await say(bob, "tea", "mine", echo=False)
        await say(bob, "tea", "echoed")
        bob.incoming.take()
        assert data_of(await received(bob)) == ["cut", "echoed"]
        assert data_of(await received(ada)) == ["cut", "mine", "echoed"]


async def test_a_lagging_member_does_not_get_what_excepts_it(autojump_clock: MockClock) -> None:
    """The same for `except`."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(7, then=0)
        await say(ada, "tea", "cut")
        await say(ada, "tea", "not for bob", **{"except": [bob.member]})
        await say(ada, "tea", "for all")
        bob.incoming.take()
        assert data_of(await received(bob)) == ["cut", "for all"]


async def test_volatile_messages_reach_only_who_has_kept_up(autojump_clock: MockClock) -> None:
    """One who is behind never gets them, and misses no number by that."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        bob.incoming.take(7, then=0)
        await say(ada, "tea", "cut")
        await say(ada, "tea", "typing", volatile=True)
        await say(ada, "tea", "said")
        bob.incoming.take()
        frames = await received(bob)
        assert data_of(frames) == ["cut", "said"]
        assert frames[1]["seq"] == frames[0]["seq"] + 1
        assert data_of(await received(ada)) == ["cut", "typing", "said"]


async def test_a_volatile_message_that_was_cut_is_finished(autojump_clock: MockClock) -> None:
    """It began to go out, so the rest follows, and then the log."""
    unpinged = ServerSettings(heartbeat_seconds=1000)
    async with open_test_server(settings=unpinged) as server:
        ada, bob = await two_in_tea(server)
        for k in range(1, 120):
            bob.incoming.take(k, then=0)
            await say(ada, "tea", "typing", volatile=True, echo=False)
            await say(ada, "tea", k, echo=False)
            bob.incoming.take()
            frames = await received(bob)
            assert data_of(frames) == ["typing", k]
            assert "seq" not in frames[0]
            await trio.sleep(1)
