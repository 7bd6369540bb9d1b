"""The connection manager: what it sends to whom, and what becomes of those who cannot take it."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked
from trio_websocket import wrap_client_stream, wrap_server_stream

import roomactors
from roomactors import (
    ClosedHubError,
    ConnectionIdTakenError,
    ConnectionManager,
    DrainingError,
    HubSettings,
    InvalidDataError,
    MemberIdError,
    MemberIdTakenError,
    MemberLeft,
    Message,
    RemovedReason,
    RoomNameError,
    RoomSettings,
    Seat,
    TooLargeError,
    TooManyRoomsError,
    UnknownConnectionError,
)
from roomactors.core.commands import ListMembers, Present
from roomactors.errors import RoomActorsError
from roomactors.manager.manager import OWN_HUB
from tests.manager.textbook import Peer

SMALL = HubSettings(room=RoomSettings(log_messages=64, log_floor=64), data_bytes=100)

REMOVED = list[tuple[str, RemovedReason]]


def recorder() -> tuple[REMOVED, Callable[[str, RemovedReason], Awaitable[None]]]:
    """A list, and an `on_removed` that writes into it."""
    removed: REMOVED = []

    async def on_removed(connection_id: str, reason: RemovedReason) -> None:
        await trio.lowlevel.checkpoint()
        removed.append((connection_id, reason))

    return removed, on_removed


async def put(manager: ConnectionManager, room: str, **peers: Peer) -> None:
    """Add connections and put them into a room."""
    for name, peer in peers.items():
        await manager.add_connection(name, peer)
        await manager.join_room(name, room)


# How a connection is sent to


class TrioWebsocketShape:
    def __init__(self) -> None:
        self.got: list[tuple[str, str | bytes]] = []

    async def send_message(self, message: str | bytes) -> None:
        self.got.append(("send_message", message))


class StarletteShape:
    def __init__(self) -> None:
        self.got: list[tuple[str, str | bytes]] = []

    async def send_text(self, data: str) -> None:
        self.got.append(("send_text", data))

    async def send_bytes(self, data: bytes) -> None:
        self.got.append(("send_bytes", data))

    async def send(self, message: dict[str, object]) -> None:
        raise AssertionError("an ASGI message is not what the manager has")


class QuartShape:
    def __init__(self) -> None:
        self.got: list[tuple[str, str | bytes]] = []

    async def send(self, data: str | bytes) -> None:
        self.got.append(("send", data))


class EveryShape(TrioWebsocketShape):
    send_text = send_bytes = send = None


class HalfShape(QuartShape):
    async def send_text(self, data: str) -> None:
        raise AssertionError("there is no send_bytes beside it")


@pytest.mark.parametrize(
    ("shape", "text_by", "binary_by"),
    [
        (TrioWebsocketShape, "send_message", "send_message"),
        (StarletteShape, "send_text", "send_bytes"),
        (QuartShape, "send", "send"),
        (EveryShape, "send_message", "send_message"),
        (HalfShape, "send", "send"),
    ],
)
async def test_a_connection_is_sent_to_by_the_method_it_has(
    shape: type[TrioWebsocketShape | StarletteShape | QuartShape], text_by: str, binary_by: str
) -> None:
    """Text goes out as str and binary as bytes, by the first of the documented names."""
    connection = shape()
    async with ConnectionManager() as manager:
        await manager.add_connection("ada", connection)
        await manager.join_room("ada", "tea")
        await manager.broadcast_to_room("tea", "text")
        await manager.broadcast_to_room("tea", b"binary")
    assert connection.got == [(text_by, "text"), (binary_by, b"binary")]


async def test_a_send_that_is_given_comes_before_all_names() -> None:
    """`send=` is used even where the object has a method of its own."""
    connection, got = TrioWebsocketShape(), []

    async def send(message: str | bytes) -> None:
        got.append(message)

    async with ConnectionManager() as manager:
        await manager.add_connection("ada", connection, send=send)
        await manager.broadcast_to_all("hello")
    assert (got, connection.got) == (["hello"], [])


async def test_an_object_that_cannot_be_sent_to_is_refused() -> None:
    """The error names what is missing, and the id stays free."""
    async with ConnectionManager() as manager:
        with pytest.raises(TypeError, match="a object has no send_message, no send_text with"):
            await manager.add_connection("ada", object())
        await manager.add_connection("ada", Peer())


@pytest.mark.parametrize("wrong", [7, None, b"ada", "", "a\nb", "x" * 65])
async def test_an_id_is_one_that_a_member_may_have(wrong: object) -> None:
    """Rosters name connections by their ids, so ids are what a roster can hold."""
    async with ConnectionManager() as manager:
        with pytest.raises(MemberIdError):
            await manager.add_connection(wrong, Peer())  # type: ignore[arg-type]
        assert manager.hub.members() == []


# What is sent

TEXTS = (
    *("", '"', "\\", '\\"', "\0", "\u2028", "é😀", "null", "x" * 100_000),
    *('{"base64":"AA=="}', "[1, 2]", "\ufeffbom"),
)
BINARIES = (b"", b"\0", bytes(range(256)) * 1000, b'"text"', b'{"base64":"AA=="}', b"\xff\xfe")


@pytest.mark.parametrize("message", [*TEXTS, *BINARIES], ids=lambda message: repr(message[:12]))
async def test_text_stays_text_and_binary_stays_binary(message: str | bytes) -> None:
    """What arrives is equal to what was sent, and of its type, whatever is in it."""
    peer = Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=peer)
        await manager.broadcast_to_room("tea", message)
    assert peer.got == [message]
    assert type(peer.got[0]) is type(message)


@pytest.mark.parametrize("message", [None, 1, {"a": 1}, ["a"], bytearray(b"a")])
async def test_a_message_is_text_or_binary(message: object) -> None:
    """Any other value is refused to the one who sends it; nothing is sent."""
    peer = Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=peer)
        for broadcast in (
            manager.broadcast_to_all(message),  # type: ignore[arg-type]
            manager.broadcast_to_room("tea", message),  # type: ignore[arg-type]
            manager.broadcast_to_room("nowhere", message),  # type: ignore[arg-type]
        ):
            with pytest.raises(TypeError, match="a message is a str or bytes, not a "):
                await broadcast
    assert peer.asked == []


async def test_half_of_a_surrogate_pair_is_refused() -> None:
    """It has no UTF-8, so no connection could be sent it."""
    peer = Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=peer)
        with pytest.raises(InvalidDataError):
            await manager.broadcast_to_room("tea", "\ud800")
    assert peer.asked == []


@pytest.mark.parametrize(
    ("largest", "over"),
    [("x" * 98, "x" * 99), ("\n" * 49, "\n" * 50), (b"x" * 63, b"x" * 64)],
    ids=["text", "escaped", "binary"],
)
async def test_the_size_of_a_message_is_what_the_hub_says(
    largest: str | bytes, over: str | bytes
) -> None:
    """`data_bytes` holds for the message as JSON, to the byte."""
    peer = Peer()
    async with roomactors.open_hub(settings=SMALL) as hub, ConnectionManager(hub) as manager:
        await put(manager, "tea", ada=peer)
        await manager.broadcast_to_room("tea", largest)
        with pytest.raises(TooLargeError, match="the message takes"):
            await manager.broadcast_to_room("tea", over)
        with pytest.raises(TooLargeError):
            await manager.broadcast_to_all(over)
    assert peer.got == [largest]


@pytest.mark.parametrize("message", ["x" * 2**20, b"x" * 2**20], ids=["text", "binary"])
async def test_a_manager_s_own_hub_takes_what_trio_websocket_takes(message: str | bytes) -> None:
    """A message of 1 MiB, in either kind; twice that is refused."""
    peer = Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=peer)
        await manager.broadcast_to_room("tea", message)
        with pytest.raises(TooLargeError) as refused:
            await manager.broadcast_to_room("tea", message * 2)
        assert refused.value.limit == OWN_HUB.data_bytes
        await manager.hub.room("tea").broadcast("x" * 2**20)
    assert peer.got == [message, "x" * 2**20]


# Who is sent to


async def test_everyone_is_sent_to_once() -> None:
    """In three rooms, in one, or in none: what goes to all arrives once."""
    peers = {name: Peer() for name in ("ada", "bob", "cleo")}
    async with ConnectionManager() as manager:
        for name, peer in peers.items():
            await manager.add_connection(name, peer)
        for room in ("tea", "coffee", "milk"):
            await manager.join_room("ada", room)
        await manager.join_room("bob", "tea")
        await manager.broadcast_to_all("hello")
        await manager.broadcast_to_all(b"bye")
    assert [peer.got for peer in peers.values()] == [["hello", b"bye"]] * 3


async def test_some_can_be_left_out() -> None:
    """`except_` names those who do not get it: the one who said it, mostly."""
    ada, bob = Peer(), Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=ada, bob=bob)
        await manager.broadcast_to_room("tea", "from ada", except_=["ada"])
        await manager.broadcast_to_room("tea", "for both")
    assert (ada.got, bob.got) == (["for both"], ["from ada", "for both"])


async def test_joining_twice_is_joining_once() -> None:
    """Each message comes once, and one leave is enough."""
    ada = Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=ada)
        await manager.join_room("ada", "tea")
        await manager.broadcast_to_room("tea", "hello")
        await manager.leave_room("ada", "tea")
        await manager.broadcast_to_room("tea", "not for ada")
        assert manager.get_room_connections("tea") == set()
    assert ada.got == ["hello"]


async def test_what_is_asked_is_what_is_so() -> None:
    """Right after each call both questions have the new answer, and the answers are copies."""
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=Peer(), bob=Peer())
        await manager.join_room("ada", "coffee")
        assert manager.get_room_connections("tea") == {"ada", "bob"}
        assert manager.get_connection_rooms("ada") == {"tea", "coffee"}
        manager.get_room_connections("tea").clear()
        manager.get_connection_rooms("ada").clear()
        await manager.leave_room("ada", "tea")
        assert manager.get_room_connections("tea") == {"bob"}
        assert manager.get_connection_rooms("ada") == {"coffee"}
        assert manager.hub.rooms() == ["tea", "coffee"]
        await manager.remove_connection("ada")
        assert manager.get_room_connections("coffee") == set()
        assert manager.get_connection_rooms("ada") == set()
        assert manager.hub.rooms() == ["tea"]


async def test_a_seat_that_is_on_its_way_out_is_listed_no_more() -> None:
    """As soon as somebody has asked for it, though the room has not had its turn yet."""
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=Peer())
        seen: list[set[str]] = []

        def look() -> None:
            seen.append(set(manager.hub.rooms_of("ada")))
            seen.append(manager.get_room_connections("tea"))
            seen.append(manager.get_connection_rooms("ada"))

        command = ListMembers(answer=Then(look))
        manager.hub.keeper.post("tea", command, origin=None, accepted=lambda: None)
        await manager.leave_room("ada", "tea")
    assert seen == [{"tea"}, set(), set()]


async def test_an_id_that_is_taken_is_an_error() -> None:
    """The first connection stays what it was; the error has the id."""
    first, second = Peer(), Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=first)
        with pytest.raises(ConnectionIdTakenError) as taken:
            await manager.add_connection("ada", second)
        assert taken.value.connection == "ada"
        await manager.broadcast_to_all("hello")
    assert (first.got, second.got) == (["hello"], [])


async def test_an_id_is_one_in_the_whole_hub() -> None:
    """Neither a connection can have a member's id, nor a member a connection's."""
    async with roomactors.open_hub() as hub, ConnectionManager(hub) as manager:
        async with hub.room("tea").join("ada"):
            with pytest.raises(ConnectionIdTakenError):
                await manager.add_connection("ada", Peer())
        await manager.add_connection("ada", Peer())
        with pytest.raises(MemberIdTakenError):
            async with hub.room("tea").join("ada"):
                pass


async def test_an_unknown_connection_is_an_error_where_it_would_come_in() -> None:
    """It cannot join; leaving, removal and questions have nothing to do."""
    async with ConnectionManager() as manager:
        with pytest.raises(UnknownConnectionError) as unknown:
            await manager.join_room("ada", "tea")
        assert unknown.value.connection == "ada"
        await manager.leave_room("ada", "tea")
        await manager.remove_connection("ada")
        assert manager.get_connection_rooms("ada") == set()
        assert manager.get_room_connections("tea") == set()
        assert manager.hub.statistics().rooms == 0

        await put(manager, "tea", ada=Peer())
        await manager.leave_room("ada", "coffee")
        await manager.remove_connection("ada")
        with pytest.raises(UnknownConnectionError):
            await manager.join_room("ada", "tea")


async def test_a_room_s_name_is_checked() -> None:
    """A name that no room may have is refused everywhere but in questions."""
    async with ConnectionManager() as manager:
        await manager.add_connection("ada", Peer())
        for call in (
            manager.join_room("ada", "$all"),
            manager.leave_room("ada", ""),
            manager.broadcast_to_room("a\nb", "hello"),
        ):
            with pytest.raises(RoomNameError):
                await call


async def test_a_message_to_a_room_that_is_not_begins_none() -> None:
    """Names that come from outside cost nothing."""
    async with ConnectionManager() as manager:
        for number in range(100):
            await manager.broadcast_to_room(f"room {number}", "hello")
        assert manager.hub.statistics().rooms == 0


async def test_a_removal_touches_the_connection_s_own_rooms_alone() -> None:
    """Of 200 rooms only the three that it is in take a turn, and the one of everyone."""
    async with ConnectionManager() as manager:
        rooms = [f"room {number}" for number in range(200)]
        await manager.add_connection("ada", Peer())
        await manager.add_connection("bob", Peer())
        for room in rooms:
            await manager.join_room("bob", room)
        for room in rooms[:3]:
            await manager.join_room("ada", room)

        def turns() -> list[int]:
            return [manager.hub.room(room).statistics().turns for room in rooms]

        before = turns()
        await manager.remove_connection("ada")
        await wait_all_tasks_blocked()
        assert [now - then for now, then in zip(turns(), before, strict=True)] == [1] * 3 + [
            0
        ] * 197


async def test_the_bounds_of_a_hub_that_is_given_hold() -> None:
    """A connection is in as many rooms as a member may be."""
    settings = HubSettings(max_rooms_per_member=1)
    async with roomactors.open_hub(settings=settings) as hub, ConnectionManager(hub) as manager:
        await put(manager, "tea", ada=Peer())
        with pytest.raises(TooManyRoomsError):
            await manager.join_room("ada", "coffee")


# Order


async def test_all_get_a_room_s_messages_in_the_same_order(autojump_clock: MockClock) -> None:
    """Ten tasks broadcast at once; slow or fast, each connection gets the same sequence."""
    peers = {f"peer {n}": Peer(passes=n, seconds=n % 2 * 0.01) for n in range(6)}
    async with ConnectionManager() as manager:
        await put(manager, "tea", **peers)

        async def publish(task: int) -> None:
            for number in range(20):
                await manager.broadcast_to_room("tea", f"{task} {number}")

        async with trio.open_nursery() as nursery:
            for task in range(10):
                nursery.start_soon(publish, task)
    first, *others = [peer.got for peer in peers.values()]
    assert len(first) == 200
    assert others == [first] * 5
    for task in range(10):
        mine = [message for message in first if str(message).startswith(f"{task} ")]
        assert mine == [f"{task} {number}" for number in range(20)]


async def test_one_task_s_messages_come_in_the_order_of_its_calls(
    autojump_clock: MockClock,
) -> None:
    """Also across rooms, and to a connection that is far behind when it reads them."""
    slow = Peer(seconds=1)
    async with ConnectionManager(send_seconds=100) as manager:
        await manager.add_connection("ada", slow)
        rooms = ["tea", "coffee", "milk"]
        for room in rooms:
            await manager.join_room("ada", room)
        for number in range(30):
            if number % 5 == 4:
                await manager.broadcast_to_all(str(number))
            else:
                await manager.broadcast_to_room(rooms[number * 7 % 3], str(number))
    assert slow.got == [str(number) for number in range(30)]


# Slow, dead, behind


async def test_a_slow_connection_delays_no_one(autojump_clock: MockClock) -> None:
    """With one that takes nothing, 500 broadcasts take no time, and the others get them all."""
    stuck, ada = Peer(seconds=3600), Peer()
    async with roomactors.open_hub() as hub, ConnectionManager(hub) as manager:
        await put(manager, "tea", stuck=stuck, ada=ada)
        began = trio.current_time()
        for number in range(500):
            await manager.broadcast_to_room("tea", str(number))
        await wait_all_tasks_blocked()
        assert trio.current_time() == began
        assert ada.got == [str(number) for number in range(500)]
        assert stuck.asked == ["0"]


async def test_a_send_that_takes_too_long_is_the_last(autojump_clock: MockClock) -> None:
    """It is cancelled at its deadline; the connection is out of its rooms, and not written to."""
    removed, on_removed = recorder()
    stuck, ada = Peer(seconds=10.5), Peer()
    began = trio.current_time()
    async with ConnectionManager(on_removed=on_removed) as manager:
        await put(manager, "tea", stuck=stuck, ada=ada)
        await manager.broadcast_to_room("tea", "one")
        await manager.broadcast_to_room("tea", "two")
        await trio.sleep(9.9)
        assert manager.get_room_connections("tea") == {"stuck", "ada"}
        await trio.sleep(0.2)
        assert removed == [("stuck", "send_timed_out")]
        assert manager.get_room_connections("tea") == {"ada"}
        assert manager.get_connection_rooms("stuck") == set()
        await manager.broadcast_to_room("tea", "three")
        await manager.broadcast_to_all("four")
        await trio.sleep(100)
    assert stuck.asked == ["one"]
    assert stuck.got == []
    assert ada.got == ["one", "two", "three", "four"]
    assert trio.current_time() - began < 120


class Wire(trio.abc.SendStream):
    """What a socket has taken; from some moment on it takes half of a write, and no more."""

    def __init__(self, inner: trio.abc.SendStream) -> None:
        self.taken = bytearray()
        self.stalled = False
        self._inner = inner

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.stalled:
            self.taken += data[: len(data) // 2]
            await trio.sleep_forever()
        self.taken += data
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._inner.aclose()


async def test_no_byte_follows_half_a_frame(autojump_clock: MockClock) -> None:
    """A real trio-websocket whose peer stops in the middle of a frame is left as it is."""
    removed, on_removed = recorder()
    client_end, server_end = memory_stream_pair()
    wire = Wire(server_end.send_stream)
    async with trio.open_nursery() as nursery:
        stream = trio.StapledStream(wire, server_end.receive_stream)
        nursery.start_soon(
            wrap_client_stream,  # type: ignore[arg-type]  # it says less than it takes
            nursery,
            client_end,
            "localhost",
            "/",
        )
        request = await wrap_server_stream(nursery, stream)
        websocket = await request.accept()
        async with ConnectionManager(on_removed=on_removed) as manager:
            await manager.add_connection("ada", websocket)
            await manager.join_room("ada", "tea")
            await manager.broadcast_to_room("tea", "whole")
            await wait_all_tasks_blocked()
            assert wire.taken.endswith(b"whole")
            wire.stalled = True
            for _ in range(5):
                await manager.broadcast_to_room("tea", "x" * 100)
            await trio.sleep(9)
            taken = bytes(wire.taken)
            assert taken.endswith(b"x")
            await trio.sleep(2)
            assert removed == [("ada", "send_timed_out")]
            wire.stalled = False
            await manager.broadcast_to_room("tea", "late")
            await manager.broadcast_to_all("later")
            await trio.sleep(100)
            assert wire.taken == taken
        nursery.cancel_scope.cancel()


async def test_a_send_that_hides_its_cancellation_is_the_last_all_the_same(
    autojump_clock: MockClock,
) -> None:
    """Half a frame may have gone, whatever the send says of it."""
    removed, on_removed = recorder()
    asked = []

    async def send(message: str | bytes) -> None:
        asked.append(message)
        with trio.move_on_after(1000):
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                return

    async with ConnectionManager(on_removed=on_removed) as manager:
        await manager.add_connection("ada", object(), send=send)
        await manager.broadcast_to_all("one")
        await manager.broadcast_to_all("two")
        await trio.sleep(11)
    assert (asked, removed) == (["one"], [("ada", "send_timed_out")])


async def test_the_deadline_is_each_send_s_own(autojump_clock: MockClock) -> None:
    """One that takes nine seconds for each message goes on for as long as it likes."""
    slow = Peer(seconds=9)
    async with ConnectionManager() as manager:
        await put(manager, "tea", slow=slow)
        for number in range(10):
            await manager.broadcast_to_room("tea", str(number))
        await trio.sleep(91)
        assert len(slow.got) == 10
        assert manager.get_room_connections("tea") == {"slow"}


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (OSError("reset"), "OSError('reset')"),
        (RuntimeError("closed"), "RuntimeError('closed')"),
        (ExceptionGroup("", [ValueError(), OSError()]), "ValueError(), OSError()"),
    ],
)
async def test_a_send_that_raises_is_the_last(
    error: Exception, logged: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the caller nor another connection notices; the program is told, and the log."""
    caplog.set_level(logging.INFO, "roomactors")
    removed, on_removed = recorder()
    dead, ada = Peer(error=error), Peer()
    async with ConnectionManager(on_removed=on_removed) as manager:
        await put(manager, "tea", dead=dead, ada=ada)
        for number in range(3):
            await manager.broadcast_to_room("tea", str(number))
        await wait_all_tasks_blocked()
        assert manager.get_room_connections("tea") == {"ada"}
    assert dead.asked == ["0"]
    assert ada.got == ["0", "1", "2"]
    assert removed == [("dead", "send_failed")]
    assert f"connection 'dead' is removed: its send raised {logged}\n" in caplog.text


