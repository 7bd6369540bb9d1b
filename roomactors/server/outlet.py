"""The one ordered way out of a connection: what waits, and in which order it goes.

The order: the rest of a cut frame, then the connection's own frames, then the
stretches of the logs of its rooms that it has not been given. A room's own
frames are never copied here; memory for a slow member is the rest of one frame.

No I/O but the non-blocking write, and no task: a driver's writer calls
`unblock` when the socket may take more, or takes pieces out by itself where
the stream cannot write without waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Protocol, final

import attrs

from roomactors.core.batch import Batch, read_frames
from roomactors.core.commands import Joined
from roomactors.core.events import EVERYONE, LeftReason
from roomactors.core.member import Member
from roomactors.core.outlet import Outlet
from roomactors.core.ports import Encoder

PIECES_AT_ONCE = 8
"""Writes in one go before the others get their turn, about half a megabyte."""
BACKLOG_SECONDS = 1.0
"""A peer that takes nothing for so long, and then something, has shown that it lives. Sooner it
may only be the kernel, which goes on taking bytes for a peer that is gone."""
DEFERRED_BYTES = 200
"""What a reply that is made when it is sent counts while it waits."""


class Speaker(Protocol):
    """What an outlet asks of its connection: words, a writer, an end."""

    def joined_frame(self, joined: Joined, ref: object) -> bytes:
        """The reply to a join; empty if the protocol has none."""

    def left_frame(self, member: Member, ref: object) -> bytes:
        """The reply to a leave, or the news that a seat has ended; empty if there is none."""

    def seat_ended(self, member: Member) -> None:
        """The last of a room has gone out; a protocol without a word for it closes here."""

    def blocked(self) -> None:
        """The peer takes nothing now: a writer must wait until it does."""

    def lost_its_place(self) -> None:
        """The log has moved past a cursor, and the protocol has no word for that."""

    def failed(self, error: Exception) -> None:
        """The peer is gone, or writing to it raised."""

    def ended(self, reason: LeftReason) -> None:
        """Somebody on the server's side has ended this member."""


@final
@attrs.frozen(eq=False)
class Tail:
    """What a seat still gets up to `end`, and then a frame."""

    member: Member
    end: int
    frame: bytes
    last: bool
    """Whether the seat has ended, rather than been told again how the room is."""


@final
@attrs.frozen(eq=False)
class Deferred:
    """A reply that is made when it is sent, so that many of them take no memory."""

    make: Callable[[], bytes]


@final
@attrs.frozen(eq=False)
class Piece:
    """What goes out in one write: own frames, then a stretch of one room's log."""

    own: list[bytes]
    batch: Batch | None = None
    member: Member | None = None

    @property
    def buffer(self) -> bytes:
        """All of it."""
        if self.batch is None:
            return self.own[0] if len(self.own) == 1 else b"".join(self.own)
        if not self.own:
            return self.batch.buffer
        return b"".join([*self.own, self.batch.buffer])


