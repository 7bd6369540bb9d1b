"""What the core's tests put in place of the outside: values, frames, a peer, clocks.

All of it does what the real thing does, in few lines; nothing here knows what
a test expects.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import count
from typing import Generic, TypeVar, final

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from roomactors.core import hub as core_hub
from roomactors.core.batch import Batch, read_frames
from roomactors.core.commands import Broadcast, Join, Joined, Leave, ListMembers, Present, Receipt
from roomactors.core.data import Data
from roomactors.core.events import (
    NOBODY,
    Event,
    Gap,
    LeftReason,
    LogEvent,
    MemberInfo,
    MemberJoined,
    MemberLeft,
    Message,
)
from roomactors.core.handles import Seat
from roomactors.core.hooks import Hooks
from roomactors.core.hub import Hub
from roomactors.core.keeper import Keeper
from roomactors.core.log import ENTRY_BYTES, Entry
from roomactors.core.mailbox import Waiter
from roomactors.core.member import Member, MemberView
from roomactors.core.outlet import Outlet
from roomactors.core.ports import Encoder
from roomactors.core.settings import HubSettings, RoomSettings
from roomactors.errors import ClosedSeatError, InvalidDataError, RoomActorsError

T = TypeVar("T")


@final
class Text(Data):
    """A str as UTF-8: all the data that the core's tests need."""

    __slots__ = ()

    def value(self) -> object:
        return self.decode()


def text(value: object) -> Text:
    """Freeze a str."""
    if not isinstance(value, str):
        raise InvalidDataError("it is not text")
    return Text(value.encode())


def line(event: Event) -> str:
    """What a member is told, as one line: the room, the number, what happened."""
    return f"{event.room} {_what_happened(event)}"


def _what_happened(event: Event) -> str:
    match event:
        case Message():
            number = "~" if event.seq is None else event.seq
            return f"{number} {event.sender or '*'}: {event.data}"
        case MemberJoined():
            return f"{event.seq} +{event.member}" + (f"({event.info})" if event.info else "")
        case MemberLeft():
            return f"{event.seq} -{event.member} {event.reason}"
        case MemberInfo():
            return f"{event.seq} ={event.member}({event.info})"
        case Gap():
            return f"gap {event.first}-{event.last}" + (" roster" if event.roster else "")


@final
class Lines(Encoder):
    """A protocol of lines.

    Args:
      folds: so many membership events in a row, or more, are one line.
      says_gaps: whether there is a line for a gap.
      silent: members whose messages have no line.
    """

    def __init__(
        self, *, folds: int = 1_000_000, says_gaps: bool = True, silent: Iterable[str] = ()
    ) -> None:
        self.encoded: list[LogEvent] = []
        self.folded = 0
        self._folds = folds
        self._says_gaps = says_gaps
        self._silent = frozenset(silent)

    def event(self, event: LogEvent) -> bytes:
        self.encoded.append(event)
        if isinstance(event, Message) and event.sender in self._silent:
            return b""
        return f"{line(event)}\n".encode()

    def presence(
        self, run: Sequence[MemberJoined | MemberLeft | MemberInfo], count: int
    ) -> bytes | None:
        if len(run) < self._folds:
            return None
        self.folded += 1
        return f"{run[0].room} {run[0].seq}-{run[-1].seq} {count} present\n".encode()

    def gap(self, gap: Gap) -> bytes | None:
        return f"{line(gap)}\n".encode() if self._says_gaps else None


