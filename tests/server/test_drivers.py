"""Both drivers do the same; the task of all due times; the writers."""

from __future__ import annotations

import gc
import logging
import socket
from collections.abc import Callable
from math import inf
from typing import cast, final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roomactors import ServerSettings
from roomactors.core.hub import Hub
from roomactors.server.connection import Connection
from roomactors.server.drivers import CHECKS_AT_ONCE, Drivers, Pulse
from roomactors.server.frames import close_frame, text_frame
from roomactors.server.links import SocketLink
from roomactors.testing import MemoryStream, memory_link_pair, open_test_hub
from tests.server.driven import BOTH, Driven, is_closed, open_drivers, received
from tests.server.fakes import Acts, Script, scripted, texts
from tests.server.test_frames import CLOSE, client_frame

both = pytest.mark.parametrize("by_reader", BOTH)

WELCOME = text_frame(b"welcome")


def answer(payload: bytes) -> Callable[[Connection], None]:
    """An act that answers."""

    def act(connection: Connection) -> None:
        connection.outlet.push(text_frame(payload))

    return act


# What both drivers do


@both
async def test_messages_are_handled_in_order_and_answered(by_reader: bool) -> None:
    """What came with the request, in one piece, byte by byte."""
    async with open_drivers(by_reader=by_reader) as driven:
        acts: Acts = {b"2": answer(b"two"), b"4": answer(b"four")}
        _, script, peer = driven.connect(acts, early=texts(b"1", b"2"))
        await wait_all_tasks_blocked()
        peer.send(texts(b"3"))
        for byte in texts(b"4"):
            await wait_all_tasks_blocked()
            peer.send(bytes([byte]))
        await wait_all_tasks_blocked()
        assert script.heard == [b"1", b"2", b"3", b"4"]
        assert received(peer) == WELCOME + text_frame(b"two") + text_frame(b"four")


@both
async def test_one_that_sends_much_does_not_keep_the_others_waiting(by_reader: bool) -> None:
    """A thousand messages in one piece are handled a few at a time."""
    async with open_drivers(by_reader=by_reader) as driven:
        order: list[str] = []
        acts: Acts = {b"x": lambda it: order.append("many")}
        _, many, hasty = driven.connect(acts)
        _, few, calm = driven.connect({b"x": lambda it: order.append("few")})
        await wait_all_tasks_blocked()
        hasty.send(texts(*[b"x"] * 1000))
        calm.send(texts(b"x"))
        await wait_all_tasks_blocked()
        assert (len(many.heard), len(few.heard)) == (1000, 1)
        assert order.index("few") <= 32


@both
async def test_one_that_is_paused_goes_on_with_what_it_has_before_it_reads_more(
    by_reader: bool,
) -> None:
    """Meanwhile it is not read: what comes waits in the kernel."""
    async with open_drivers(by_reader=by_reader) as driven:
        connection, script, peer = driven.connect({b"wait": lambda it: it.pause_for(5)})
        await wait_all_tasks_blocked()
        peer.send(texts(b"1", b"wait", b"2", b"wait", b"3"))
        await wait_all_tasks_blocked()
        peer.send(texts(b"4"))
        await wait_all_tasks_blocked()
        assert script.heard == [b"1", b"wait"]
        connection.check(trio.current_time() + 5)
        await wait_all_tasks_blocked()
        assert script.heard == [b"1", b"wait", b"2", b"wait"]
        connection.check(trio.current_time() + 5)
        await wait_all_tasks_blocked()
        assert script.heard == [b"1", b"wait", b"2", b"wait", b"3", b"4"]


@both
async def test_one_that_is_resumed_for_nothing_stays_paused(by_reader: bool) -> None:
    """A reason less, or the same reason twice, while another one stands."""
    async with open_drivers(by_reader=by_reader) as driven:
        connection, script, peer = driven.connect({b"wait": lambda it: it.pause_for(5)})
        await wait_all_tasks_blocked()
        driven.drivers.resume(connection)
        peer.send(texts(b"wait", b"1"))
        await wait_all_tasks_blocked()
        for _ in range(3):
            driven.drivers.resume(connection)
            driven.drivers.resume(connection)
            await wait_all_tasks_blocked()
        assert script.heard == [b"wait"]
        connection.check(trio.current_time() + 5)
        driven.drivers.resume(connection)
        await wait_all_tasks_blocked()
        assert script.heard == [b"wait", b"1"]


