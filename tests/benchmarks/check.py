"""Every delivery is checked: nothing lost, repeated, out of order or damaged.

`SharedStream` is for servers that give all members of a room one order: the first member to get a
message has it parsed and checked, and every other must get the same bytes, which is one `memcmp`.
So the load generator keeps up with a server that makes millions of deliveries a second.
`OrderPerSender` parses each delivery for itself, for servers that promise only that one sender's
messages keep their order, and for the JSON protocol. Neither does I/O.
"""

from collections.abc import Callable
from typing import Final, Literal, Protocol, final

import attrs
import msgspec

from tests.benchmarks.frames import (
    CLOSE,
    PING,
    TEXT,
    DamagedError,
    read_message,
    server_frame,
    take_frame,
)

Kind = Literal["lost", "repeated", "out of order", "damaged", "closed", "unexpected"]

_TRIM_BYTES: Final = 8 * 1024 * 1024  # what all members have had is forgotten in steps of this


class FaultError(Exception):
    """The server did not deliver what it should have; no number of this run counts."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind, self.detail = kind, detail

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


def _ignore(payload: bytes) -> None:
    """Answer no ping: the member is of a test."""


@final
@attrs.define(eq=False)
class Cursor:
    """How far one member has got in its room."""

    name: str
    on_ping: Callable[[bytes], None] = _ignore
    deliveries: int = 0
    at: int = 0  # bytes of whole and part data frames that were compared
    pending: bytes = b""  # what could not be compared yet: the beginning of a frame
    next: dict[int, int] = attrs.field(factory=dict)  # sender to its next number


class Checker(Protocol):
    """What the load generator asks of either checker."""

    def add(self, cursor: Cursor) -> None:
        """Begin to check this member; all are added before the first message."""

    def drop(self, cursor: Cursor) -> None:
        """Expect nothing of this member any more."""

    def take(self, cursor: Cursor, data: memoryview) -> int:
        """Check bytes that a member got; return how many whole messages that completed."""

    def seen(self, cursor: Cursor, sender: int) -> int:
        """Return how many of a sender's messages this member has had."""

    def finish(self, cursor: Cursor, sent: dict[int, int]) -> None:
        """Check at the end that a member has had all that was sent, and no more."""


