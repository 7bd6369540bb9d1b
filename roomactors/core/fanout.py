"""One turn's events on their way out: to everyone in one buffer, and to some apart.

Those apart came, went, were excluded or were told anew within the turn, so
that its shared buffer is not what they are to get. Only the room's task calls
this; while it fans out, outlets may serve their seats from the log, or close.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import final

from roomactors.core.batch import Batch, join_frames
from roomactors.core.log import Entry, Log
from roomactors.core.member import Member
from roomactors.core.outlet import Outlet
from roomactors.core.ports import Encoder

LOOK_EVERY = 32
"""Members written to between two looks at the clock."""


@final
class FanOut:
    """The members of one room by whose frames they take, and the events of its turn.

    Args:
      log: the room's.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._groups: dict[Encoder | None, dict[Member, None]] = {}
        # Of the turn under way: its events, volatile ones included; who does
        # not get all of them, from which on it does, and what its cursor must
        # be for that; whom to flush.
        self._items: list[Entry] = []
        self._apart: dict[Member, tuple[int, int]] = {}
        self._answered: dict[Outlet, None] = {}
        self._base = 0

    def add(self, member: Member) -> None:
        """From now on this member gets what is sent out."""
        self._groups.setdefault(member.outlet.encoder, {})[member] = None

    def remove(self, member: Member) -> None:
        """It gets nothing more."""
        self._apart.pop(member, None)
        encoder = member.outlet.encoder
        group = self._groups[encoder]
        del group[member]
        if not group:
            del self._groups[encoder]

    # A turn

    def begin(self) -> None:
        """A turn begins; who has been given all of the log until here keeps up."""
        self._base = self._log.head

    def append(self, entry: Entry) -> None:
        """One more event goes out with this turn."""
        self._items.append(entry)

    def exclude(self, member: Member) -> None:
        """The last event is not for this member."""
        self._apart.setdefault(member, (0, self._base))

    def set_apart_from_here(self, member: Member) -> None:
        """This member gets only what comes after here."""
        self._apart[member] = (len(self._items), self._log.head)

    def answered(self, outlet: Outlet) -> None:
        """This outlet has been given an answer, which waits to be flushed."""
        self._answered[outlet] = None

    def serve_so_far(self, member: Member) -> None:
        """Give one member what this turn holds so far."""
        start, base = self._apart.get(member, (0, self._base))
        self._deliver_apart(member, self._items[start:], base)

    def deliveries(self, now: float) -> Iterator[None]:
        """Serve those apart, then all others in one buffer, then flush whoever has an answer.

        It yields wherever the loop may go round. Meanwhile a seat whose cursor
        is not the batch's base is left to its outlet. Roster, groups and log
        are changed by this task alone, and not before the next turn.

        Args:
          now: seconds, of the clock by which the log is trimmed.
        """
        items, apart = self._items, self._apart
        self._items, self._apart = [], {}
        shared = [
            (self._batch(items, encoder, self._base), self._others(group, apart))
            for encoder, group in self._groups.items()
            if items
        ]
        self._log.trim(now, keep_after=self._base)
        for member, (start, base) in apart.items():
            self._deliver_apart(member, items[start:], base)
            yield
        for batch, members in shared:
            rest = iter(members)
            while _give(batch, rest, LOOK_EVERY):
                yield
        for outlet in self._answered:
            outlet.flush()
            yield
        self._answered.clear()

    def flush(self) -> None:
        """Flush whoever has an answer, in a room that ends; also if its last turn was cut short."""
        for outlet in self._answered:
            outlet.flush()

    def _batch(self, items: list[Entry], encoder: Encoder | None, base: int) -> Batch:
        head = self._log.head
        if encoder is None:
            volatile = [entry for entry in items if entry.event.seq is None]
            return Batch(b"", (), (), base, head, volatile)
        return join_frames(self._log, items, encoder, base=base, head=head)

    @staticmethod
    def _others(
        group: dict[Member, None], apart: dict[Member, tuple[int, int]]
    ) -> Iterable[Member]:
        return [member for member in group if member not in apart] if apart else group

    def _deliver_apart(self, member: Member, items: list[Entry], base: int) -> None:
        if member.outlet.closed:
            return
        # Whose cursor is not this base is behind, and stays so.
        encoder = member.outlet.encoder
        if encoder is None:
            batch = self._batch(items, None, base)
        else:
            head = self._log.head
            batch = join_frames(self._log, items, encoder, base=base, head=head, member=member.id)
        member.outlet.deliver(member, batch)


def _give(batch: Batch, members: Iterator[Member], most: int) -> bool:
    """Write the batch to the next `most` members; False when there are no more.

    The one loop that runs for every member and message: no await, no
    encoding, and nothing made per member.
    """
    buffer, base, head = batch.buffer, batch.base, batch.head
    size = len(buffer)
    given = 0
    for member in islice(members, most):
        given += 1
        outlet = member.outlet
        if member.cursor != base or not outlet.free:
            outlet.deliver(member, batch)
            continue
        if not size:
            member.cursor = head
            continue
        try:
            taken = outlet.send(buffer)
        except BlockingIOError:
            taken = 0
        except Exception as error:  # noqa: BLE001 - the outlet's end, which reports it
            outlet.broken(error)
            continue
        if taken == size:
            member.cursor = head
        else:
            outlet.taken(member, batch, taken)
    return given == most
