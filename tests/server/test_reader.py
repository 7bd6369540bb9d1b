"""What is the reader's own: its set, its slices, and numbers that are used again."""

from __future__ import annotations

import errno
import select
import socket
from itertools import count
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roomactors.server import reader as reader_module
from roomactors.server.connection import Connection
from roomactors.server.links import SocketLink
from tests.server.driven import Driven, is_closed, open_drivers, open_files, received
from tests.server.fakes import Acts, texts

ONE = texts(b"x")


def registered(driven: Driven) -> set[int]:
    """The numbers that the kernel would report."""
    reader = driven.drivers._reader
    assert reader is not None
    info = Path(f"/proc/self/fdinfo/{reader._epoll.fileno()}").read_text(encoding="ascii")
    return {int(line.split()[1]) for line in info.splitlines() if line.startswith("tfd:")}


def number_of(connection: Connection) -> int:
    assert isinstance(connection.link, SocketLink)
    return connection.link.fileno()


async def test_one_that_is_paused_is_out_of_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered for nothing, a reset would still be reported, and the loop would spin."""
    async with open_drivers(by_reader=True) as driven:
        connection, _, peer = driven.connect({b"x": lambda it: it.pause_for(5)})
        await wait_all_tasks_blocked()
        number = number_of(connection)
        assert number in registered(driven)
        peer.send(ONE)
        await wait_all_tasks_blocked()
        assert number not in registered(driven)
        connection.check(trio.current_time() + 5)
        await wait_all_tasks_blocked()
        assert number in registered(driven)


async def test_one_that_is_paused_by_what_came_first_is_not_read() -> None:
    """What came with the request may already be too much."""
    async with open_drivers(by_reader=True) as driven:
        connection, script, peer = driven.connect({b"x": lambda it: it.pause_for(5)}, early=ONE)
        await wait_all_tasks_blocked()
        assert number_of(connection) not in registered(driven)
        peer.send(texts(b"1"))
        await wait_all_tasks_blocked()
        assert script.heard == [b"x"]


async def test_a_number_that_is_used_again_is_another_connection_s() -> None:
    """One ends and the next gets its number in the midst of what was reported of the first."""
    async with open_drivers(by_reader=True) as driven:
        first, heard, peer = driven.connect()
        await wait_all_tasks_blocked()
        number = number_of(first)
        peer.send(ONE)
        first.lose()
        second, other, new_peer = driven.connect()
        await wait_all_tasks_blocked()
        assert number_of(second) == number
        assert heard.heard == []
        new_peer.send(texts(b"1"))
        await wait_all_tasks_blocked()
        assert other.heard == [b"1"]
        assert driven.ended == [first]


async def test_one_ends_another_while_both_are_ready() -> None:
    """What was reported of one that has ended meanwhile is nobody's."""
    async with open_drivers(by_reader=True) as driven:
        connections: list[Connection] = []

        def end_the_others(connection: Connection) -> None:
            for other in connections:
                if other is not connection:
                    other.lose()

        acts: Acts = {b"x": end_the_others}
        peers, scripts = [], []
        for _ in range(5):
            connection, script, peer = driven.connect(acts)
            connections.append(connection)
            scripts.append(script)
            peers.append(peer)
        await wait_all_tasks_blocked()
        for peer in peers:
            peer.send(ONE)
        await wait_all_tasks_blocked()
        assert sum(len(script.heard) for script in scripts) == 1
        assert len(driven.ended) == 4


async def test_nobody_is_starved_by_those_who_always_have_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A slice is over before all were read: the next one begins with those who were left out."""
    ticks = count()
    monkeypatch.setattr(reader_module, "perf_counter", lambda: 0.0015 * next(ticks))
    async with open_drivers(by_reader=True, read_bytes=len(ONE)) as driven:
        order: list[int] = []
        peers = []
        for number in range(5):

            def note(_connection: Connection, number: int = number) -> None:
                order.append(number)

            peers.append(driven.connect({b"x": note})[2])
        await wait_all_tasks_blocked()
        for peer in peers:
            peer.send(ONE * 20)
        await wait_all_tasks_blocked()
        assert sorted(order) == sorted(list(range(5)) * 20)
        for round_ in range(20):
            assert sorted(order[5 * round_ : 5 * round_ + 5]) == list(range(5))


async def test_those_that_go_on_do_not_starve_those_that_are_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Work that is left over takes no more than its slice before the others are read."""
    ticks = count()
    monkeypatch.setattr(reader_module, "perf_counter", lambda: 0.0015 * next(ticks))
    async with open_drivers(by_reader=True) as driven:
        order: list[str] = []
        much = [driven.connect({b"x": lambda it: order.append("much")})[2] for _ in range(3)]
        few = driven.connect({b"x": lambda it: order.append("few")})[2]
        await wait_all_tasks_blocked()
        for peer in much:
            peer.send(ONE * 500)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        handled = len(order)
        assert 0 < handled < 1500
        few.send(ONE)
        await wait_all_tasks_blocked()
        assert order.index("few") <= handled + 10 * 16