async def test_the_others_see_why_one_is_gone(autojump_clock: MockClock) -> None:
    """Members of the same room hear of it as of any other who leaves."""
    async with (
        roomactors.open_hub() as hub,
        ConnectionManager(hub) as manager,
        hub.room("tea").join("eve") as seat,
    ):
        await put(manager, "tea", left=Peer(), out=Peer(), dead=Peer(error=OSError()))
        await put(manager, "tea", stuck=Peer(seconds=3600))
        await manager.leave_room("left", "tea")
        await manager.remove_connection("out")
        await manager.broadcast_to_room("tea", "hello")
        await trio.sleep(11)
        events = [await seat.receive() for _ in range(9)]
    reasons = {event.member: event.reason for event in events if isinstance(event, MemberLeft)}
    assert reasons == {"left": "left", "out": "left", "dead": "disconnected", "stuck": "lagged"}


async def test_one_that_falls_out_of_the_log_is_removed(autojump_clock: MockClock) -> None:
    """A stream of messages cannot say that some are missing, so it ends there."""
    removed, on_removed = recorder()
    slow, ada = Peer(seconds=5), Peer()
    async with (
        roomactors.open_hub(settings=SMALL) as hub,
        ConnectionManager(hub, on_removed=on_removed) as manager,
    ):
        await put(manager, "tea", slow=slow, ada=ada)
        for number in range(66):
            await manager.broadcast_to_room("tea", str(number))
        await trio.sleep(6)
        assert removed == [("slow", "lagged")]
        assert manager.get_room_connections("tea") == {"ada"}
    assert slow.got == ["0"]
    assert len(ada.got) == 66