@both
async def test_replies_that_the_room_s_turn_has_not_written_yet_lose_no_wake_up(
    by_reader: bool,
) -> None:
    """It is resumed while they are over its bound, and then they all go out at once."""
    async with open_drivers(by_reader=by_reader) as driven:
        connection, script, peer = driven.connect(
            {b"wait": lambda it: it.pause_for(5)}, settings=ServerSettings(own_bytes=10)
        )
        await wait_all_tasks_blocked()
        peer.send(texts(b"wait", b"1"))
        await wait_all_tasks_blocked()
        connection.outlet.push(text_frame(b"x" * 30))
        connection.check(trio.current_time() + 5)
        await wait_all_tasks_blocked()
        connection.outlet.flush()
        await wait_all_tasks_blocked()
        assert script.heard == [b"wait", b"1"]


@both
async def test_one_that_is_lost_while_it_is_paused_ends(by_reader: bool) -> None:
    """Its task waits for nothing any more, and its socket is closed."""
    async with open_drivers(by_reader=by_reader) as driven:
        connection, _, peer = driven.connect({b"wait": lambda it: it.pause_for(5)})
        await wait_all_tasks_blocked()
        peer.send(texts(b"wait", b"1"))
        await wait_all_tasks_blocked()
        connection.lose()
        await wait_all_tasks_blocked()
        assert driven.ended == [connection]
        received(peer)
        assert is_closed(peer)


@both
async def test_one_that_is_cut_off_while_its_replies_wait_ends(by_reader: bool) -> None:
    """It reads nothing, so it is not read; at the progress deadline it is over."""
    async with open_drivers(by_reader=by_reader) as driven:
        acts: Acts = {b"reply": answer(b"x" * 1_000_000)}
        connection, script, peer = driven.connect(acts)
        await wait_all_tasks_blocked()
        peer.send(texts(b"reply", b"1"))
        await wait_all_tasks_blocked()
        assert (script.heard, connection.paused) == ([b"reply"], True)
        assert connection.check(trio.current_time() + 10) is None
        await wait_all_tasks_blocked()
        assert driven.ended == [connection]
        assert not driven.hub.members()


@both
async def test_a_reset_while_it_is_paused_is_seen_when_it_goes_on(by_reader: bool) -> None:
    """Until then it costs nothing: the kernel would report it again and again."""
    async with open_drivers(by_reader=by_reader) as driven:
        connection, _, peer = driven.connect({b"wait": lambda it: it.pause_for(5)})
        await wait_all_tasks_blocked()
        peer.send(texts(b"wait"))
        await wait_all_tasks_blocked()
        peer.close()  # with the welcome unread: a reset
        with trio.fail_after(5):
            await wait_all_tasks_blocked()
        assert driven.ended == []
        connection.check(trio.current_time() + 5)
        await wait_all_tasks_blocked()
        assert driven.ended == [connection]


@both
@pytest.mark.parametrize("how", ["end", "half", "reset"])
async def test_a_peer_that_goes_is_gone(by_reader: bool, how: str) -> None:
    """It closes, says that it will send nothing more, or resets."""
    async with open_drivers(by_reader=by_reader) as driven:
        connection, script, peer = driven.connect()
        await wait_all_tasks_blocked()
        if how != "reset":
            received(peer)
        peer.send(texts(b"1"))
        peer.shutdown(socket.SHUT_WR) if how == "half" else peer.close()
        await wait_all_tasks_blocked()
        assert script.heard in ([b"1"], [])
        assert driven.ended == [connection]
        assert not driven.hub.members()
        assert not driven.drivers.open


@both
async def test_a_closing_handshake_ends_both_ways(by_reader: bool) -> None:
    """The server's close, the peer's answer, the end of the socket."""
    async with open_drivers(by_reader=by_reader) as driven:
        connection, _, peer = driven.connect({b"bye": lambda it: it.close(1012)})
        await wait_all_tasks_blocked()
        assert list(driven.drivers.open) == [connection]
        peer.send(texts(b"bye"))
        await wait_all_tasks_blocked()
        assert received(peer) == WELCOME + close_frame(1012, "restarting, come back")
        assert not driven.drivers.open
        assert driven.ended == []
        peer.send(client_frame(CLOSE, b"\x03\xf4"))
        await wait_all_tasks_blocked()
        assert driven.ended == [connection]
        assert is_closed(peer)


