"""Events of one turn, or of one stretch of the log, joined into one buffer.

A batch is what is written to a socket in one call. It knows where each frame
ends, so that after a write that took only a part, the cursor is exact and only
the rest of one frame is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import final

import attrs

from roomactors.core.events import MemberInfo, MemberJoined, MemberLeft, Message
from roomactors.core.log import Entry, Log
from roomactors.core.ports import Encoder


@final
@attrs.define(eq=False)  # frozen would double the cost of making one
class Batch:
    """Frames for everyone whose cursor is `base`; afterwards it is `head`."""

    buffer: bytes
    ends: Sequence[int]
    """Where each frame ends, in bytes from the start of the buffer."""
    seqs: Sequence[int]
    """What the cursor is once that frame has gone."""
    base: int
    head: int
    volatile: Sequence[Entry] = ()
    """The volatile messages among the events, for members that take events and not frames."""

    def cut(self, taken: int) -> tuple[int, bytes]:
        """Where a write of `taken` bytes leaves the reader: the cursor, the rest of a cut frame."""
        whole = bisect_right(self.ends, taken)
        if taken == (self.ends[whole - 1] if whole else 0):
            return (self.seqs[whole - 1] if whole else self.base), b""
        return self.seqs[whole], self.buffer[taken : self.ends[whole]]


def join_frames(
    log: Log,
    entries: Sequence[Entry],
    encoder: Encoder,
    *,
    base: int,
    head: int,
    member: str | None = None,
    gap: tuple[bytes, int] | None = None,
) -> Batch:
    """Make the batch of these entries, oldest first.

    Args:
      log: counts the frames that are made here for the first time.
      entries: what to send; volatile ones among them carry the number before theirs.
      encoder: whose frames.
      base: the cursor of those it is for.
      head: their cursor afterwards.
      member: leave out what excludes this member; None: it is for many, and
        nothing is left out.
      gap: a frame that goes first, and where it moves the cursor.
    """
    if len(entries) == 1 and gap is None and type(event := entries[0].event) is Message:
        # What a room of two does all day.
        if member is None or member not in event.excluded:
            frame = _frame(log, entries[0], encoder)
            return Batch(frame, (len(frame),), (entries[0].seq,), base, head)
        return Batch(b"", (), (), base, head)
    frames: list[bytes] = []
    ends: list[int] = []
    seqs: list[int] = []
    end = 0
    if gap is not None:
        frames.append(gap[0])
        end = len(gap[0])
        ends.append(end)
        seqs.append(gap[1])
    run: list[Entry] = []
    for entry in entries:
        event = entry.event
        if member is not None and member in event.excluded:
            continue
        if type(event) is not Message:
            run.append(entry)
            continue
        if run:
            end = _join_run(log, run, encoder, frames, ends, seqs, end)
            run = []
        frame = _frame(log, entry, encoder)
        if frame:
            end += len(frame)
            frames.append(frame)
            ends.append(end)
            seqs.append(entry.seq)
    if run:
        _join_run(log, run, encoder, frames, ends, seqs, end)
    return Batch(b"".join(frames), ends, seqs, base, head)


def _frame(log: Log, entry: Entry, encoder: Encoder) -> bytes:
    # A volatile message is in no log, and counts in none.
    return entry.frame(encoder) if entry.event.seq is None else log.frame(entry, encoder)


def _join_run(
    log: Log,
    run: list[Entry],
    encoder: Encoder,
    frames: list[bytes],
    ends: list[int],
    seqs: list[int],
    end: int,
) -> int:
    """Add membership events that have no message between them; a crowd becomes one frame."""
    changes: list[MemberJoined | MemberLeft | MemberInfo] = [
        entry.event for entry in run if not isinstance(entry.event, Message)
    ]
    folded = encoder.presence(changes, run[-1].count)
    made = (
        [(folded, run[-1].seq)]
        if folded is not None
        else [(log.frame(entry, encoder), entry.seq) for entry in run]
    )
    for frame, seq in made:
        if frame:
            end += len(frame)
            frames.append(frame)
            ends.append(end)
            seqs.append(seq)
    return end


def read_frames(
    log: Log, encoder: Encoder, *, cursor: int, end: int, member: str, most: int
) -> Batch | None:
    """The next stretch of the log for one reader that is behind.

    Args:
      log: the room's log.
      encoder: whose frames.
      cursor: up to where the reader has been served.
      end: the last number it is to get.
      member: the reader's id; what excludes it is left out.
      most: bytes; the first frame goes whatever its size.

    Returns:
      A batch whose `base` is `cursor`; None if the encoder has no word for a
      gap that is there, so that the connection must end.
    """
    lost = log.gap(cursor, end)
    gap: tuple[bytes, int] | None = None
    last = cursor
    if lost is not None:
        said = encoder.gap(lost)
        if said is None:
            return None
        last = lost.last
        gap = (said, last)
    entries: list[Entry] = []
    size = 0
    while last < end and size < most:
        last += 1
        entry = log.at(last)
        entries.append(entry)
        # A frame's own size: a presence frame in place of many is smaller.
        size += len(log.frame(entry, encoder))
    return join_frames(log, entries, encoder, base=cursor, head=last, member=member, gap=gap)
