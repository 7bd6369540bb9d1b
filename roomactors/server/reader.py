"""One task that reads all plain sockets, where there is epoll: a connection at rest costs no task.

An epoll set is itself readable when one of its sockets is, so trio waits for
the set, and a message that arrives costs neither a task switch nor a change
of what is waited for.
"""

from __future__ import annotations

import logging
import os
import select
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, final

import trio

from roomactors.core.budget import SLICE_SECONDS

if TYPE_CHECKING:
    from roomactors.server.connection import Connection
    from roomactors.server.links import SocketLink

logger = logging.getLogger("roomactors")

EVENTS_AT_ONCE = 256
"""Sockets asked for in one call; the kernel gives those that were left out first next time."""


@final
class EpollReader:
    """Reads for many connections; `run` is its task.

    It takes a slice of the loop in each pass and never waits for the budget
    of the rooms: a message for a small room must not stand in line behind
    fifty large ones. What it has not come to is reported again by the kernel.

    Args:
      read_bytes: taken from one connection at once.
    """

    def __init__(self, *, read_bytes: int) -> None:
        self._read_bytes = read_bytes
        self._epoll = select.epoll()
        # Rings when a connection is to go on with what it has buffered.
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._rung = False
        self._epoll.register(self._bell, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._receive: dict[int, Callable[[int], bytes]] = {}
        self._paused: dict[Connection, int] = {}
        # Some of those that are paused. Ordered, since its front is taken away all the time.
        self._to_go_on: OrderedDict[Connection, None] = OrderedDict()

    def close(self) -> None:
        """Let go of the set."""
        self._epoll.close()
        os.close(self._bell)

    async def drive(
        self, connection: Connection, link: SocketLink, before: bytes, early: bytes
    ) -> None:
        """Read for a connection until its link is closed. Cancelling aborts it."""
        closed = trio.Event()
        number = link.fileno()
        self._epoll.register(number, select.EPOLLIN)
        self._connections[number] = connection
        self._receive[number] = link.receive_nowait
        link.on_close = partial(self._forget, connection, number, closed)
        try:
            connection.open(before, early)
            self._look_at(connection, number)
            await closed.wait()
        finally:
            connection.lose()

    def resume(self, connection: Connection) -> bool:
        """Go on with a connection that was paused; False if it is not one of these."""
        if connection not in self._paused:
            return False
        self._to_go_on[connection] = None
        self._ring()
        return True

    async def run(self) -> None:
        """Read, for ever."""
        # Of the last call: who has not had a turn since. The kernel reports who
        # is ready in the same order again, so those at its end would never have
        # one beside others who always have something. None is the bell.
        ready: deque[tuple[int, Connection | None]] = deque()
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            deadline = perf_counter() + SLICE_SECONDS
            if not ready:
                for number, _ in self._epoll.poll(0, EVENTS_AT_ONCE):
                    ready.append((number, self._connections.get(number)))
            while ready:
                number, connection = ready.popleft()
                if connection is None:
                    self._go_on(deadline)
                elif self._connections.get(number) is connection and connection not in self._paused:
                    self._read(connection, number)
                if perf_counter() > deadline:
                    break

    def _read(self, connection: Connection, number: int) -> None:
        try:
            data = self._receive[number](self._read_bytes)
            if data:
                connection.feed(data)
            else:
                connection.feed_eof()
            if connection.more or connection.paused:
                self._look_at(connection, number)
        except BlockingIOError:
            pass
        except OSError:
            connection.lose()
        except Exception:
            # A bug of ours, in one connection: the others are read on.
            logger.exception("reading from %r failed; it is closed", connection)
            connection.lose()

    def _look_at(self, connection: Connection, number: int) -> None:
        """Stop reading for one that cannot take more now, and see to it that it goes on."""
        if connection.more:
            self._pause(connection, number)
            self.resume(connection)
        elif connection.paused:
            self._pause(connection, number)

    def _pause(self, connection: Connection, number: int) -> None:
        # Registered for nothing, a reset would still be reported, again and again.
        self._epoll.unregister(number)
        self._paused[connection] = number

    def _go_on(self, deadline: float) -> None:
        os.eventfd_read(self._bell)
        self._rung = False
        while self._to_go_on:
            connection, _ = self._to_go_on.popitem(last=False)
            self._work(connection, self._paused[connection])
            if perf_counter() > deadline:
                break
        if self._to_go_on:
            self._ring()

    def _work(self, connection: Connection, number: int) -> None:
        try:
            # Also if it is paused again: it writes, and that may be all it needs.
            connection.work()
            if connection.more:
                self.resume(connection)
            elif connection in self._paused and not connection.paused:
                self._epoll.register(number, select.EPOLLIN)
                del self._paused[connection]
                self._to_go_on.pop(connection, None)
        except Exception:
            logger.exception("%r failed; it is closed", connection)
            connection.lose()

    def _ring(self) -> None:
        if not self._rung:
            self._rung = True
            os.eventfd_write(self._bell, 1)

    def _forget(self, connection: Connection, number: int, closed: trio.Event) -> None:
        """The link is being closed: its number may be another socket's the moment after."""
        if self._paused.pop(connection, None) is None:
            self._epoll.unregister(number)
        self._to_go_on.pop(connection, None)
        del self._connections[number]
        del self._receive[number]
        closed.set()