async def test_one_that_is_just_in_the_log_gets_it_all(autojump_clock: MockClock) -> None:
    """Behind by as much as the log holds is not lost."""
    slow = Peer(seconds=5)
    async with (
        roomactors.open_hub(settings=SMALL) as hub,
        ConnectionManager(hub) as manager,
    ):
        await put(manager, "tea", slow=slow)
        await manager.broadcast_to_room("tea", "0")
        await wait_all_tasks_blocked()
        for number in range(1, 65):
            await manager.broadcast_to_room("tea", str(number))
        await trio.sleep(500)
        assert slow.got == [str(number) for number in range(65)]


async def test_who_comes_and_goes_is_no_message(autojump_clock: MockClock) -> None:
    """However many membership events fall out of the log, a connection has lost nothing."""
    ada = Peer()
    async with roomactors.open_hub(settings=SMALL) as hub, ConnectionManager(hub) as manager:
        await put(manager, "tea", ada=ada)
        for _ in range(200):
            async with hub.room("tea").join("eve"):
                pass
        await trio.sleep(400)
        for _ in range(200):
            async with hub.room("tea").join("eve"):
                pass
        await manager.broadcast_to_room("tea", "hello")
    assert ada.got == ["hello"]


@pytest.mark.parametrize("publishers", [1, 300])
async def test_a_publisher_that_never_rests_loses_nobody_who_keeps_up(
    publishers: int, autojump_clock: MockClock
) -> None:
    """Sends that take many passes of the loop, but no time, are waited for."""
    peers = {f"peer {n}": Peer(passes=n * 5) for n in range(4)}
    async with roomactors.open_hub(settings=SMALL) as hub, ConnectionManager(hub) as manager:
        await put(manager, "tea", **peers)

        async def publish() -> None:
            for _ in range(600 // publishers):
                await manager.broadcast_to_room("tea", "hello")

        async with trio.open_nursery() as nursery:
            for _ in range(publishers):
                nursery.start_soon(publish)
    assert [len(peer.got) for peer in peers.values()] == [600] * 4


async def test_a_send_that_never_waits_leaves_the_loop_to_the_others() -> None:
    """Between two of its messages everybody else has a turn."""
    go_on, got = trio.Event(), []

    async def send(message: str | bytes) -> None:
        if not go_on.is_set():
            await go_on.wait()
        got.append(message)

    async with ConnectionManager() as manager:
        await manager.add_connection("ada", object(), send=send)
        for _ in range(100):
            await manager.broadcast_to_all("hello")
        go_on.set()
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        assert 0 < len(got) <= 10
    assert len(got) == 100


async def test_a_stuck_connection_is_waited_for_once(autojump_clock: MockClock) -> None:
    """Once it has sent nothing while a publisher waited, publishers do not wait for it."""
    stuck, ada = Peer(seconds=3), Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", stuck=stuck, ada=ada)
        passes = [await passes_of(manager.broadcast_to_room, "tea", "hello") for _ in range(100)]
        assert sum(count > 30 for count in passes) == 1
        # Once it has caught up it is like the others again.
        await trio.sleep(400)
        assert len(stuck.got) == 100
        passes = [await passes_of(manager.broadcast_to_room, "tea", "hello") for _ in range(30)]
        assert sum(count > 30 for count in passes) == 1


async def passes_of(call: Callable[..., object], *args: object) -> int:
    """How often trio's loop goes round during a call."""

    class Passes(trio.abc.Instrument):
        count = 0

        def after_io_wait(self, timeout: float) -> None:
            self.count += 1

    passes = Passes()
    trio.lowlevel.add_instrument(passes)
    try:
        await call(*args)  # type: ignore[misc]
    finally:
        trio.lowlevel.remove_instrument(passes)
    return passes.count


# Leaving and removal


async def test_who_leaves_gets_what_came_before_and_nothing_after(
    autojump_clock: MockClock,
) -> None:
    """`leave_room` returns when the last message from before has been sent."""
    slow = Peer(seconds=2)
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=slow)
        await manager.join_room("ada", "coffee")
        for number in range(3):
            await manager.broadcast_to_room("tea", str(number))
        began = trio.current_time()
        await manager.leave_room("ada", "tea")
        assert slow.got == ["0", "1", "2"]
        assert trio.current_time() - began == 6
        await manager.broadcast_to_room("tea", "not for ada")
        await manager.broadcast_to_room("coffee", "for ada")
    assert slow.got == ["0", "1", "2", "for ada"]