@both
async def test_a_close_is_read_on_though_it_was_paused(by_reader: bool) -> None:
    """What waited is thrown away, and the peer's half of the handshake is found behind it."""
    async with open_drivers(by_reader=by_reader) as driven:
        connection, script, peer = driven.connect({b"wait": lambda it: it.pause_for(5)})
        await wait_all_tasks_blocked()
        peer.send(texts(b"wait", *[b"1"] * 100))
        await wait_all_tasks_blocked()
        connection.close(1012)
        await wait_all_tasks_blocked()
        peer.send(client_frame(CLOSE, b"\x03\xf4"))
        await wait_all_tasks_blocked()
        assert script.heard == [b"wait"]
        assert driven.ended == [connection]


@both
async def test_a_peer_that_does_not_read_gets_all_when_it_does(by_reader: bool) -> None:
    """A writer waits for it, one at a time, and the order is kept."""
    async with open_drivers(by_reader=by_reader) as driven:
        acts: Acts = {
            b"%d" % number: answer(bytes([97 + number]) * 300_000) for number in range(10)
        }
        connection, script, peer = driven.connect(acts)
        await wait_all_tasks_blocked()
        got = b""
        peer.send(texts(*acts))
        await wait_all_tasks_blocked()
        assert len(script.heard) < 10
        assert connection.outlet.blocked
        while len(script.heard) < 10 or connection.outlet.blocked:
            got += received(peer)
            await wait_all_tasks_blocked()
        got += received(peer)
        letters = [bytes([97 + number]) * 300_000 for number in range(10)]
        assert got == WELCOME + b"".join(map(text_frame, letters))
        assert connection.outlet.free


