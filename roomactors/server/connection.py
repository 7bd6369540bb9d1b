"""One connection as an object: bytes in, commands out, and one ordered way out.

It does no I/O of its own but the outlet's non-blocking write, and never
waits. What drives it feeds it bytes, goes on with it when it was paused, runs
its writer when it is blocked, and looks at it when its time has come.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol, final

import trio

from roomactors.core.commands import Command, Joined
from roomactors.core.events import LeftReason
from roomactors.core.keeper import Keeper
from roomactors.core.mailbox import Waiter
from roomactors.core.member import Member
from roomactors.core.ports import Encoder
from roomactors.errors import RoomActorsError
from roomactors.protocol.codes import CloseCode
from roomactors.server.config import ServerSettings
from roomactors.server.frames import (
    Binary,
    Close,
    Frame,
    FrameParser,
    Ping,
    ProtocolViolation,
    Text,
    close_frame,
    ping_frame,
    pong_frame,
)
from roomactors.server.links import Link
from roomactors.server.outlet import FrameOutlet
from roomactors.server.rate import TokenBucket

logger = logging.getLogger("roomactors")

TURN_MESSAGES = 16
"""Messages of one connection before the others are read: a tenth of a slice of the loop, so that
one message of somebody who says little does not wait long for those who say much."""
TURN_BYTES = 16 * 1024
"""The same in bytes, for large messages."""
BAD_MESSAGES_SECONDS = 10.0
"""The time in which too many messages that cannot be read end a connection."""
WENT_ON_PURPOSE = (CloseCode.DONE, CloseCode.GOING_AWAY)
"""Close codes of a client that means to go; with any other, or none, it was cut off."""


class Dialogue(Protocol):
    """One wire protocol as one connection speaks it: messages to commands, answers to frames."""

    @property
    def encoder(self) -> Encoder:
        """Whose frames it takes."""

    def opened(self) -> None:
        """The connection is open; say what comes first."""

    def text(self, payload: bytes) -> None:
        """A text message."""

    def binary(self, payload: bytes) -> None:
        """A binary message."""

    def joined_frame(self, joined: Joined, ref: object) -> bytes:
        """The reply to a join."""

    def left_frame(self, member: Member, ref: object) -> bytes:
        """The reply to a leave, or the news of it."""

    def seat_ended(self, member: Member) -> None:
        """All of a room has gone out."""

    def closing_frame(self, reason: str, reconnect_after: float) -> bytes:
        """The news that the server will close; empty if there is no word for it."""


class Driver(Protocol):
    """What a connection needs of whoever drives it."""

    def start_writer(self, connection: Connection) -> None:
        """The peer takes nothing now: write on when it does."""

    def resume(self, connection: Connection) -> None:
        """Go on with what is buffered, and then read on."""

    def watch(self, connection: Connection, due: float) -> None:
        """Call `check` at this time, in seconds of trio's clock, or before."""

    def ended(self, connection: Connection) -> None:
        """No longer a connection to count, tell or wait for."""