async def test_leaving_waits_for_what_is_being_sent(autojump_clock: MockClock) -> None:
    """The last message from before is not on its way any more when `leave_room` returns."""
    slow = Peer(seconds=2)
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=slow)
        await manager.broadcast_to_room("tea", "hello")
        await wait_all_tasks_blocked()
        assert slow.asked == ["hello"]
        await manager.leave_room("ada", "tea")
        assert slow.got == ["hello"]


@pytest.mark.parametrize("draining", [False, True])
async def test_leaving_waits_no_longer_than_the_connection_lives(
    draining: bool, autojump_clock: MockClock
) -> None:
    """If it is removed meanwhile, there is nothing more to wait for, whatever the hub does."""
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=Peer(seconds=3600))
        began = trio.current_time()
        await manager.broadcast_to_room("tea", "hello")
        await trio.sleep(6)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.leave_room, "ada", "tea")
            await wait_all_tasks_blocked()
            manager.hub.keeper.draining = draining
        assert trio.current_time() - began == 10


async def test_leaving_does_not_wait_for_what_other_rooms_send(autojump_clock: MockClock) -> None:
    """Nothing of this room is due, so it is left at once."""
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=Peer(seconds=5))
        await manager.join_room("ada", "coffee")
        await manager.broadcast_to_room("tea", "hello")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await manager.leave_room("ada", "coffee")
        assert trio.current_time() == began