async def test_one_that_closes_itself_while_it_is_read_is_forgotten() -> None:
    """In a message, in a write, at its end: nothing of it stays in the set."""
    async with open_drivers(by_reader=True) as driven:
        before = registered(driven)
        _, _, peer = driven.connect({b"x": lambda it: it.lose()})
        _, _, ending = driven.connect()
        _, _, early_peer = driven.connect({b"x": lambda it: it.lose()}, early=ONE)
        await wait_all_tasks_blocked()
        peer.send(ONE + ONE)
        ending.close()
        await wait_all_tasks_blocked()
        assert len(driven.ended) == 3
        assert registered(driven) == before
        received(early_peer)
        assert is_closed(early_peer)


async def test_an_error_of_ours_in_work_that_was_left_ends_only_that_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are read on."""

    def fail() -> None:
        raise ZeroDivisionError("work")

    async with open_drivers(by_reader=True) as driven:
        failing, _, peer = driven.connect({b"x": lambda it: it.pause_for(5)})
        _, script, other = driven.connect()
        await wait_all_tasks_blocked()
        peer.send(ONE)
        await wait_all_tasks_blocked()
        monkeypatch.setattr(failing, "work", fail)
        driven.drivers.resume(failing)
        await wait_all_tasks_blocked()
        assert "work" in caplog.text
        assert driven.ended == [failing]
        other.send(texts(b"1"))
        await wait_all_tasks_blocked()
        assert script.heard == [b"1"]


async def test_a_set_that_takes_no_more_refuses_one_connection_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel's limit of watches: who finds no place, new or resumed, is closed."""
    async with open_drivers(by_reader=True) as driven:
        paused, _, peer = driven.connect({b"x": lambda it: it.pause_for(5)})
        _, script, other = driven.connect()
        await wait_all_tasks_blocked()
        peer.send(ONE)
        await wait_all_tasks_blocked()
        reader = driven.drivers._reader
        assert reader is not None
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        link = SocketLink(ours, remote="")
        with monkeypatch.context() as patched:
            patched.setattr(reader, "_epoll", Full(reader._epoll))
            paused.check(trio.current_time() + 5)
            await wait_all_tasks_blocked()
            assert driven.ended == [paused]
            with pytest.raises(OSError, match="watches"):
                await reader.drive(paused, link, b"", b"")
        link.abort()
        theirs.close()
        other.send(texts(b"1"))
        await wait_all_tasks_blocked()
        assert script.heard == [b"1"]


class Full:
    """An epoll set at its limit."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll

    def fileno(self) -> int:
        return self._epoll.fileno()

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        return self._epoll.poll(timeout, most)

    def register(self, number: int, events: int) -> None:
        raise OSError(errno.ENOSPC, "no more watches")

    def unregister(self, number: int) -> None:
        self._epoll.unregister(number)


async def test_one_that_was_reported_and_has_nothing_is_read_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel may report what it then does not have."""
    async with open_drivers(by_reader=True) as driven:
        connection, script, peer = driven.connect()
        await wait_all_tasks_blocked()
        reader = driven.drivers._reader
        assert reader is not None
        number = number_of(connection)
        receive = reader._receive[number]
        refusals = [BlockingIOError()] * 3

        def refuse(most: int) -> bytes:
            if refusals:
                raise refusals.pop()
            return receive(most)

        monkeypatch.setitem(reader._receive, number, refuse)
        peer.send(ONE)
        await wait_all_tasks_blocked()
        assert (script.heard, refusals) == ([b"x"], [])
        monkeypatch.undo()


async def test_a_closed_reader_leaves_no_file_open() -> None:
    """Its set and its bell are two files, and both are closed."""
    before = open_files()
    reader = reader_module.EpollReader(read_bytes=1)
    assert open_files() == before + 2
    reader.close()
    assert open_files() == before