@final
class Connection:
    """A WebSocket connection, from the upgrade to its end.

    Args:
      member_id: its public id.
      user: who it is; None if nobody knows.
      link: what its bytes go over; only `send`, `send_eof` and `abort` are used here.
      keeper: of the hub.
      settings: of the server.
      driver: what runs it.
      dialogue: makes the protocol's side of it.
    """

    def __init__(
        self,
        member_id: str,
        user: str | None,
        *,
        link: Link,
        keeper: Keeper,
        settings: ServerSettings,
        driver: Driver,
        dialogue: Callable[[Connection], Dialogue],
    ) -> None:
        now = trio.current_time()
        self.keeper = keeper
        self.settings = settings
        self.link = link
        self.draining = False
        self._driver = driver
        self._dialogue = dialogue(self)
        self.outlet = FrameOutlet(
            member_id,
            user,
            self._dialogue.encoder,
            send=link.send,
            speaker=self,
            catch_up_bytes=settings.catch_up_bytes,
            clock=trio.current_time,
        )
        self._parser = FrameParser(
            max_message_bytes=settings.max_message_bytes, max_fragments=settings.max_fragments
        )
        rate = settings.broadcasts_per_second
        self.bucket = TokenBucket(rate, now) if rate else None
        self._waiter: Waiter | None = None
        self._promised = 0
        self._paused_until: float | None = None
        self._more = False
        self._held_up = False
        self._heard = now
        self._pinged: float | None = None
        self._partial: float | None = None
        self._roomless: float | None = now
        self._bad: deque[float] | None = None
        self._close_due: float | None = None
        self._close_sent = False
        self._close_received = False
        self._discarded = 0
        self._lost = False
        self._all_written: trio.Event | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.outlet.id!r} from {self.link.remote or '?'}>"

    # In

    def open(self, before: bytes, early: bytes) -> None:
        """Begin.

        Args:
          before: bytes that go out first: the HTTP response.
          early: bytes that the peer sent behind its request.
        """
        self.outlet.push(before)
        self._dialogue.opened()
        self.outlet.flush()
        first = min(self.settings.heartbeat_seconds, self.settings.idle_seconds)
        self._driver.watch(self, self._heard + first)
        if early:
            self.feed(early)

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer, and do what they ask as far as is fair."""
        self._heard = trio.current_time()
        if self._close_due is not None:
            self._discarded += len(data)
            if self._discarded > self.settings.close_discard_bytes:
                self.link.abort()
                return
        self._parser.feed(data)
        self.work()

    def feed_eof(self) -> None:
        """The peer has said that it will send nothing more, without a closing handshake."""
        self.lose()

    @property
    def paused(self) -> bool:
        """Whether nothing is to be read now, for a reason of ours."""
        return (
            self._waiter is not None
            or self._paused_until is not None
            or self.outlet.own_bytes + self._promised > self.settings.own_bytes
        ) and self.is_open

    @property
    def more(self) -> bool:
        """Whether `work` has something left to do, and only the others have their turn now."""
        return self._more

    def work(self) -> None:
        """Handle buffered messages until there are no more, it is paused, or its turn is over."""
        messages, size = 0, 0
        all_handled = False
        try:
            while not (self._lost or self.paused):
                frame = self._parser.next()
                if frame is None:
                    all_handled = True
                    self._note_partial()
                    break
                self._handle(frame)
                messages += 1
                size += len(frame.payload) if isinstance(frame, Text | Binary) else 0
                if messages >= TURN_MESSAGES or size >= TURN_BYTES:
                    break
        except ProtocolViolation as violation:
            self.close(violation.code, violation.reason)
        except Exception:
            logger.exception("%r failed and is closed", self)
            self.close(CloseCode.INTERNAL)
        # Before it is asked whether replies that wait are a reason to pause.
        self.outlet.flush()
        self._held_up = self.paused
        self._more = not (all_handled or self._lost or self._held_up)

    def _note_partial(self) -> None:
        """All that is whole has been handled: remember since when the rest is not."""
        if not self._parser.in_message:
            self._partial = None
        elif self._partial is None:
            self._partial = self._heard
            self._driver.watch(self, self._heard + self.settings.message_seconds)

    def _handle(self, frame: Frame) -> None:
        if isinstance(frame, Text) and self._close_due is None:
            self._partial = None
            self._dialogue.text(frame.payload)
        elif isinstance(frame, Close):
            self._closed_by_peer(frame)
        elif self._close_due is not None:
            pass  # said after our close frame: nobody is here to hear it
        elif isinstance(frame, Binary):
            self._partial = None
            self._dialogue.binary(frame.payload)
        elif isinstance(frame, Ping):
            self.outlet.push_pong(pong_frame(frame.payload))
        # A pong needs no more than having been heard.

    def _closed_by_peer(self, frame: Close) -> None:
        self._close_received = True
        if self._close_due is None:
            code = CloseCode.DONE if frame.code is None else frame.code
            reason: LeftReason = "left" if frame.code in WENT_ON_PURPOSE else "disconnected"
            self.close(code, left=reason)
        elif self.outlet.emptied:
            self.link.abort()

    # To rooms

    def send_to_room(self, room: str, command: Command) -> RoomActorsError | None:
        """Put a command into a room's mailbox; nothing more is read until it has its place.

        Returns:
          Why the hub takes nothing; None if the room has it or will have it.
        """
        try:
            self._waiter = self.keeper.post(
                room, command, origin=self, accepted=self._command_accepted
            )
        except RoomActorsError as error:
            return error
        return None

    def _command_accepted(self) -> None:
        self._waiter = None
        self._resume()

    def promise(self, size: int) -> None:
        """Count an answer of about so many bytes that a room will give; below 0: it has come."""
        self._promised += size
        if size < 0:
            self._driver.resume(self)

    def pause_for(self, seconds: float) -> None:
        """Read nothing more for a while."""
        self._paused_until = trio.current_time() + seconds
        self._driver.watch(self, self._paused_until)

    def count_bad_message(self) -> bool:
        """Note a message that could not be read; True if there have been too many."""
        most = self.settings.bad_messages
        if self._bad is None:
            self._bad = deque(maxlen=most)
        self._bad.append(self._heard)
        return len(self._bad) == most and self._heard - self._bad[0] <= BAD_MESSAGES_SECONDS

    def _resume(self) -> None:
        # Nothing was read while it was paused, so nothing could be heard.
        self._heard = trio.current_time()
        if self._partial is not None:
            self._partial = self._heard
        self._driver.resume(self)

    # What the outlet asks (see `Speaker`)

    def joined_frame(self, joined: Joined, ref: object) -> bytes:
        """The reply to a join."""
        if self.outlet.has_rooms:
            self._roomless = None
        return self._dialogue.joined_frame(joined, ref)

    def left_frame(self, member: Member, ref: object) -> bytes:
        """The reply to a leave, or the news of it."""
        if not self.outlet.has_rooms and self.is_open:
            self._roomless = trio.current_time()
            self._driver.watch(self, self._roomless + self.settings.idle_seconds)
        return self._dialogue.left_frame(member, ref)

    def seat_ended(self, member: Member) -> None:
        """All of a room has gone out."""
        self._dialogue.seat_ended(member)

    def blocked(self) -> None:
        """The peer takes nothing now."""
        self._driver.start_writer(self)
        self._driver.watch(self, self.outlet.progress + self.settings.progress_seconds)

    def lost_its_place(self) -> None:
        """The log has moved past what was sent, and there is no word for it."""
        self.close(CloseCode.TOO_SLOW, left="lagged")

    def failed(self, error: Exception) -> None:
        """Writing raised: the peer is gone."""
        if not isinstance(error, OSError):
            logger.error("writing to %r failed", self, exc_info=error)
        self.lose()

    def ended(self, reason: LeftReason) -> None:
        """Somebody on the server's side has ended this member."""
        self.close(CloseCode.KICKED, left=reason)

    # Out

    def written(self) -> None:
        """The writer has written something, or all: go on with what had to wait for that."""
        # Bytes that a peer takes from a backlog are a sign of life.
        self._heard = max(self._heard, self.outlet.relented)
        if self._all_written is not None:
            self._all_written.set()
        if self.outlet.emptied:
            self._last_frame_sent()
        elif self._held_up and not self.paused:
            self._resume()

    async def wait_written(self) -> None:
        """Wait until all that waits has gone out, or the end has begun."""
        self.outlet.catch_up()
        while self.is_open and self.outlet.blocked:
            self._all_written = trio.Event()
            await self._all_written.wait()

    def announce_drain(self, reconnect_after: float) -> None:
        """Tell the peer that the server will close; it takes no commands from here on."""
        self.draining = True
        frame = self._dialogue.closing_frame("restarting", reconnect_after)
        if frame:
            self.outlet.push(frame)
            self.outlet.flush()

    # The end

    @property
    def is_open(self) -> bool:
        """Whether no end has begun."""
        return self._close_due is None and not self._lost

    def close(self, code: int, reason: str = "", *, left: LeftReason = "disconnected") -> None:
        """Begin the end: nothing new is queued, and the close frame goes after what is. Idempotent.

        Args:
          code: the close code.
          reason: a few words for a person; by default those of the code.
          left: what the others are told.
        """
        if not self.is_open:
            return
        if not reason and code in _MEANINGS:
            reason = _MEANINGS[code]
        slow = self.outlet.blocked
        self._end(left)
        allowed = self.settings.progress_seconds if slow else self.settings.close_seconds
        self._close_due = trio.current_time() + allowed
        self.outlet.end_with(close_frame(code, reason))
        self.outlet.flush()
        if self.outlet.emptied:
            self._last_frame_sent()
        self._driver.watch(self, self._close_due)

    def _last_frame_sent(self) -> None:
        if self._close_sent:
            return
        self._close_sent = True
        self._close_due = trio.current_time() + self.settings.close_seconds
        if self._close_received:
            # Both have said it; the server closes first (RFC 6455, section 7.1.1).
            self.link.abort()
        else:
            self.link.send_eof()
            self._driver.watch(self, self._close_due)
            # What was paused is read on, to be thrown away.
            self._driver.resume(self)

    def lose(self, left: LeftReason = "disconnected", *, reset: bool = False) -> None:
        """End at once: the peer is gone, or to be treated so. Idempotent."""
        self._lost = True
        self._end(left)
        self.link.abort(reset=reset)
        # If it was paused, whoever reads it must see that its link is closed.
        self._driver.resume(self)

    def _end(self, left: LeftReason) -> None:
        if self._waiter is not None:
            self._waiter.withdrawn = True
            self._waiter = None
        self._paused_until = None
        self.keeper.disconnect(self.outlet, left)
        self._driver.ended(self)
        if self._all_written is not None:
            self._all_written.set()

    # Signs of life

    def check(self, now: float) -> float | None:
        """Do what is due.

        Returns:
          When to look again, in seconds of trio's clock; None if never.
        """
        if self._lost:
            return None
        settings = self.settings
        if self._close_due is not None:
            if now < self._close_due:
                return self._close_due
            self.lose(reset=self.outlet.blocked)
            return None
        if self.outlet.blocked:
            due = self.outlet.progress + settings.progress_seconds
            if now < due:
                return due
            logger.info("%r is too slow and is cut off", self)
            self._cut_off()
            return None
        if self._paused_until is not None:
            if now < self._paused_until:
                return self._paused_until
            self._paused_until = None
            self._resume()
        if self._waiter is not None:
            # We do not read, so nothing can be expected of the peer.
            return now + settings.heartbeat_seconds
        return self._check_peer(now)

    def _cut_off(self) -> None:
        """End a peer that takes nothing: try the close frame, and do not wait."""
        self._end("lagged")
        self.outlet.end_with(close_frame(CloseCode.TOO_SLOW, _MEANINGS[CloseCode.TOO_SLOW]))
        self.outlet.unblock()
        self.lose("lagged", reset=not self.outlet.emptied)

    def _check_peer(self, now: float) -> float | None:
        settings = self.settings
        dues = []
        if self._partial is not None:
            due = self._partial + settings.message_seconds
            if now >= due:
                self.close(CloseCode.POLICY, "a message took too long to arrive")
                return self._close_due
            dues.append(due)
        if self._roomless is not None:
            due = self._roomless + settings.idle_seconds
            if now >= due:
                self.close(CloseCode.POLICY, "in no room for too long")
                return self._close_due
            dues.append(due)
        if self._pinged is not None and self._heard >= self._pinged:
            self._pinged = None
        if self._pinged is not None:
            due = self._pinged + settings.pong_seconds
            if now >= due:
                self.lose(reset=True)
                return None
        else:
            due = self._heard + settings.heartbeat_seconds
            if now >= due:
                self._pinged = now
                self.outlet.push(ping_frame(b""))
                self.outlet.flush()
                due = now + settings.pong_seconds
        dues.append(due)
        return min(dues)


_MEANINGS = {int(code): code.meaning for code in CloseCode}