@final
class Peer(Outlet):
    """A client's way out, and what the client has got.

    `window` is what its socket takes before it is full; None: anything.
    """

    def __init__(
        self, keeper: Keeper, member_id: str, encoder: Encoder, *, window: int | None = None
    ) -> None:
        super().__init__(member_id, None, encoder)
        self.send = self._send
        self.free = True
        self.window = window
        self.error: Exception | None = None
        self.wire = bytearray()
        self.writes = 0
        self.flushes = 0
        self.ended: LeftReason | None = None
        self.when_written: Callable[[], None] = _nothing
        self.when_flushed: Callable[[], None] = _nothing
        self._keeper = keeper
        self._rest = b""
        # Own frames, and stretches of a log that go before the next of them.
        self._queue: deque[bytes | tuple[Member, int]] = deque()

    @property
    def lines(self) -> list[str]:
        """The whole lines that it has got."""
        return self.wire[: self.wire.rfind(b"\n") + 1].decode().splitlines()

    def of(self, room: str) -> list[str]:
        """What it has got of one room, without the room's name."""
        return [
            rest for name, _, rest in (got.partition(" ") for got in self.lines) if name == room
        ]

    @property
    def kept(self) -> int:
        """Bytes that wait here and not in a log."""
        own = (len(item) for item in self._queue if isinstance(item, bytes))
        return len(self._rest) + sum(own)

    def accept(self, window: int | None) -> None:
        """Have its socket take so many bytes more, and write what waits."""
        self.window = window
        self.flush()

    # What rooms ask for

    def seated(self, joined: Joined, ref: object) -> None:
        if joined.member.hidden:
            return
        if joined.member.cursor < joined.seq:
            self._queue.append((joined.member, joined.seq))
        assert joined.roster is not None
        members = " ".join(member.id for member in joined.roster)
        self._queue.append(f"{joined.log.room} joined {joined.seq}: {members}\n".encode())
        self.free = False

    def deliver(self, member: Member, batch: Batch) -> None:
        if self.closed:
            return
        while self._rest or (self._queue and isinstance(self._queue[0], bytes)):
            if not self._write_own():
                return
        if not self._queue and member.cursor == batch.base:
            self._write(member, batch)
        self.flush()

    def taken(self, member: Member, batch: Batch, count: int) -> None:
        self.free = False
        member.cursor, self._rest = batch.cut(count)

    def broken(self, error: Exception) -> None:
        self._keeper.disconnect(self, "disconnected")

    def finish(self, member: Member, ref: object) -> None:
        assert member.end is not None
        if member.cursor < member.end:
            self._queue.append((member, member.end))
        if not member.hidden:
            self._queue.append(f"{member.log.room} left: {member.reason}\n".encode())
        self.free = False

    def flush(self) -> None:
        self.flushes += 1
        self.when_flushed()
        while not self.closed:
            if self._rest or self._queue:
                if not self._write_own():
                    return
            else:
                behind = (seat for seat in self.members.values() if seat.cursor < seat.log.head)
                seat = next(behind, None)
                if seat is None:
                    self.free = True
                    return
                if not self._catch_up(seat, seat.log.head):
                    return

    def end(self, reason: LeftReason) -> None:
        self.ended = reason

    # Out

    def _send(self, buffer: bytes) -> int:
        self.writes += 1
        self.when_written()
        if self.error is not None:
            raise self.error
        taken = len(buffer) if self.window is None else min(self.window, len(buffer))
        if buffer and not taken:
            raise BlockingIOError
        if self.window is not None:
            self.window -= taken
        self.wire += buffer[:taken]
        return taken

    def _take(self, buffer: bytes) -> int:
        try:
            return self._send(buffer)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.broken(error)
            return 0

    def _write_own(self) -> bool:
        """Write the next that goes before all seats; False if not all of it is taken."""
        if self._rest:
            self._rest = self._rest[self._take(self._rest) :]
            return not self._rest
        item = self._queue[0]
        if isinstance(item, bytes):
            self._rest = item
            self._queue.popleft()
        elif item[0].cursor >= item[1]:
            self._queue.popleft()
        else:
            return self._catch_up(*item)
        return True

    def _catch_up(self, member: Member, end: int) -> bool:
        assert self.encoder is not None
        batch = read_frames(
            member.log, self.encoder, cursor=member.cursor, end=end, member=self.id, most=64
        )
        if batch is None:
            self._keeper.disconnect(self, "lagged")
            return False
        return self._write(member, batch)

    def _write(self, member: Member, batch: Batch) -> bool:
        taken = self._take(batch.buffer)
        if taken == len(batch.buffer):
            member.cursor = batch.head
            return True
        self.taken(member, batch, taken)
        return False


@final
@attrs.define
class Outcome(Generic[T]):
    """An answer that nobody waits for: the test looks."""

    abandoned: bool = False
    value: T | None = None
    error: RoomActorsError | None = None
    then: Callable[[], None] = lambda: None
    """Called when it is answered."""

    @property
    def done(self) -> bool:
        return self.value is not None or self.error is not None

    def set(self, value: T) -> None:
        assert not self.done
        self.value = value
        self.then()

    def fail(self, error: RoomActorsError) -> None:
        assert not self.done
        self.error = error
        self.then()


def _nothing() -> None:
    pass