async def test_who_leaves_and_does_not_take_the_rest_is_removed(
    autojump_clock: MockClock,
) -> None:
    """The wait has the deadline of a send; nothing is dropped in silence."""
    removed, on_removed = recorder()
    slow = Peer(seconds=6)
    async with ConnectionManager(on_removed=on_removed) as manager:
        await put(manager, "tea", ada=slow)
        for number in range(3):
            await manager.broadcast_to_room("tea", str(number))
        began = trio.current_time()
        await manager.leave_room("ada", "tea")
        assert trio.current_time() - began == 10
        await wait_all_tasks_blocked()
        assert removed == [("ada", "lagged")]
        await trio.sleep(100)
    assert (slow.got, slow.asked) == (["0"], ["0", "1"])


async def test_a_leave_that_is_cancelled_leaves_all_the_same(autojump_clock: MockClock) -> None:
    """What came before is still sent, what comes after is not."""
    slow = Peer(seconds=2)
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=slow)
        await manager.broadcast_to_room("tea", "before")
        with trio.CancelScope() as scope:
            scope.cancel()
            await manager.leave_room("ada", "tea")
        assert scope.cancelled_caught
        assert manager.get_room_connections("tea") == set()
        assert manager.get_connection_rooms("ada") == set()
        await manager.broadcast_to_room("tea", "after")
    assert slow.got == ["before"]


async def test_who_is_removed_gets_what_came_before_and_nothing_after(
    autojump_clock: MockClock,
) -> None:
    """`remove_connection` returns when nothing more is sent."""
    slow = Peer(seconds=2)
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=slow)
        for number in range(3):
            await manager.broadcast_to_room("tea", str(number))
        await manager.remove_connection("ada")
        assert slow.got == ["0", "1", "2"]
        await manager.broadcast_to_room("tea", "not for ada")
        await manager.broadcast_to_all("nor this")
        await trio.sleep(100)
    assert slow.asked == ["0", "1", "2"]


async def test_a_removal_waits_no_longer_than_a_send_may_take(autojump_clock: MockClock) -> None:
    """Then what is being sent is cut off, and the hook has nothing to say: the program asked."""
    removed, on_removed = recorder()
    slow = Peer(seconds=2)
    async with ConnectionManager(send_seconds=3, on_removed=on_removed) as manager:
        await put(manager, "tea", ada=slow)
        for number in range(5):
            await manager.broadcast_to_room("tea", str(number))
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await manager.remove_connection("ada")
        assert trio.current_time() - began == 3
        await trio.sleep(100)
    assert (slow.got, slow.asked, removed) == (["0"], ["0", "1"], [])


async def test_what_fails_after_a_removal_is_not_reported(autojump_clock: MockClock) -> None:
    """The program has let the connection go; that it is dead is no news."""
    removed, on_removed = recorder()
    dead = Peer(seconds=1, error=OSError("closed meanwhile"))
    async with ConnectionManager(on_removed=on_removed) as manager:
        await put(manager, "tea", ada=dead)
        await manager.broadcast_to_room("tea", "one")
        await manager.broadcast_to_room("tea", "two")
        await manager.remove_connection("ada")
        await wait_all_tasks_blocked()
    assert (dead.asked, removed) == (["one"], [])


