"""Connections that are slow, dead or behind, and what becomes of them."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked
from trio_websocket import wrap_client_stream, wrap_server_stream

import roomactors
from roomactors import ConnectionManager, MemberLeft
from tests.manager.fakes import SMALL, put, recorder
from tests.manager.textbook import Peer


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