@final
@attrs.define(eq=False)
class Client:
    """A member that sends commands to rooms as a connection does, and never waits."""

    keeper: Keeper
    outlet: Outlet

    @property
    def id(self) -> str:
        return self.outlet.id

    @property
    def peer(self) -> Peer:
        """Its outlet, where that is a client's."""
        assert isinstance(self.outlet, Peer)
        return self.outlet

    def join(self, room: str, *, info: str | None = None, again: bool = True) -> Outcome[Joined]:
        outcome = Outcome[Joined]()
        payload = None if info is None else text(info)
        view = MemberView(member=self.id, info_payload=payload)
        command = Join(view=view, outlet=self.outlet, again=again, answer=outcome)
        self.keeper.post(room, command, origin=object(), accepted=_nothing)
        return outcome

    def leave(self, room: str) -> Outcome[bool]:
        outcome = Outcome[bool]()
        command = Leave(member=self.id, outlet=self.outlet, reason="left", answer=outcome)
        self.keeper.post(room, command, origin=object(), accepted=_nothing)
        return outcome

    def say(
        self,
        room: str,
        words: str,
        *,
        echo: bool = True,
        excluded: frozenset[str] = NOBODY,
        volatile: bool = False,
    ) -> Outcome[Receipt]:
        outcome = Outcome[Receipt]()
        command = Broadcast(
            data=text(words),
            sender=self.id,
            outlet=self.outlet,
            echo=echo,
            excluded=excluded,
            volatile=volatile,
            answer=outcome,
        )
        self.keeper.post(room, command, origin=object(), accepted=_nothing)
        return outcome

    def flood(self, room: str, words: str, accepted: Callable[[], None]) -> Waiter | None:
        """Say something as a connection that holds its places by itself; nobody is told."""
        command = Broadcast(data=text(words), sender=self.id, outlet=self.outlet)
        return self.keeper.post(room, command, origin=self.outlet, accepted=accepted)

    def ask_members(self, room: str) -> Outcome[Present]:
        outcome = Outcome[Present]()
        command = ListMembers(sender=self.id, outlet=self.outlet, answer=outcome)
        self.keeper.post(room, command, origin=object(), accepted=_nothing)
        return outcome

    def hang_up(self) -> None:
        self.keeper.disconnect(self.outlet, "disconnected")


def connect(
    hub: Hub, member: str, *, encoder: Encoder | None = None, window: int | None = None
) -> Client:
    """A client that the hub knows."""
    peer = Peer(hub.keeper, member, encoder or LINES, window=window)
    hub.keeper.connect(peer)
    return Client(hub.keeper, peer)


LINES = Lines()
"""One encoder for all who do not bring one."""


@final
class Clock:
    """Milliseconds since the Unix epoch, read once a turn: `then` is called when a turn begins."""

    def __init__(self) -> None:
        self.now = 1_000
        self.then: Callable[[], None] = _nothing

    def __call__(self) -> int:
        then, self.then = self.then, _nothing
        then()
        return self.now


@final
class Stopwatch:
    """Seconds of work: none, but what the test adds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.then: Callable[[], None] = _nothing
        """Called when it is looked at next, and once."""

    def __call__(self) -> float:
        then, self.then = self.then, _nothing
        then()
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


@final
class Passes(trio.abc.Instrument):
    """How often the loop has gone round."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


def open_hub(
    settings: HubSettings | None = None,
    *,
    room: RoomSettings | None = None,
    hooks: Hooks | None = None,
    clock: Clock | None = None,
    stopwatch: Stopwatch | None = None,
) -> AbstractAsyncContextManager[Hub]:
    """A hub of text, in which no work takes time and epochs are e1, e2, ..."""
    numbers = count(1)
    return core_hub.open_hub(
        freeze=text,
        settings=settings or HubSettings(room=room or RoomSettings()),
        hooks=hooks,
        wall_clock=clock or Clock(),
        stopwatch=stopwatch or Stopwatch(),
        new_epoch=lambda: f"e{next(numbers)}",
    )


settle = wait_all_tasks_blocked


def heard(seat: Seat) -> list[str]:
    """What a seat can receive now, as lines, without the name of its room."""
    got = []
    while True:
        try:
            got.append(line(seat.receive_nowait()).removeprefix(f"{seat.room.name} "))
        except (trio.WouldBlock, ClosedSeatError):
            return got


def message(
    seq: int, words: str = "hello", *, sender: str | None = None, excluded: Iterable[str] = ()
) -> Message:
    """A message of the room "tea"."""
    return Message(
        room="tea",
        seq=seq,
        sender=sender,
        at=0,
        payload=text(words),
        excluded=frozenset(excluded),
    )


def entry(event: LogEvent, *, seq: int | None = None, time: float = 0.0, count: int = 1) -> Entry:
    """An event as a log keeps it."""
    number = event.seq if seq is None else seq
    assert number is not None
    return Entry(number, event, time, count, ENTRY_BYTES + event.data_size)