async def test_a_removal_that_is_cancelled_removes_at_once(autojump_clock: MockClock) -> None:
    """In a handler's `finally`, for instance: what is being sent is cut off."""
    stuck = Peer(seconds=5)
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=stuck)
        await manager.broadcast_to_room("tea", "hello")
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await manager.remove_connection("ada")
        assert scope.cancelled_caught
        assert manager.get_room_connections("tea") == set()
        await manager.add_connection("ada", Peer())
        await trio.sleep(100)
    assert (stuck.got, stuck.asked) == ([], ["hello"])


async def test_a_send_may_remove_its_own_connection(autojump_clock: MockClock) -> None:
    """It need not wait for itself, and is not asked again."""
    asked, go_on = [], trio.Event()

    async with ConnectionManager() as manager:

        async def send(message: str | bytes) -> None:
            asked.append(message)
            await go_on.wait()
            await manager.remove_connection("ada")

        await manager.add_connection("ada", object(), send=send)
        await manager.join_room("ada", "tea")
        began = trio.current_time()
        await manager.broadcast_to_room("tea", "one")
        await manager.broadcast_to_room("tea", "two")
        go_on.set()
        await wait_all_tasks_blocked()
        assert trio.current_time() == began
        assert manager.get_room_connections("tea") == set()
    assert asked == ["one"]


async def test_a_send_may_leave_the_room_it_sends_for(autojump_clock: MockClock) -> None:
    """It need not wait for itself; what came before the leave still comes."""
    asked = []

    async with ConnectionManager() as manager:

        async def send(message: str | bytes) -> None:
            asked.append(message)
            await manager.leave_room("ada", "tea")

        await manager.add_connection("ada", object(), send=send)
        await manager.join_room("ada", "tea")
        began = trio.current_time()
        await manager.broadcast_to_room("tea", "one")
        await wait_all_tasks_blocked()
        await manager.broadcast_to_room("tea", "two")
        await manager.broadcast_to_all("three")
        await wait_all_tasks_blocked()
        assert trio.current_time() == began
    assert asked == ["one", "three"]


async def test_a_removed_connection_s_rooms_are_not_the_next_one_s(
    autojump_clock: MockClock,
) -> None:
    """The id is free at once, and whoever takes it begins in no room."""
    first, second = Peer(seconds=5), Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=first)
        await manager.broadcast_to_room("tea", "for the first")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.remove_connection, "ada")
            await wait_all_tasks_blocked()
            await manager.add_connection("ada", second)
            assert manager.get_connection_rooms("ada") == set()
            await manager.join_room("ada", "tea")
            await manager.broadcast_to_room("tea", "for the second")
        assert manager.get_room_connections("tea") == {"ada"}
        await manager.broadcast_to_all("for the second")
    assert (first.got, second.got) == (["for the first"], ["for the second"] * 2)


async def test_rooms_that_empty_vanish(autojump_clock: MockClock) -> None:
    """Left or lost by all, they are not listed; after the linger time they cost nothing."""
    async with ConnectionManager() as manager:
        tasks = trio.lowlevel.current_statistics().tasks_living
        await manager.add_connection("ada", Peer())
        await manager.add_connection("bob", Peer(error=OSError()))
        objects = kinds()
        for number in range(1000):
            await manager.broadcast_to_room(str(number), "to nobody")
            await manager.join_room("ada", str(number))
            await manager.join_room("bob", str(number))
            await manager.broadcast_to_room(str(number), "hello", except_=["bob"])
        for number in range(500):
            await manager.leave_room("ada", str(number))
        await manager.remove_connection("ada")
        assert len(manager.hub.rooms()) == 1000
        await manager.broadcast_to_room("0", "hello")
        await wait_all_tasks_blocked()
        assert manager.hub.rooms() == []
        await trio.sleep(10)
        assert manager.hub.statistics().rooms == 0
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert [(kind, more) for kind, more in (kinds() - objects).items() if more > 500] == []


def kinds() -> Counter[type]:
    """How many objects there are of each type, cycles apart."""
    gc.collect()
    return Counter(type(thing) for thing in gc.get_objects())


# Cancelled


async def test_an_add_that_is_cancelled_adds_nothing() -> None:
    """The id is free, and nothing is sent."""
    peer = Peer()
    async with ConnectionManager() as manager:
        with trio.CancelScope() as scope:
            scope.cancel()
            await manager.add_connection("ada", peer)
        await manager.add_connection("ada", Peer())
        await manager.broadcast_to_all("hello")
    assert peer.asked == []


async def test_a_join_that_is_cancelled_joins_nothing() -> None:
    """No room lists it afterwards."""
    async with ConnectionManager() as manager:
        await manager.add_connection("ada", Peer())
        with trio.CancelScope() as scope:
            scope.cancel()
            await manager.join_room("ada", "tea")
        await wait_all_tasks_blocked()
        assert manager.get_room_connections("tea") == set()


async def test_a_broadcast_that_is_cancelled_while_it_waits_is_not_sent(
    autojump_clock: MockClock,
) -> None:
    """Nor does it keep those from sending who come after it."""
    stuck = Peer(seconds=3)
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=stuck)
        for _ in range(10):
            await manager.broadcast_to_room("tea", "hello")
        for broadcast in (
            manager.broadcast_to_room("tea", "cancelled"),
            manager.broadcast_to_all("cancelled"),
        ):
            with trio.CancelScope() as scope:
                scope.cancel()
                await broadcast
            assert scope.cancelled_caught
        await manager.broadcast_to_room("tea", "last")
        await trio.sleep(100)
        assert stuck.got == ["hello"] * 10 + ["last"]


class Then:
    """An answer for a room to give, on which something is done within its turn."""

    abandoned = done = False

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def set(self, _value: Present) -> None:
        self._act()

    def fail(self, error: RoomActorsError) -> None:
        raise error


async def test_one_that_is_removed_while_it_waits_to_join_is_unknown() -> None:
    """The room refuses it, and the caller hears what he would have heard a moment later."""
    async with ConnectionManager() as manager:
        hub = manager.hub
        await put(manager, "tea", eve=Peer(), ada=Peer())
        await manager.leave_room("ada", "tea")
        kick = ListMembers(answer=Then(lambda: hub.disconnect("ada")))
        hub.keeper.post("tea", kick, origin=None, accepted=lambda: None)
        with pytest.raises(UnknownConnectionError):
            await manager.join_room("ada", "tea")
        assert manager.get_room_connections("tea") == {"eve"}