@final
class FrameOutlet(Outlet):
    """A connection's outlet.

    Args:
      member_id: the connection's public id.
      user: the user behind it.
      encoder: whose frames it takes.
      send: the non-blocking write; None if there is none, and a writer takes
        pieces out with `next_piece` and `piece_taken`.
      speaker: the connection.
      catch_up_bytes: of one room's log in one write.
      clock: seconds; when it was read last, the peer took something.
    """

    __slots__ = (
        "_blocked",
        "_catch_up_bytes",
        "_clock",
        "_dead",
        "_ended",
        "_gone",
        "_in_flight",
        "_lost",
        "_own",
        "_pong",
        "_round",
        "_speaker",
        "_took",
        "_writes_at_once",
        "own_bytes",
        "progress",
        "relented",
    )

    def __init__(
        self,
        member_id: str,
        user: str | None,
        encoder: Encoder,
        *,
        send: Callable[[bytes], int] | None,
        speaker: Speaker,
        catch_up_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(member_id, user, encoder)
        self._speaker = speaker
        self._catch_up_bytes = catch_up_bytes
        self._clock = clock
        self._writes_at_once = send is not None
        if send is not None:
            self.send = send
            self.free = True
        self._own: deque[bytes | Tail | Deferred] = deque()
        self._pong = b""
        self._blocked = False
        self._ended = False
        self._dead = False
        # Told to the connection when nothing is half done here, since what it
        # does then may be to close.
        self._gone: list[Member] = []
        self._lost = False
        self._took = False
        self._round = 0
        self._in_flight = False
        self.own_bytes = 0
        """Of own frames that wait, those included that go out behind a stretch of a log."""
        self.progress = 0.0
        """When the peer last took something, or began to take nothing."""
        self.relented = -inf
        """When the peer last took something that had waited for it."""

    @property
    def blocked(self) -> bool:
        """Whether a writer waits for the peer to take more."""
        return self._blocked

    @property
    def behind(self) -> bool:
        """Whether anything waits to go out."""
        if self._own or self._pong:
            return True
        return not self.closed and self._next_behind() is not None

    @property
    def has_rooms(self) -> bool:
        """Whether it is in any room but that of everyone."""
        return len(self.members) > (EVERYONE in self.members)

    # Own frames

    def push(self, frame: bytes) -> None:
        """Queue a frame of the connection's own; whoever pushes calls `flush` afterwards."""
        if self.closed:
            return
        self._own.append(frame)
        self.own_bytes += len(frame)
        self.free = False

    def push_deferred(self, make: Callable[[], bytes]) -> None:
        """Queue a reply that is made when it is sent."""
        if self.closed:
            return
        self._own.append(Deferred(make))
        self.own_bytes += DEFERRED_BYTES
        self.free = False

    def push_pong(self, frame: bytes) -> None:
        """Queue the answer to a ping; of those that wait for a slow peer, only the latest."""
        if self.closed:
            return
        if not self._blocked:
            self.push(frame)
            return
        self._pong = frame
        self.free = False

    def end_with(self, frame: bytes) -> None:
        """Queue the last frame: what has been queued before goes out, nothing else does."""
        if self._ended:
            return
        self._ended = True
        self.closed = True
        self.free = False
        self._pong = b""
        self._gone.clear()
        ready = [item for item in self._own if isinstance(item, bytes)]
        self._own = deque([*ready, frame])
        self.own_bytes = sum(map(len, ready)) + len(frame)

    @property
    def emptied(self) -> bool:
        """Whether the last frame has been queued, and has gone."""
        return self._ended and not self._own and not self._in_flight

    # What rooms ask for

    def seated(self, joined: Joined, ref: object) -> None:
        """Answer a join; if it is an older seat that is behind, after what it has yet to get."""
        frame = self._speaker.joined_frame(joined, ref)
        if joined.member.cursor < joined.seq:
            self._push_tail(Tail(joined.member, joined.seq, frame, last=False))
        else:
            self.push(frame)

    def finish(self, member: Member, ref: object) -> None:
        """End a seat: what it still gets, and then the news."""
        if self.closed:
            return
        frame = self._speaker.left_frame(member, ref)
        assert member.end is not None
        if member.cursor < member.end:
            self._push_tail(Tail(member, member.end, frame, last=True))
        else:
            self.push(frame)
            self._gone.append(member)

    def _push_tail(self, tail: Tail) -> None:
        if not self.closed:
            self._own.append(tail)
            self.own_bytes += DEFERRED_BYTES + len(tail.frame)
            self.free = False

    def deliver(self, member: Member, batch: Batch) -> None:
        """Write a turn's events after what waits, if nothing is in the way."""
        if self.closed or self._blocked:
            return
        try:
            self._deliver(member, batch)
        except Exception as error:  # noqa: BLE001 - the connection's end, which reports it
            self.broken(error)

    def _deliver(self, member: Member, batch: Batch) -> None:
        if not self._writes_at_once:
            if self._idle_at(member, batch) and batch.buffer:
                # The turn's shared buffer, by reference; volatile messages reach
                # such a connection in no other way.
                self._own.append(batch.buffer)
                self.own_bytes += len(batch.buffer)
                member.cursor = batch.head
            self._block()
            return
        own: list[bytes] = []
        while self._own and isinstance(item := self._own[0], bytes):
            own.append(item)
            self._own.popleft()
        if self._own or self._pong or member.cursor != batch.base:
            self._own.extendleft(reversed(own))
            self.flush()
            return
        self.own_bytes = 0
        if self._write(Piece(own, batch, member)):
            self.settle()

    def _idle_at(self, member: Member, batch: Batch) -> bool:
        return not self._own and not self._pong and member.cursor == batch.base

    def taken(self, member: Member, batch: Batch, count: int) -> None:
        """A shared write was cut: keep the rest of its one cut frame."""
        member.cursor, rest = batch.cut(count)
        if rest:
            self._own.appendleft(rest)
            self.own_bytes += len(rest)
        self._block()

    def broken(self, error: Exception) -> None:
        """The write raised."""
        self.free = False
        self._dead = True
        self._speaker.failed(error)

    def end(self, reason: LeftReason) -> None:
        """Ended from the server's side: the connection sees to it."""
        self._speaker.ended(reason)

    # Out

    def flush(self) -> None:
        """Write what waits, as far as it is taken and as far as is fair."""
        if self._blocked or self.free or self._dead or (self.closed and not self._ended):
            return
        try:
            self._flush()
        except Exception as error:  # noqa: BLE001 - the connection's end, which reports it
            # A bug of ours must not end the room that has only asked for this.
            self.broken(error)

    def _flush(self) -> None:
        if not self._writes_at_once:
            if self.behind:
                self._block()
            return
        for _ in range(PIECES_AT_ONCE):
            piece = self.next_piece()
            if piece is None:
                self.settle()
                return
            if not self._write(piece):
                return
        self._block()

    def catch_up(self) -> None:
        """Write also what rooms that are in the midst of a fan-out would write a moment later."""
        self.free = False
        self.flush()

    def unblock(self) -> None:
        """The peer may take more now."""
        since = self.progress
        self._blocked = False
        self._took = False
        self.flush()
        if self._took:
            self._note_relented(since)
        elif self._blocked:
            self.progress = since

    def rest(self) -> None:
        """The writer of a stream that cannot write at once has written everything."""
        self._blocked = False
        self.settle()
        self.flush()

    def next_piece(self) -> Piece | None:
        """What is to go out next; None if nothing waits. `piece_taken` follows."""
        piece = self._take_out()
        self._in_flight = piece is not None
        return piece

    def _take_out(self) -> Piece | None:
        own: list[bytes] = []
        size = 0
        while self._own and size < self._catch_up_bytes:
            item = self._own[0]
            if isinstance(item, Tail):
                batch = self._stretch(item.member, item.end)
                if batch is not None:
                    return Piece(own, batch, item.member)
                if self._lost:
                    break
                self._own.popleft()
                frame = item.frame
                self.own_bytes -= DEFERRED_BYTES + len(frame)
                if item.last:
                    self._gone.append(item.member)
            elif isinstance(item, Deferred):
                self._own.popleft()
                self.own_bytes -= DEFERRED_BYTES
                frame = item.make()
            else:
                self._own.popleft()
                self.own_bytes -= len(item)
                frame = item
            if frame:
                own.append(frame)
                size += len(frame)
        if self._pong and not self._own:
            own.append(self._pong)
            self._pong = b""
        if not self._own and not self.closed:
            member = self._next_behind()
            while member is not None and not self._lost:
                batch = self._stretch(member, member.log.head)
                if batch is not None:
                    return Piece(own, batch, member)
                member = self._next_behind()
        return Piece(own) if own else None

    def note_progress(self) -> None:
        """The peer has taken something."""
        self._note_relented(self.progress)
        self.progress = self._clock()

    def _note_relented(self, since: float) -> None:
        now = self._clock()
        if now - since >= BACKLOG_SECONDS:
            self.relented = now

    def piece_taken(self, piece: Piece, count: int) -> None:
        """Account for a write of `count` bytes of a piece, all or fewer."""
        self._in_flight = False
        for index, frame in enumerate(piece.own):
            if count < len(frame):
                back = [frame[count:], *piece.own[index + 1 :]]
                self._own.extendleft(reversed(back))
                self.own_bytes += sum(map(len, back))
                return
            count -= len(frame)
        if piece.batch is None or piece.member is None:
            return
        if count == len(piece.batch.buffer):
            piece.member.cursor = piece.batch.head
            return
        piece.member.cursor, rest = piece.batch.cut(count)
        if rest:
            self._own.appendleft(rest)
            self.own_bytes += len(rest)

    def _write(self, piece: Piece) -> bool:
        """Write a piece; False if it was not taken whole."""
        buffer = piece.buffer
        try:
            count = self.send(buffer) if buffer else 0
        except BlockingIOError:
            count = 0
        except Exception as error:  # noqa: BLE001 - the connection's end, which reports it
            self.broken(error)
            return False
        self._took |= count > 0
        self.piece_taken(piece, count)
        if count < len(buffer):
            self._block()
            return False
        return True

    def _stretch(self, member: Member, end: int) -> Batch | None:
        """The next frames of a seat that is behind; None if it is not behind any more."""
        encoder = self.encoder
        assert encoder is not None
        while member.cursor < end:
            batch = read_frames(
                member.log,
                encoder,
                cursor=member.cursor,
                end=end,
                member=member.id,
                most=self._catch_up_bytes,
            )
            if batch is None:
                self._lost = True
                return None
            if batch.buffer:
                return batch
            member.cursor = batch.head
        return None

    def _next_behind(self) -> Member | None:
        """A seat that is behind: each in turn, so that one busy room does not starve the others."""
        behind = [member for member in self.members.values() if member.cursor < member.log.head]
        if not behind:
            return None
        self._round += 1
        return behind[self._round % len(behind)]

    def settle(self) -> None:
        """Nothing is to be written now: the rooms may write by themselves again."""
        if self._lost and not self.closed:
            self._speaker.lost_its_place()
        while self._gone:
            self._speaker.seat_ended(self._gone.pop(0))
        self.free = self._writes_at_once and not (self.closed or self._own or self._pong)

    def _block(self) -> None:
        self.free = False
        self._blocked = True
        self.progress = self._clock()
        self._speaker.blocked()