@both
async def test_an_error_of_ours_while_reading_ends_only_that_connection(
    by_reader: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are read on. A driver of tasks lets it out to whoever serves the link."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("feed")

    async with open_drivers(by_reader=by_reader) as driven:
        failing, _, peer = driven.connect()
        _, script, other = driven.connect()
        await wait_all_tasks_blocked()
        monkeypatch.setattr(failing, "feed", fail)
        if by_reader:
            peer.send(texts(b"1"))
            await wait_all_tasks_blocked()
            assert "feed" in caplog.text
            assert driven.ended == [failing]
            other.send(texts(b"2"))
            await wait_all_tasks_blocked()
            assert script.heard == [b"2"]
        else:
            with pytest.raises(ZeroDivisionError):
                failing.feed(b"")


@both
async def test_cancelling_a_connection_s_task_aborts_it(by_reader: bool) -> None:
    """It leaves its rooms, its socket is closed, and nobody looks at it any more."""
    async with open_drivers(by_reader=by_reader) as driven:
        connection, _, peer = driven.connect()
        await wait_all_tasks_blocked()
        received(peer)
        assert list(driven.pulse._next) == [connection]
        driven.scopes[connection].cancel()
        await wait_all_tasks_blocked()
        assert driven.ended == [connection]
        assert is_closed(peer)
        assert not driven.pulse._next
        assert not driven.hub.members()


@both
async def test_a_connection_that_has_ended_is_let_go_of(by_reader: bool) -> None:
    """By drivers, reader and pulse: of 300 of them nothing is left but a few due times."""
    async with open_drivers(by_reader=by_reader) as driven:
        for number in range(300):
            _, _, peer = driven.connect({b"wait": lambda it: it.pause_for(5)})
            await wait_all_tasks_blocked()
            if number % 3:
                peer.send(texts(b"wait", b"1"))
            peer.close()
            if number % 2:
                await wait_all_tasks_blocked()
        for connection in list(driven.drivers.open):
            connection.lose()
        await wait_all_tasks_blocked()
        driven.ended.clear()
        driven._peers.clear()
        gc.collect()
        left = [found for found in gc.get_objects() if isinstance(found, Connection)]
        assert len(left) <= 110
        assert len(driven.pulse._due) <= 110


# Streams that cannot write without waiting


def tls_like(
    hub: Hub, driven: Driven, acts: Acts, capacity: int = 1000
) -> tuple[Connection, Script, MemoryStream]:
    """A connection over a link in memory without a non-blocking write."""
    made, dialogue = scripted(acts)
    link, stream = memory_link_pair(capacity=capacity, writes_at_once=False)
    connection = driven.add(link, dialogue)
    return connection, made[0], stream


async def test_without_a_non_blocking_write_the_writer_writes_all(
    autojump_clock: MockClock,
) -> None:
    """Piece by piece, also what is more than the stream holds."""
    async with open_drivers(by_reader=False) as driven:
        acts: Acts = {b"1": answer(b"x" * 40_000), b"2": answer(b"y")}
        connection, _, stream = tls_like(driven.hub, driven, acts)
        await wait_all_tasks_blocked()
        await stream.send_all(texts(b"1", b"2"))
        expected = WELCOME + text_frame(b"x" * 40_000) + text_frame(b"y")
        got = b""
        while len(got) < len(expected):
            got += await stream.receive_some()
        assert got == expected
        await wait_all_tasks_blocked()
        assert not connection.outlet.blocked


async def test_a_writer_that_has_nothing_to_write_gives_the_loop_back(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an outlet says: one that always has more must not stop all else."""
    async with open_drivers(by_reader=False) as driven:
        connection, _, _ = tls_like(driven.hub, driven, {})
        await wait_all_tasks_blocked()
        passes = 0

        def never_done() -> None:
            nonlocal passes
            passes += 1
            assert passes < 1000

        monkeypatch.setattr(type(connection.outlet), "rest", lambda _: never_done())
        connection.outlet.push(text_frame(b"x"))
        connection.outlet.flush()
        await wait_some_passes(10)
        assert 5 < passes < 15
        connection.lose()
        monkeypatch.undo()
        connection.outlet._blocked = False
        await wait_all_tasks_blocked()


async def wait_some_passes(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def test_an_error_of_ours_while_writing_ends_only_that_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the writer is gone."""

    def fail() -> None:
        raise ZeroDivisionError("written")

    async with open_drivers(by_reader=False) as driven:
        connection, _, peer = driven.connect({b"reply": answer(b"x" * 1_000_000)})
        await wait_all_tasks_blocked()
        peer.send(texts(b"reply"))
        await wait_all_tasks_blocked()
        monkeypatch.setattr(connection, "written", fail)
        received(peer)
        await wait_all_tasks_blocked()
        assert "written" in caplog.text
        assert driven.ended == [connection]


async def test_a_blocked_connection_has_one_writer(autojump_clock: MockClock) -> None:
    """Asked for twice, it is started once; and again after it has ended."""
    async with open_test_hub() as hub, trio.open_nursery() as nursery:
        drivers = Drivers(nursery, pulse=Pulse(), reader=None, read_bytes=1000)
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        with ours, peer:
            made, dialogue = scripted()
            connection = Connection(
                "m_1",
                None,
                link=SocketLink(ours, remote=""),
                keeper=hub.keeper,
                settings=ServerSettings(),
                driver=drivers,
                dialogue=dialogue,
            )
            assert made
            hub.keeper.connect(connection.outlet)
            before = len(nursery.child_tasks)
            drivers.start_writer(connection)
            drivers.start_writer(connection)
            assert len(nursery.child_tasks) == before + 1
            await wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == before
            drivers.start_writer(connection)
            assert len(nursery.child_tasks) == before + 1
            connection.lose()


# The task of all due times


@final
class Watched:
    """What a pulse asks of a connection."""

    def __init__(self, name: str, seen: list[tuple[float, str]], *dues: float | None) -> None:
        self.name = name
        self.dues = list(dues)
        self.lost = False
        self._seen = seen

    def check(self, now: float) -> float | None:
        assert now == trio.current_time()
        self._seen.append((now, self.name))
        if not self.dues:
            raise ZeroDivisionError(self.name)
        return self.dues.pop(0)

    def lose(self) -> None:
        self.lost = True


def watch(pulse: Pulse, watched: Watched, due: float) -> None:
    pulse.watch(cast("Connection", watched), due)


def forget(pulse: Pulse, watched: Watched) -> None:
    pulse.forget(cast("Connection", watched))


async def test_each_is_looked_at_when_its_time_has_come(autojump_clock: MockClock) -> None:
    """In the order of their times, or of asking where these are the same."""
    seen: list[tuple[float, str]] = []
    pulse = Pulse()
    async with trio.open_nursery() as nursery:
        watch(pulse, Watched("late", seen, None), 3)
        nursery.start_soon(pulse.run)
        await wait_all_tasks_blocked()
        watch(pulse, Watched("a", seen, 2, 5, None), 1)
        watch(pulse, Watched("b", seen, 2, None), 1)
        await trio.sleep(10)
        assert seen == [
            (1, "a"),
            (1, "b"),
            (2, "a"),
            (2, "b"),
            (3, "late"),
            (5, "a"),
        ]
        assert not pulse._due
        assert not pulse._next
        nursery.cancel_scope.cancel()


async def test_an_earlier_time_counts_and_a_later_one_does_not(autojump_clock: MockClock) -> None:
    """One look is planned for each, the next."""
    seen: list[tuple[float, str]] = []
    pulse = Pulse()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.run)
        ada = Watched("ada", seen, None, None)
        watch(pulse, ada, 5)
        watch(pulse, ada, 7)
        await wait_all_tasks_blocked()
        watch(pulse, ada, 2)
        await trio.sleep(10)
        assert seen == [(2, "ada")]
        nursery.cancel_scope.cancel()


async def test_who_is_forgotten_is_not_looked_at(autojump_clock: MockClock) -> None:
    """Its entry is skipped; if it is watched again, that counts."""
    seen: list[tuple[float, str]] = []
    pulse = Pulse()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.run)
        ada, bob = Watched("ada", seen, None), Watched("bob", seen, None)
        watch(pulse, ada, 5)
        watch(pulse, bob, 5)
        forget(pulse, ada)
        forget(pulse, ada)
        watch(pulse, ada, 6)
        await trio.sleep(10)
        assert seen == [(5, "bob"), (6, "ada")]
        nursery.cancel_scope.cancel()