# A hub with others in it


async def test_what_others_broadcast_arrives_as_text_or_binary() -> None:
    """A string as it is, binary as such, any other value as compact JSON."""
    ada = Peer()
    async with roomactors.open_hub() as hub, ConnectionManager(hub) as manager:
        await put(manager, "tea", ada=ada)
        room = hub.room("tea")
        for data in ("text", {"base64": "AAE="}, {"base64": "no"}, {"a": [1, None]}, 5):
            await room.broadcast(data)
        await hub.broadcast("to all")
    assert ada.got == ["text", b"\0\1", '{"base64":"no"}', '{"a":[1,null]}', "5", "to all"]


async def test_what_is_broadcast_here_arrives_at_others_as_data() -> None:
    """Text is a string; binary is base64, as at /raw."""
    async with (
        roomactors.open_hub() as hub,
        ConnectionManager(hub) as manager,
        hub.room("tea").join("eve") as seat,
    ):
        await manager.broadcast_to_room("tea", "text")
        await manager.broadcast_to_room("tea", b"\0\1")
        await manager.broadcast_to_all("to all")
        assert [await data_of(seat) for _ in range(3)] == ["text", {"base64": "AAE="}, "to all"]
        await put(manager, "tea", ada=Peer())
        assert [view.member for view in await hub.room("tea").members()] == ["eve", "ada"]
        assert manager.get_room_connections("tea") == {"ada"}


async def data_of(seat: Seat) -> object:
    """The data of the next event, which is a message."""
    event = await seat.receive()
    assert isinstance(event, Message)
    return event.data


async def test_volatile_messages_come_to_one_who_has_kept_up(autojump_clock: MockClock) -> None:
    """And not to one who is behind, nor to one whom they exclude."""
    fast, slow = Peer(), Peer(seconds=3)
    async with roomactors.open_hub() as hub, ConnectionManager(hub) as manager:
        await put(manager, "tea", fast=fast, slow=slow)
        room = hub.room("tea")
        await room.broadcast("first", volatile=True)
        await wait_all_tasks_blocked()
        await room.broadcast("second")
        await wait_all_tasks_blocked()
        await room.broadcast("third")
        await wait_all_tasks_blocked()
        await room.broadcast("fourth", volatile=True)
        await room.broadcast("fifth", volatile=True, except_=["fast"])
        await trio.sleep(60)
    assert fast.got == ["first", "second", "third", "fourth"]
    assert slow.got == ["first", "second", "third"]


async def test_one_that_the_hub_disconnects_is_removed_and_reported(
    autojump_clock: MockClock,
) -> None:
    """It gets what was sent before; then the program is told."""
    removed, on_removed = recorder()
    ada = Peer(seconds=1)
    async with (
        roomactors.open_hub() as hub,
        ConnectionManager(hub, on_removed=on_removed) as manager,
    ):
        await put(manager, "tea", ada=ada, bob=Peer())
        await manager.broadcast_to_room("tea", "before")
        hub.disconnect("ada")
        assert manager.get_room_connections("tea") == {"bob"}
        assert manager.get_connection_rooms("ada") == set()
        with pytest.raises(UnknownConnectionError):
            await manager.join_room("ada", "tea")
        assert await hub.leave("bob", "tea")
        assert manager.get_room_connections("tea") == set()
        await manager.broadcast_to_room("tea", "after")
        await trio.sleep(5)
        assert removed == [("ada", "kicked")]
        assert hub.members() == ["bob"]
    assert ada.got == ["before"]


async def test_an_id_is_free_when_the_program_has_been_told(autojump_clock: MockClock) -> None:
    """Until then a removal waits, so that a hook never speaks of somebody else's connection."""
    removed, on_removed = recorder()
    async with ConnectionManager(on_removed=on_removed) as manager:
        await put(manager, "tea", ada=Peer(seconds=3))
        await manager.broadcast_to_room("tea", "hello")
        manager.hub.disconnect("ada")
        with pytest.raises(ConnectionIdTakenError):
            await manager.add_connection("ada", Peer())
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.remove_connection, "ada")
            await wait_all_tasks_blocked()
            with pytest.raises(ConnectionIdTakenError):
                await manager.add_connection("ada", Peer())
        assert trio.current_time() - began == 3
        await put(manager, "tea", ada=Peer())
        await wait_all_tasks_blocked()
        assert removed == [("ada", "kicked")]
        assert manager.get_room_connections("tea") == {"ada"}


async def test_a_hook_comes_first_when_others_wait_for_its_id(autojump_clock: MockClock) -> None:
    """What it does before it waits, it does while no other connection can have the id."""
    order = []

    async def on_removed(connection_id: str, reason: RemovedReason) -> None:
        order.append("told")
        await trio.lowlevel.checkpoint()

    async with ConnectionManager(on_removed=on_removed) as manager:

        async def add_as_soon_as_possible() -> None:
            while "added" not in order:
                with suppress(ConnectionIdTakenError):
                    await manager.add_connection("ada", Peer())
                    order.append("added")

        await put(manager, "tea", ada=Peer(passes=20, error=OSError()))
        await manager.broadcast_to_room("tea", "hello")
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(add_as_soon_as_possible)
    assert order == ["told", "added"]


async def test_a_late_removal_leaves_the_next_one_in_place() -> None:
    """A handler that names its own object removes nobody who has come after it."""
    first, second = Peer(), Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=first)
        await manager.remove_connection("ada", second)
        assert manager.get_room_connections("tea") == {"ada"}
        await manager.remove_connection("ada", first)
        await put(manager, "tea", ada=second)
        await manager.remove_connection("ada", first)
        assert manager.get_room_connections("tea") == {"ada"}


# The hook