@final
class SharedStream:
    """One room in which all members must get the same bytes.

    Args:
      size: bytes of each message; all frames of the room are equally long.
    """

    def __init__(self, size: int) -> None:
        self._frame = len(server_frame(bytes(size)))
        self._stream = bytearray()  # the frames of the room, in its order
        self._base = 0  # bytes forgotten from the front of it
        self._order: list[int] = []  # who sent each message of the room, since the beginning
        self._next: dict[int, int] = {}
        self._cursors: list[Cursor] = []
        self._seen: dict[tuple[Cursor, int], tuple[int, int]] = {}  # messages looked at, and own

    def add(self, cursor: Cursor) -> None:
        """Begin to check this member; all are added before the first message."""
        self._cursors.append(cursor)

    def drop(self, cursor: Cursor) -> None:
        """Expect nothing of this member any more."""
        self._cursors.remove(cursor)

    def take(self, cursor: Cursor, data: memoryview) -> int:
        """Check bytes that a member got; return how many whole messages that completed.

        Raises:
          FaultError: they are not what this member had to get next.
        """
        if not cursor.pending and self._stream.startswith(data, cursor.at - self._base):
            cursor.at += len(data)
        else:
            self._take_slowly(cursor, cursor.pending + bytes(data))
        before = cursor.deliveries
        cursor.deliveries = cursor.at // self._frame
        return cursor.deliveries - before

    def _take_slowly(self, cursor: Cursor, data: bytes) -> None:
        """Compare frame by frame; let control frames through; lengthen the room's stream."""
        frame, start = self._frame, 0
        while start < len(data):
            part = cursor.at % frame
            known = self._stream[cursor.at - self._base : cursor.at - self._base + frame - part]
            if known and data.startswith(known, start):
                cursor.at += len(known)
                start += len(known)
                continue
            if known and known.startswith(data[start:]):
                cursor.at += len(data) - start
                start = len(data)
                break
            if part:
                raise FaultError("damaged", f"{cursor.name}: a message changes in its middle")
            end = _take_control(cursor, data, start)
            if end == start:  # a data frame, and whole
                end = start + frame
                self._append(cursor, data, start)
                cursor.at += frame
            if end < 0:
                break
            start = end
        cursor.pending = data[start:]
        if len(self._stream) > 2 * _TRIM_BYTES:
            self._trim()

    def _append(self, cursor: Cursor, data: bytes, start: int) -> None:
        """Check the message at `start`, which should be the room's next, and add it."""
        sender, number = _read(cursor, data, start, self._frame)
        if cursor.at - self._base < len(self._stream):
            here = bytes(self._stream[cursor.at - self._base :][: self._frame])
            raise self._diagnose(cursor, data, start, here, sender, number)
        expected = self._next.get(sender, 0)
        if number != expected:
            raise _out_of_place(cursor.name, data, start, sender, number, expected)
        self._next[sender] = number + 1
        self._order.append(sender)
        self._stream += data[start : start + self._frame]

    def _diagnose(
        self, cursor: Cursor, data: bytes, start: int, here: bytes, sender: int, number: int
    ) -> FaultError:
        """Say what is wrong with a whole message that is not the room's next."""
        done = self._order[: cursor.at // self._frame].count(sender)
        whose, which = read_message(here[_head_bytes(here) :])
        wanted = f"{which} of sender {whose}"
        detail = f"{cursor.name}: message {number} of sender {sender} instead of {wanted}"
        if number < done:
            return FaultError("repeated", detail)
        return FaultError("out of order" if here in data[start:] else "lost", detail)

    def seen(self, cursor: Cursor, sender: int) -> int:
        """Return how many of a sender's messages this member has had."""
        looked, own = self._seen.get((cursor, sender), (0, 0))
        if looked < cursor.deliveries:
            own += self._order[looked : cursor.deliveries].count(sender)
            self._seen[cursor, sender] = (cursor.deliveries, own)
        return own

    def finish(self, cursor: Cursor, sent: dict[int, int]) -> None:
        """Check at the end that a member has had all that was sent, and no more.

        Raises:
          FaultError: it has not.
        """
        if self._next != {sender: count for sender, count in sent.items() if count}:
            raise FaultError("lost", f"the room had {self._next}, and {sent} was sent")
        if cursor.pending or cursor.at != self._base + len(self._stream):
            missing = len(self._order) - cursor.deliveries
            raise FaultError("lost", f"{cursor.name}: the last {missing} messages are missing")

    def _trim(self) -> None:
        done = min(cursor.at for cursor in self._cursors) - self._base
        if done > _TRIM_BYTES:
            del self._stream[:done]
            self._base += done


@final
class OrderPerSender:
    """One room in which each sender's messages must keep their order, whatever lies between.

    Args:
      read: takes the text of a frame and returns the message in it, or None if it is an event that
        brings none.
    """

    def __init__(self, read: Callable[[bytes], bytes | None] = bytes) -> None:
        self._read = read

    def add(self, cursor: Cursor) -> None:
        """Begin to check this member; all are added before the first message."""

    def drop(self, cursor: Cursor) -> None:
        """Expect nothing of this member any more."""

    def take(self, cursor: Cursor, data: memoryview) -> int:
        """Check bytes that a member got; return how many whole messages that completed.

        Raises:
          FaultError: they are not what this member had to get next.
        """
        whole, start, count = cursor.pending + bytes(data), 0, 0
        while start < len(whole):
            end = _take_control(cursor, whole, start)
            if end == start:
                count += self._message(cursor, whole, start)
                taken = take_frame(whole, start)
                end = taken[2] if taken else -1
            if end < 0:
                break
            start = end
        cursor.pending = whole[start:]
        cursor.deliveries += count
        return count

    def _message(self, cursor: Cursor, data: bytes, start: int) -> int:
        taken = take_frame(data, start)
        payload = self._read(taken[1]) if taken else None
        if payload is None:
            return 0
        try:
            sender, number = read_message(payload)
        except DamagedError as error:
            raise FaultError("damaged", f"{cursor.name}: {error}") from None
        expected = cursor.next.get(sender, 0)
        if number != expected:
            raise _out_of_place(cursor.name, data, start, sender, number, expected)
        cursor.next[sender] = number + 1
        return 1

    def seen(self, cursor: Cursor, sender: int) -> int:
        """Return how many of a sender's messages this member has had."""
        return cursor.next.get(sender, 0)

    def finish(self, cursor: Cursor, sent: dict[int, int]) -> None:
        """Check at the end that a member has had all that was sent, and no more.

        Raises:
          FaultError: it has not.
        """
        if cursor.pending or cursor.next != {who: count for who, count in sent.items() if count}:
            raise FaultError("lost", f"{cursor.name}: had {cursor.next}, and {sent} was sent")


class _Event(msgspec.Struct):
    type: str
    room: str | None = None
    data: str | None = None


_decode_event = msgspec.json.Decoder(_Event).decode
_WITHOUT_MESSAGE: Final = frozenset(("member_joined", "member_left", "presence"))


def read_json_event(text: bytes) -> bytes | None:
    """Return the message in an event of the plain JSON protocol, or None if it brings none.

    Raises:
      FaultError: an event that has no place in a run, such as `error` or `gap`.
    """
    event = _decode_event(text)
    if event.type == "message" and event.data is not None:
        return event.data.encode()
    if event.type in _WITHOUT_MESSAGE:
        return None
    raise FaultError("unexpected", text[:200].decode(errors="replace"))


def is_joined(text: bytes, room: str) -> bool:
    """Return whether an event of the plain JSON protocol says that one has joined this room.

    Raises:
      FaultError: the server refused something.
    """
    event = _decode_event(text)
    if event.type == "error":
        raise FaultError("unexpected", text[:200].decode(errors="replace"))
    return event.type == "joined" and event.room == room


def _take_control(cursor: Cursor, data: bytes, start: int) -> int:
    """Handle a control frame at `start`.

    Returns the end of it, or `start` if a whole data frame is there, or -1 if the frame is not
    whole.
    """
    try:
        taken = take_frame(data, start)
    except DamagedError as error:
        raise FaultError("damaged", f"{cursor.name}: {error}") from None
    if taken is None:
        return -1
    opcode, payload, end = taken
    if opcode == TEXT:
        return start
    if opcode == CLOSE:
        code = int.from_bytes(payload[:2], "big")
        raise FaultError("closed", f"{cursor.name}: {code} {payload[2:].decode(errors='replace')}")
    if opcode == PING:
        cursor.on_ping(payload)
    return end


def _head_bytes(frame: bytes) -> int:
    return 2 if frame[1] < 126 else 4


def _read(cursor: Cursor, data: bytes, start: int, frame: int) -> tuple[int, int]:
    """Return sender and number of the message in the frame at `start`, `frame` bytes long."""
    whole = data[start : start + frame]
    try:
        taken = take_frame(whole, 0)
        if taken is None or len(data) - start < frame or taken[2] != frame:
            raise DamagedError(f"a frame of another size, head {whole[:4].hex(' ')}")
        return read_message(taken[1])
    except DamagedError as error:
        raise FaultError("damaged", f"{cursor.name}: {error}") from None


def _out_of_place(
    name: str, data: bytes, start: int, sender: int, number: int, expected: int
) -> FaultError:
    """Say what is wrong with a message that is not its sender's next."""
    detail = f"{name}: message {number} of sender {sender} instead of {expected}"
    if number < expected:
        return FaultError("repeated", detail)
    late = b"%04d %010d " % (sender, expected)
    return FaultError("out of order" if late in data[start:] else "lost", detail)