async def test_an_error_in_a_look_loses_that_one(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are looked at as if nothing had been."""
    seen: list[tuple[float, str]] = []
    pulse = Pulse()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.run)
        failing, fine = Watched("failing", seen), Watched("fine", seen, None)
        watch(pulse, failing, 1)
        watch(pulse, fine, 1)
        await trio.sleep(2)
        assert seen == [(1, "failing"), (1, "fine")]
        assert (failing.lost, fine.lost) == (True, False)
        assert "ZeroDivisionError: failing" in caplog.text
        nursery.cancel_scope.cancel()


async def test_many_at_once_let_the_others_run_in_between(autojump_clock: MockClock) -> None:
    """The loop goes round after some hundreds."""
    seen: list[tuple[float, str]] = []
    pulse = Pulse()
    count = 3 * CHECKS_AT_ONCE
    for number in range(count):
        watch(pulse, Watched(str(number), seen, None), 1)
    async with trio.open_nursery() as nursery:
        stages = Stages(seen)
        trio.lowlevel.add_instrument(stages)
        nursery.start_soon(pulse.run)
        await trio.sleep(2)
        trio.lowlevel.remove_instrument(stages)
        assert stages.seen == {0, CHECKS_AT_ONCE, 2 * CHECKS_AT_ONCE, 3 * CHECKS_AT_ONCE}
        nursery.cancel_scope.cancel()


@final
class Stages(trio.abc.Instrument):
    """How long a list is each time the loop goes round."""

    def __init__(self, items: list[tuple[float, str]]) -> None:
        self._items = items
        self.seen: set[int] = set()

    def before_io_wait(self, timeout: float) -> None:
        self.seen.add(len(self._items))


async def test_a_moment_that_has_passed_is_now(autojump_clock: MockClock) -> None:
    """It is looked at once, at once."""
    seen: list[tuple[float, str]] = []
    pulse = Pulse()
    await trio.sleep(10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.run)
        await wait_all_tasks_blocked()
        watch(pulse, Watched("ada", seen, None), 3)
        watch(pulse, Watched("bob", seen, None), -inf)
        await trio.sleep(1)
        assert seen == [(10, "bob"), (10, "ada")]
        nursery.cancel_scope.cancel()


async def test_times_that_do_not_count_any_more_are_few(autojump_clock: MockClock) -> None:
    """However often one is looked at before a time that had been planned, or goes before it."""
    pulse = Pulse()
    ada = Watched("ada", [])
    for number in range(10_000):
        watch(pulse, ada, 1e6 - number)
    assert len(pulse._due) <= 103
    for _ in range(1000):
        bob = Watched("bob", [])
        watch(pulse, bob, 5)
        forget(pulse, bob)
    assert len(pulse._due) <= 103
    assert len(pulse._next) == 1


async def test_a_driver_s_log_says_who_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """By its id and where it is from."""
    caplog.set_level(logging.ERROR)
    async with open_drivers(by_reader=False) as driven:
        connection, _, _ = driven.connect()
        assert repr(connection) == "<Connection 'm_1' from ?>"