async def test_a_hook_that_fails_is_logged_and_stops_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The next connection's removal is reported like the first one's."""
    told = []

    async def on_removed(connection_id: str, reason: RemovedReason) -> None:
        told.append((connection_id, reason))
        raise ValueError("a bug of the program")

    async with ConnectionManager(on_removed=on_removed) as manager:
        await put(manager, "tea", ada=Peer(error=OSError()))
        await manager.broadcast_to_room("tea", "hello")
        await wait_all_tasks_blocked()
        await put(manager, "tea", bob=Peer(error=OSError()))
        await manager.broadcast_to_room("tea", "hello")
        await wait_all_tasks_blocked()
    assert told == [("ada", "send_failed"), ("bob", "send_failed")]
    assert "on_removed failed for 'ada'" in caplog.text
    assert "a bug of the program" in caplog.text


async def test_a_slow_hook_holds_up_nobody(autojump_clock: MockClock) -> None:
    """Each runs in the task of the connection that it is about; its id is free by then."""
    done = []

    async def on_removed(connection_id: str, reason: RemovedReason) -> None:
        await trio.sleep(5)
        done.append((connection_id, trio.current_time() - began))

    async with ConnectionManager(on_removed=on_removed) as manager:
        began = trio.current_time()
        await put(manager, "tea", ada=Peer(error=OSError()), bob=Peer(error=OSError()))
        await manager.broadcast_to_room("tea", "hello")
        await wait_all_tasks_blocked()
        await put(manager, "tea", ada=Peer())
        assert trio.current_time() == began
    assert sorted(done) == [("ada", 5), ("bob", 5)]


# The block


async def test_leaving_the_block_sends_what_was_broadcast(autojump_clock: MockClock) -> None:
    """For as long as one send may take, and to all connections at once."""
    slow = {f"slow {n}": Peer(seconds=4) for n in range(10)}
    stuck = Peer(seconds=3600)
    began = trio.current_time()
    async with ConnectionManager() as manager:
        await put(manager, "tea", **slow, stuck=stuck)
        for number in range(4):
            await manager.broadcast_to_room("tea", str(number))
    assert trio.current_time() - began == 10
    assert [peer.got for peer in slow.values()] == [["0", "1"]] * 10
    assert stuck.got == []


async def test_a_block_that_is_cancelled_ends_at_once(autojump_clock: MockClock) -> None:
    """Nothing is left behind, and nothing waited for."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    began = trio.current_time()
    async with roomactors.open_hub() as hub:
        with trio.CancelScope() as scope:
            async with ConnectionManager(hub) as manager:
                await put(manager, "tea", ada=Peer(seconds=5))
                await manager.broadcast_to_room("tea", "hello")
                await wait_all_tasks_blocked()
                scope.cancel()
                await trio.sleep_forever()
        await wait_all_tasks_blocked()
        assert hub.members() == []
        assert hub.rooms() == []
    assert trio.current_time() == began
    assert trio.lowlevel.current_statistics().tasks_living == tasks


@pytest.mark.parametrize("error", [ValueError("mine"), ExceptionGroup("mine", [ValueError()])])
async def test_what_the_block_raises_comes_out_as_it_is(error: Exception) -> None:
    """In no group but its own, whether the hub is the manager's or not."""
    with pytest.raises(type(error)) as own:
        async with ConnectionManager():
            raise error
    assert repr(own.value) == repr(error)
    async with roomactors.open_hub() as hub:
        with pytest.raises(type(error)) as given:
            async with ConnectionManager(hub):
                raise error
        assert repr(given.value) == repr(error)


async def test_what_is_no_exception_ends_the_block() -> None:
    """Raised by a hook, it comes out beside what the block itself raised."""

    async def on_removed(connection_id: str, reason: RemovedReason) -> None:
        raise KeyboardInterrupt

    async def use() -> None:
        async with ConnectionManager(on_removed=on_removed) as manager:
            await put(manager, "tea", ada=Peer(error=OSError()))
            await manager.broadcast_to_room("tea", "hello")
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                raise ValueError from None

    with pytest.raises(BaseExceptionGroup) as raised:
        await use()
    assert raised.group_contains(KeyboardInterrupt)
    assert raised.group_contains(ValueError)


async def test_outside_its_block_a_manager_takes_nobody() -> None:
    """Before and after; what is idempotent stays so, for handlers that end later."""
    manager = ConnectionManager()
    assert manager.get_room_connections("tea") == set()
    await manager.remove_connection("ada")
    with pytest.raises(RuntimeError, match="within"):
        await manager.add_connection("ada", Peer())
    with pytest.raises(RuntimeError, match="within its block"):
        await manager.broadcast_to_all("hello")
    async with manager:
        await put(manager, "tea", ada=Peer())
        with pytest.raises(RuntimeError, match="entered once"):
            await manager.__aenter__()
    with pytest.raises(RuntimeError, match="within"):
        await manager.add_connection("bob", Peer())
    await manager.leave_room("ada", "tea")
    await manager.remove_connection("ada")
    assert manager.get_room_connections("tea") == set()
    assert manager.get_connection_rooms("ada") == set()
    with pytest.raises(UnknownConnectionError):
        await manager.join_room("ada", "tea")
    with pytest.raises(ClosedHubError):
        await manager.broadcast_to_all("hello")
    with pytest.raises(ClosedHubError):
        await manager.broadcast_to_room("tea", "hello")
    with pytest.raises(RuntimeError, match="entered once"):
        await manager.__aenter__()


async def test_a_hub_that_is_given_is_given_before_the_block() -> None:
    """It can be asked for, and goes on when the manager's block has ended."""
    async with roomactors.open_hub() as hub:
        manager = ConnectionManager(hub)
        assert manager.hub is hub
        async with manager:
            await put(manager, "tea", ada=Peer())
        await wait_all_tasks_blocked()
        assert hub.members() == []
        async with hub.room("tea").join("ada"):
            pass


async def test_a_hub_that_stops_first_lets_connections_go(autojump_clock: MockClock) -> None:
    """They are sent what was broadcast, and can be removed while it drains."""
    ada, bob = Peer(seconds=1), Peer(seconds=1)
    opened = trio.Event()

    async def use(hub: roomactors.Hub) -> None:
        async with ConnectionManager(hub) as manager:
            await put(manager, "tea", ada=ada, bob=bob)
            await manager.broadcast_to_room("tea", "hello")
            hub.keeper.draining = True
            with pytest.raises(DrainingError):
                await manager.add_connection("cleo", Peer())
            with pytest.raises(DrainingError):
                await manager.broadcast_to_room("tea", "late")
            await manager.remove_connection("ada")
            assert trio.current_time() - began == 1
            opened.set()
            await trio.sleep(5)

    began = trio.current_time()
    async with trio.open_nursery() as nursery, roomactors.open_hub() as hub:
        nursery.start_soon(use, hub)
        await opened.wait()
    assert (ada.got, bob.got) == (["hello"], ["hello"])


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_send_takes_time(seconds: float) -> None:
    """A deadline that no send could meet is refused."""
    with pytest.raises(ValueError, match="send_seconds is a number of seconds above 0"):
        ConnectionManager(send_seconds=seconds)
