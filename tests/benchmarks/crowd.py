"""Many members of many rooms in one process: sockets on one epoll set, and every delivery checked.

Plain sockets and plain loops, so that the load is not what is measured. Only loopback, only
bounded runs: each wait has a deadline, and every job ends by itself.
"""

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, Literal, final

import attrs

from tests.benchmarks.check import (
    Checker,
    Cursor,
    FaultError,
    OrderPerSender,
    SharedStream,
    is_joined,
    read_json_event,
)
from tests.benchmarks.frames import (
    ACCEPT,
    CLOSE,
    PONG,
    client_frame,
    json_broadcast,
    json_join,
    message,
    take_frame,
    upgrade_request,
)

Codec = Literal["raw", "json"]

OPENING_AT_ONCE: Final = 64  # handshakes under way; more would measure the listener's backlog
_READ_BYTES: Final = 256 * 1024
_STANDSTILL_SECONDS: Final = 10.0  # without one delivery while one is due: something is lost


@final
@attrs.define(eq=False)
class Room:
    """One room: its name, its checker, and what was sent to it."""

    name: str
    codec: Codec
    checker: Checker
    members: list["Member"] = attrs.field(factory=list)
    sent: dict[int, int] = attrs.field(factory=dict)  # sender to its number of messages
    waiting: int = 0  # deliveries that are due


@final
@attrs.define(eq=False)
class Member:
    """One socket in one room."""

    sock: socket.socket
    room: Room
    number: int  # its place among the room's members, and its number as a sender
    cursor: Cursor
    outgoing: bytes = b""  # what its socket did not take at once
    head: bytes = b""  # what came before it was a member
    asked: bool = False  # whether it has sent its `join`

    def say(self, epoll: select.epoll, data: bytes) -> None:
        """Send, and keep what the socket does not take."""
        if self.outgoing:
            self.outgoing += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.outgoing = data[sent:]
            epoll.modify(self.sock, select.EPOLLIN | select.EPOLLOUT)

    def say_rest(self, epoll: select.epoll) -> None:
        """Send more of what is kept."""
        with suppress(BlockingIOError):
            self.outgoing = self.outgoing[self.sock.send(self.outgoing) :]
        if not self.outgoing:
            epoll.modify(self.sock, select.EPOLLIN)


Delivered = Callable[[Member, int], None]  # told the member, and how many messages it just got


def _nothing(member: Member, count: int) -> None:
    """Do nothing when something was delivered."""


