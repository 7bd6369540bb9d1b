"""A room's latest events and their sequence numbers.

Pure: no trio, no members, no I/O. Reading never changes the log, except that
an event's frames are kept beside it once they have been made, and count.
"""

from __future__ import annotations

from itertools import islice
from typing import final

import attrs

from roomactors.core.events import Gap, LogEvent, Message
from roomactors.core.ports import Encoder
from roomactors.core.settings import RoomSettings

ENTRY_BYTES = 350
"""What an entry costs beside the bytes of its data and frame: the entry, the event, its numbers,
and the headers of both bytes objects, by sys.getsizeof on CPython 3.11."""


@final
@attrs.define(eq=False)
class Entry:
    """One event, with the frames that were made of it."""

    seq: int
    """Its number; for a volatile message, which has none, that of the event before it."""
    event: LogEvent
    time: float
    """When it was appended, in seconds of trio's clock."""
    count: int
    """How many members the room had after it."""
    size: int
    """Bytes that the log counts for it."""
    # Most rooms speak one protocol: a dict for its one frame would be a
    # quarter of what a short message takes.
    _encoder: Encoder | None = None
    _frame: bytes = b""
    _others: dict[Encoder, bytes] | None = None

    def kept_frame(self, encoder: Encoder) -> bytes | None:
        """The event as `encoder` has said it; None if it has not been asked."""
        if encoder is self._encoder:
            return self._frame
        return None if self._others is None else self._others.get(encoder)

    def frame(self, encoder: Encoder) -> bytes:
        """The event as `encoder` says it; made once."""
        made = self.kept_frame(encoder)
        if made is None:
            made = encoder.event(self.event)
            if self._encoder is None:
                self._encoder, self._frame = encoder, made
            else:
                self._others = {**(self._others or {}), encoder: made}
        return made


@final
class Log:
    """The events from `base` (exclusive) to `head` (inclusive), without a hole.

    Args:
      room: the room's name, which gaps carry.
      epoch: within one epoch a number means one event.
      settings: how much is kept.
    """

    __slots__ = (
        "_entries",
        "_last_trimmed_change",
        "_settings",
        "base",
        "epoch",
        "head",
        "messages",
        "room",
        "size",
    )

    def __init__(self, room: str, epoch: str, settings: RoomSettings) -> None:
        self.room = room
        self.epoch = epoch
        self.head = 0
        self.base = 0
        self.messages = 0
        self.size = 0
        self._settings = settings
        # A list, for look-ups by number; cutting its front moves 8 bytes an
        # entry, once a turn, and lets go of what was trimmed at once.
        self._entries: list[Entry] = []
        self._last_trimmed_change = 0

    def append(self, entry: Entry) -> None:
        """Add the event with the number `head` + 1."""
        assert entry.seq == self.head + 1
        self.head = entry.seq
        self._entries.append(entry)
        self.size += entry.size
        if type(entry.event) is Message:
            self.messages += 1

    def frame(self, entry: Entry, encoder: Encoder) -> bytes:
        """The frame of a kept entry; the first time it is made, it is counted."""
        made = entry.kept_frame(encoder)
        if made is None:
            made = entry.frame(encoder)
            entry.size += len(made)
            if entry.seq > self.base:
                self.size += len(made)
        return made

    def at(self, seq: int) -> Entry:
        """The entry with this number, which is above `base` and at most `head`."""
        assert self.base < seq <= self.head
        return self._entries[seq - self.base - 1]

    def gap(self, cursor: int, end: int | None = None) -> Gap | None:
        """What a reader at `cursor` has lost for ever; None if nothing.

        Args:
          cursor: the last number that it was given.
          end: the last number that it is to get; None if there is no end.
        """
        if cursor >= self.base:
            return None
        return Gap(
            room=self.room,
            epoch=self.epoch,
            first=cursor + 1,
            last=self.base if end is None else min(self.base, end),
            roster=cursor < self._last_trimmed_change,
        )

    def trim(self, now: float, *, keep_after: int | None = None) -> None:
        """Let go of what is over a limit, oldest first; `log_floor` events stay in any case.

        Args:
          now: seconds, of the clock by which entries were appended.
          keep_after: events above this number stay too: those of a turn whose
            members have yet to be served. None: there are none.
        """
        settings = self._settings
        too_old = now - settings.log_seconds
        gone = 0
        for entry in islice(self._entries, max(0, len(self._entries) - settings.log_floor)):
            if (keep_after is not None and entry.seq > keep_after) or (
                self.messages <= settings.log_messages
                and self.size <= settings.log_bytes
                and entry.time >= too_old
            ):
                break
            self.size -= entry.size
            if type(entry.event) is Message:
                self.messages -= 1
            else:
                self._last_trimmed_change = entry.seq
            self.base = entry.seq
            gone += 1
        del self._entries[:gone]
