"""Where a member's events go: what a room may ask of it, and the one of members in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, final

import trio

from roomactors.core.events import EVERYONE, Event, LeftReason, Message

if TYPE_CHECKING:
    from roomactors.core.batch import Batch
    from roomactors.core.commands import Joined
    from roomactors.core.member import Member
    from roomactors.core.ports import Encoder


def _takes_nothing(_buffer: bytes) -> int:
    raise BlockingIOError


class Outlet(ABC):
    """One connection's way out, or one in-process member's.

    A room's fan-out reads `free` and calls `send` itself, so that a member
    that keeps up costs one call and nothing else. All the rest goes through
    the methods, none of which waits or raises.
    """

    __slots__ = (
        "__weakref__",
        "closed",
        "encoder",
        "free",
        "id",
        "max_rooms",
        "members",
        "send",
        "user",
    )

    def __init__(self, member_id: str, user: str | None, encoder: Encoder | None) -> None:
        self.id = member_id
        self.user = user
        self.encoder = encoder
        """Whose frames it takes; None: it reads events, not frames."""
        self.free = False
        """Nothing waits to go out and the last write was taken whole: `send` may be called."""
        self.closed = False
        """It takes nothing more, and nobody may be seated on it."""
        self.send: Callable[[bytes], int] = _takes_nothing
        """One non-blocking write: returns the bytes taken, raises BlockingIOError or OSError."""
        self.max_rooms = 0
        """Rooms that it may be in at once; 0: as many as the hub's settings say."""
        self.members: dict[str, Member] = {}
        """Its seats by room name, kept by the rooms."""

    def rooms(self) -> list[str]:
        """The rooms it is in, in the order of joining, without the one of everyone."""
        return [name for name in self.members if name != EVERYONE]

    @abstractmethod
    def seated(self, joined: Joined, ref: object) -> None:
        """It has a seat in one more room, or asked for one that it had."""

    @abstractmethod
    def deliver(self, member: Member, batch: Batch) -> None:
        """Events for one of its seats that the fan-out could not write by itself.

        If the member's cursor is not the batch's base, or the way is blocked,
        the member stays behind and is served from the log when it can be.
        """

    @abstractmethod
    def taken(self, member: Member, batch: Batch, count: int) -> None:
        """The fan-out's `send` took `count` bytes, fewer than all: the way is blocked now."""

    @abstractmethod
    def broken(self, error: Exception) -> None:
        """The fan-out's `send` raised: this outlet is at its end."""

    @abstractmethod
    def finish(self, member: Member, ref: object) -> None:
        """A seat has ended: `member.end` is the last number that it still gets."""

    @abstractmethod
    def flush(self) -> None:
        """Write what waits, as far as it is taken."""

    @abstractmethod
    def end(self, reason: LeftReason) -> None:
        """Somebody on the server's side ends the member; its seats are already leaving."""


@final
class LocalOutlet(Outlet):
    """The outlet of a member in this process: its seats read from the log when they are asked.

    So a member that does not read costs no memory beside the room's log.

    Args:
      volatile_queue: how many volatile messages wait for one seat.
    """

    __slots__ = ("_lot", "_volatile_queue", "holds")

    def __init__(self, member_id: str, user: str | None, *, volatile_queue: int) -> None:
        super().__init__(member_id, user, None)
        self.holds = 0
        """Handles that use it; with the last one the member is gone."""
        self._lot = trio.lowlevel.ParkingLot()
        self._volatile_queue = volatile_queue

    def seated(self, joined: Joined, ref: object) -> None:
        """Nothing to say: the answer itself tells the one who joins."""

    def deliver(self, member: Member, batch: Batch) -> None:
        """Wake the reader; volatile messages are kept for one who has read all else."""
        if batch.volatile and member.cursor == batch.base and self._volatile_queue:
            kept = member.volatile
            if kept is None:
                kept = member.volatile = deque(maxlen=self._volatile_queue)
            for entry in batch.volatile:
                if isinstance(entry.event, Message) and member.id not in entry.event.excluded:
                    kept.append((entry.seq, entry.event))
        self._lot.unpark_all()

    def taken(self, member: Member, batch: Batch, count: int) -> None:
        """Never called: it has no frames."""

    def broken(self, error: Exception) -> None:
        """Never called: it has no `send`."""

    def finish(self, member: Member, ref: object) -> None:
        """The seat may still read up to its end."""
        self._lot.unpark_all()

    def flush(self) -> None:
        """Wake the reader."""
        self._lot.unpark_all()

    def end(self, reason: LeftReason) -> None:
        """Nothing to close beside the seats."""

    def hears_everyone(self, member: Member) -> bool:
        """Whether this seat is the one that hears what is sent to everyone: the oldest one."""
        seats = (seat for name, seat in self.members.items() if name != EVERYONE)
        return next(seats, None) is member

    async def wait(self) -> None:
        """Wait until there may be something to read. A checkpoint."""
        await self._lot.park()

    def next_event(self, member: Member) -> Event | None:
        """The next event of one seat, in order; None if there is none now."""
        log = member.log
        end = log.head if member.end is None else member.end
        while True:
            volatile = member.volatile
            if volatile and volatile[0][0] <= member.cursor:
                return volatile.popleft()[1]
            if member.cursor >= end:
                return None
            gap = log.gap(member.cursor, end)
            if gap is not None:
                member.cursor = gap.last
                return gap
            member.cursor += 1
            logged = log.at(member.cursor).event
            if member.id not in logged.excluded:
                return logged