@final
class Crowd:
    """All members of one run.

    Args:
      port: of the server, on 127.0.0.1.
      size: bytes of each message.
      one_order: whether the server gives all members of a room the same order.
    """

    def __init__(self, port: int, size: int, *, one_order: bool) -> None:
        self._port = port
        self._size = size
        self._one_order = one_order
        self._epoll = select.epoll()
        self._by_file: dict[int, Member] = {}
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self.deliveries = 0  # all that were due and were right

    def open(self, rooms: int, members: int, codec: Codec, prefix: str) -> list[Room]:
        """Connect and join; return when the server has answered each.

        Args:
          rooms: how many.
          members: of each room.
          codec: `raw` joins by connecting, `json` by a `join`.
          prefix: of the rooms' names.
        """
        made = [Room(f"{prefix}{number}", codec, self._checker(codec)) for number in range(rooms)]
        wanted = deque((room, number) for number in range(members) for room in made)
        opening: dict[int, Member] = {}
        last = time.monotonic()
        while wanted or opening:
            while wanted and len(opening) < OPENING_AT_ONCE:
                member = self._connect(*wanted.popleft())
                opening[member.sock.fileno()] = member
            for file, events in self._epoll.poll(1.0):
                last = time.monotonic()
                if file in opening:
                    if self._go_on_opening(opening[file], events):
                        member = opening.pop(file)
                        member.room.members.append(member)
                        self._by_file[file] = member
                else:
                    self._read(self._by_file[file], _nothing)
            if time.monotonic() - last > _STANDSTILL_SECONDS:
                raise FaultError("lost", f"{len(opening)} connections are not answered")
        for room in made:
            room.members.sort(key=lambda member: member.number)
        return made

    def _checker(self, codec: Codec) -> Checker:
        if codec == "json":
            return OrderPerSender(read_json_event)
        return SharedStream(self._size) if self._one_order else OrderPerSender()

    def _connect(self, room: Room, number: int) -> Member:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex(("127.0.0.1", self._port))
        member = Member(sock, room, number, Cursor(f"member {number} of {room.name}"))
        member.cursor.on_ping = lambda payload: member.say(
            self._epoll, client_frame(payload, opcode=PONG)
        )
        room.checker.add(member.cursor)
        self._epoll.register(sock, select.EPOLLOUT)
        return member

    def _go_on_opening(self, member: Member, events: int) -> bool:
        """Take the next step of a handshake; return whether the member has joined."""
        room = member.room
        if events & select.EPOLLOUT:
            error = member.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise FaultError("closed", f"{member.cursor.name}: connecting failed ({error})")
            path = f"/raw/{room.name}" if room.codec == "raw" else "/ws"
            member.sock.send(upgrade_request(path, self._port))
            self._epoll.modify(member.sock, select.EPOLLIN)
            return False
        data = member.sock.recv(65_536)
        if not data:
            raise FaultError("closed", f"{member.cursor.name}: while it opened")
        member.head += data
        head, end, rest = member.head.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 101") or ACCEPT not in head:
            raise FaultError("unexpected", head[:200].decode(errors="replace"))
        if room.codec == "json":
            return self._join_json(member, rest)
        if rest:
            room.checker.take(member.cursor, memoryview(rest))
        return True

    def _join_json(self, member: Member, rest: bytes) -> bool:
        """Ask to join when welcome; return whether the server has said `joined` to that room."""
        start = 0
        while (taken := take_frame(rest, start)) is not None:
            _, text, start = taken
            if is_joined(text, member.room.name):
                if rest[start:]:
                    member.room.checker.take(member.cursor, memoryview(rest[start:]))
                return True
        if start and not member.asked:
            member.asked = True
            member.say(self._epoll, client_frame(json_join(member.room.name)))
        return False

    def publish(self, member: Member, count: int = 1) -> None:
        """Send a member's next messages to its room."""
        room, sender = member.room, member.number
        number = room.sent.get(sender, 0)
        room.sent[sender] = number + count
        frames = []
        for each in range(number, number + count):
            payload = message(sender, each, self._size)
            if room.codec == "json":
                payload = json_broadcast(room.name, payload)
            frames.append(client_frame(payload))
        member.say(self._epoll, b"".join(frames))

    def pump(self, timeout: float, delivered: Delivered = _nothing) -> int:
        """Read what has come, once; return how many deliveries that were.

        Args:
          timeout: seconds to wait for the first.
          delivered: is told each member that got something.
        """
        before = self.deliveries
        for file, events in self._epoll.poll(timeout):
            member = self._by_file[file]
            if events & select.EPOLLOUT:
                member.say_rest(self._epoll)
            if events & ~select.EPOLLOUT:
                self._read(member, delivered)
        return self.deliveries - before

    def _read(self, member: Member, delivered: Delivered) -> None:
        try:
            size = member.sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError as error:
            raise FaultError("closed", f"{member.cursor.name}: {error}") from None
        if not size:
            raise FaultError("closed", f"{member.cursor.name}: without a close frame")
        count = member.room.checker.take(member.cursor, self._buffer[:size])
        if count:
            self.deliveries += count
            delivered(member, count)

    def pump_until(
        self,
        done: Callable[[], bool],
        delivered: Delivered = _nothing,
        standstill: float = _STANDSTILL_SECONDS,
    ) -> None:
        """Read until `done()`.

        Raises:
          FaultError: nothing came for `standstill` seconds.
        """
        last = time.monotonic()
        while not done():
            if self.pump(0.2, delivered):
                last = time.monotonic()
            elif time.monotonic() - last > standstill:
                raise FaultError("lost", f"no delivery for {standstill:.0f} s while some are due")

    def receive_all(
        self,
        rooms: Iterable[Room],
        delivered: Delivered = _nothing,
        standstill: float = _STANDSTILL_SECONDS,
    ) -> None:
        """Read until everything that was sent to these rooms has come.

        Raises:
          FaultError: nothing came for `standstill` seconds.
        """
        due = self.due(rooms)
        self.pump_until(lambda: self.deliveries >= due, delivered, standstill)

    def due(self, rooms: Iterable[Room]) -> int:
        """Return how many deliveries all that was ever sent to these rooms makes."""
        return sum(sum(room.sent.values()) * len(room.members) for room in rooms)

    def stop_reading(self, member: Member) -> None:
        """Read nothing more from this member's socket, and expect nothing of it."""
        self._epoll.unregister(member.sock)
        del self._by_file[member.sock.fileno()]
        member.room.members.remove(member)
        member.room.checker.drop(member.cursor)

    def finish(self, rooms: Sequence[Room]) -> None:
        """Check that everybody has had everything, once; call it when nothing is due.

        Raises:
          FaultError: somebody has not, or more came within a moment.
        """
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            if self.pump(0.05):
                raise FaultError("repeated", "more came than was due")
        for room in rooms:
            for member in room.members:
                room.checker.finish(member.cursor, room.sent)

    def leave(self, rooms: Sequence[Room]) -> None:
        """Close these rooms' connections with the closing handshake; wait for each to end."""
        for room in rooms:
            for member in room.members:
                self._epoll.unregister(member.sock)
                del self._by_file[member.sock.fileno()]
                member.sock.settimeout(2.0)
                member.sock.send(client_frame((1000).to_bytes(2, "big"), opcode=CLOSE))
                with suppress(OSError):
                    while member.sock.recv(4096):
                        pass
                member.sock.close()
            room.members.clear()

    def close(self) -> None:
        """Reset every connection that is left, which leaves no socket in TIME_WAIT."""
        for member in self._by_file.values():
            member.sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, "little") + bytes(4)
            )
            member.sock.close()
        self._epoll.close()
