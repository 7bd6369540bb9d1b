"""The room task: take a turn, change roster and log, fan out once.

A turn has two halves. *Accept* looks at a command and says whether it may be
done; *apply* gives what it causes its place in the log, changes the roster
and answers. Both run without waiting, so nothing here needs a lock. In one
process they run back to back, command by command; a journal or a broker will
stand between them. Then the turn's events go out, to everyone in one write.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, assert_never, final

import attrs
import trio

from roomactors.core.budget import SLICE_SECONDS
from roomactors.core.commands import (
    Broadcast,
    Command,
    Join,
    Joined,
    Leave,
    ListMembers,
    Present,
    Receipt,
    data_size,
)
from roomactors.core.events import (
    EVERYONE,
    LeftReason,
    LogEvent,
    MemberInfo,
    MemberJoined,
    MemberLeft,
    Message,
)
from roomactors.core.fanout import FanOut
from roomactors.core.log import ENTRY_BYTES, Entry, Log
from roomactors.core.mailbox import Mailbox
from roomactors.core.member import Member
from roomactors.core.outlet import Outlet
from roomactors.core.roster import Roster
from roomactors.errors import (
    BrokenRoomError,
    DrainingError,
    MemberIdTakenError,
    NoSuchMemberError,
    NotAMemberError,
    RefusedError,
    RoomActorsError,
    RoomFullError,
    TooManyRoomsError,
)

if TYPE_CHECKING:
    from roomactors.core.keeper import Keeper

logger = logging.getLogger("roomactors")

FRAME_BYTES = 150
"""What a frame takes beside its data, about: to know when a turn's output is full."""
LIGHT_MEMBERS = 8
"""A fan-out to so few takes less time than waiting would; it does not wait for heavy rooms."""


@final
@attrs.frozen(kw_only=True)
class RoomStatistics:
    """A look at one room, at one moment."""

    room: str
    epoch: str | None
    """None if the room does not exist now."""
    members: int = 0
    behind: int = 0
    """Members that have not been given all of the log yet."""
    seq: int = 0
    """The number of the last event."""
    log_events: int = 0
    log_bytes: int = 0
    mailbox_commands: int = 0
    mailbox_bytes: int = 0
    mailbox_waiting: int = 0
    """Commands in line for a place."""
    turns: int = 0
    """Turns taken since the room began."""


@final
class Room:
    """One room. The hub starts `run` in a task; everything else is sent to its mailbox."""

    def __init__(self, name: str, epoch: str, keeper: Keeper) -> None:
        self.name = name
        self.log = Log(name, epoch, keeper.settings.room)
        self.mailbox = Mailbox(keeper.settings.room)
        self.roster = Roster()
        self._keeper = keeper
        self._settings = keeper.settings.room
        self._hidden: dict[str, Member] = {}
        self._out = FanOut(self.log)
        self._turns = 0
        self._now = 0.0

    def statistics(self) -> RoomStatistics:
        """A look at the room."""
        log = self.log
        return RoomStatistics(
            room=self.name,
            epoch=log.epoch,
            members=len(self.roster),
            behind=sum(member.cursor < log.head for member in self.roster),
            seq=log.head,
            log_events=log.head - log.base,
            log_bytes=log.size,
            mailbox_commands=len(self.mailbox),
            mailbox_bytes=self.mailbox.size,
            mailbox_waiting=self.mailbox.waiting,
            turns=self._turns,
        )

    # The task

    async def run(self) -> None:
        """Take turns until the room has been empty for its linger time, or is cancelled."""
        budget = self._keeper.budget
        ending: RoomActorsError = DrainingError()
        try:
            while True:
                if self.roster or self._hidden:
                    await self.mailbox.wait()
                elif not await self._linger():
                    break
                members = len(self.roster) + len(self._hidden)
                if members > LIGHT_MEMBERS:
                    await budget.admit()
                began = budget.stopwatch()
                self._turn(began + SLICE_SECONDS)
                await self._fan_out(began)
        except Exception:
            # A bug of ours. It ends this room; the others go on.
            logger.exception("room %r failed and is closed", self.name)
            ending = BrokenRoomError(self.name)
            # It may have been let in, and those who wait count on its account.
            budget.spend(0.0)
        finally:
            # No await here: in a cancelled room it would raise Cancelled and
            # strand every caller that still waits for an answer.
            self._keeper.retire(self)
            self._end(ending)

    async def _linger(self) -> bool:
        """Wait for a command to an empty room; False if there was none for the linger time."""
        with trio.move_on_after(self._settings.linger_seconds):
            await self.mailbox.wait()
        # Whoever came at the last moment is in the mailbox: from here to the
        # retirement nothing waits, so nothing can come between.
        return len(self.mailbox) > 0

    def _turn(self, deadline: float) -> None:
        """Handle what waits, in order, until the turn's output or its time is full."""
        self._turns += 1
        self._out.begin()
        self._now = trio.current_time()
        at = self._keeper.wall_clock()
        room_left = self._settings.turn_bytes
        mailbox = self.mailbox
        stopwatch = self._keeper.budget.stopwatch
        handled = 0
        while len(mailbox) and room_left > 0:
            command = mailbox.take()
            room_left -= FRAME_BYTES + data_size(command)
            self._handle(command, at)
            handled += 1
            if not handled % 16 and stopwatch() > deadline:
                break
        mailbox.admit_waiting()

    def _handle(self, command: Command, at: int) -> None:
        answer = command.answer
        if answer is not None and answer.abandoned:
            return
        try:
            refusal = self._accept(command)
            if refusal is None:
                self._apply(command, at)
            elif answer is not None:
                answer.fail(refusal)
        except Exception:
            # A bug of ours, in one command: it fails, the room goes on.
            logger.exception("room %r failed in a command", self.name)
            if answer is not None and not answer.done:
                answer.fail(BrokenRoomError(self.name))
        outlet = command.outlet
        if outlet is not None and (answer is not None or isinstance(command, Join)):
            self._out.answered(outlet)

    # First half: may it be done?

    def _accept(self, command: Command) -> RefusedError | None:
        match command:
            case (
                Broadcast(sender=sender, outlet=outlet) | ListMembers(sender=sender, outlet=outlet)
            ):
                if sender is None or self._seat_of(sender, outlet) is not None:
                    return None
                return NotAMemberError(self.name)
            case Join():
                return self._accept_join(command)
            case Leave():
                return None
            case _:
                assert_never(command)

    def _accept_join(self, command: Join) -> RefusedError | None:
        outlet = command.outlet
        present = self._find(command.view.member)
        if present is not None:
            if present.outlet is outlet and command.again:
                return None
            return MemberIdTakenError(command.view.member)
        if outlet.closed:
            return NoSuchMemberError(outlet.id)
        if command.hidden:
            return None
        limit = self._settings.max_members
        if limit and len(self.roster) >= limit:
            return RoomFullError(self.name, limit)
        limit = outlet.max_rooms or self._keeper.settings.max_rooms_per_member
        if limit and len(outlet.members) >= limit:
            # A seat that has been given up takes no place, though its room may not know yet.
            kept = [name for name, seat in outlet.members.items() if not seat.leaving]
            if len(kept) - (EVERYONE in kept) >= limit:
                return TooManyRoomsError(outlet.id, limit)
        return None

    def _find(self, member_id: str) -> Member | None:
        return self.roster.get(member_id) or self._hidden.get(member_id)

    def _seat_of(self, member_id: str, outlet: Outlet | None) -> Member | None:
        member = self._find(member_id)
        return member if member is not None and member.outlet is outlet else None

    # Second half: it is so from now on.

    def _apply(self, command: Command, at: int) -> None:
        match command:
            case Broadcast():
                self._apply_broadcast(command, at)
            case Join():
                member = self._find(command.view.member)
                if member is None:
                    self._apply_join(command)
                else:
                    self._apply_second_join(command, member)
            case Leave():
                self._apply_leave(command)
            case ListMembers():
                command.answer.set(
                    Present(log=self.log, roster=self._shown(), count=len(self.roster))
                )
            case _:
                assert_never(command)

    def _apply_join(self, command: Join) -> None:
        log = self.log
        outlet = command.outlet
        member = Member(command.view, outlet, log, log.head, command.hidden)
        if command.hidden:
            self._hidden[member.id] = member
        else:
            self.roster.add(member)
            if len(self.roster) == 1:
                self._keeper.occupied(self)
        self._out.add(member)
        outlet.members[self.name] = member
        if not command.hidden:
            self._tell_joined(member, command)
            view = member.view
            self._append(
                MemberJoined(
                    room=self.name,
                    seq=log.head + 1,
                    member=member.id,
                    user=view.user,
                    info_payload=view.info_payload,
                )
            )
            member.cursor = log.head
        self._out.set_apart_from_here(member)

    def _apply_second_join(self, command: Join, member: Member) -> None:
        # What `joined` says must not be said again after it.
        self._out.serve_so_far(member)
        self._tell_joined(member, command)
        self._out.set_apart_from_here(member)
        info = command.view.info_payload
        if not command.keep_info and info != member.view.info_payload:
            member.view = attrs.evolve(member.view, info_payload=info)
            member.card = b""
            if not member.hidden:
                self._append(
                    MemberInfo(
                        room=self.name, seq=self.log.head + 1, member=member.id, info_payload=info
                    )
                )

    def _tell_joined(self, member: Member, command: Join) -> None:
        joined = Joined(
            member=member,
            log=self.log,
            seq=self.log.head,
            roster=self._shown(),
            count=len(self.roster) or len(self._hidden),
        )
        member.outlet.seated(joined, command.ref)
        if command.answer is not None:
            command.answer.set(joined)

    def _shown(self) -> Roster | None:
        return None if self.name == EVERYONE else self.roster

    def _apply_leave(self, command: Leave) -> None:
        member = self._find(command.member)
        gone = member is not None and (
            (command.seat is None or command.seat is member)
            and (command.outlet is None or command.outlet is member.outlet)
        )
        if member is not None and gone:
            self._remove(member, command.reason, command.ref)
        if command.answer is not None:
            command.answer.set(gone)

    def _remove(self, member: Member, reason: LeftReason, ref: object) -> None:
        outlet = member.outlet
        self._out.serve_so_far(member)
        self._out.remove(member)
        del outlet.members[self.name]
        member.end, member.reason = self.log.head, reason
        outlet.finish(member, ref)
        outlet.flush()
        if member.hidden:
            del self._hidden[member.id]
            return
        self.roster.remove(member)
        self._append(
            MemberLeft(
                room=self.name,
                seq=self.log.head + 1,
                member=member.id,
                user=member.view.user,
                reason=reason,
            )
        )
        if not self.roster:
            self._keeper.vacated(self)

    def _apply_broadcast(self, command: Broadcast, at: int) -> None:
        log = self.log
        sender = None if command.sender is None else self._find(command.sender)
        excluded = command.excluded
        if sender is not None and not command.echo:
            excluded = excluded | {sender.id}
        seq = None if command.volatile else log.head + 1
        self._append(
            Message(
                room=self.name,
                seq=seq,
                sender=command.sender,
                user=None if sender is None else sender.view.user,
                at=at,
                payload=command.data,
                excluded=excluded,
            )
        )
        for member_id in excluded:
            member = self._find(member_id)
            if member is not None:
                self._out.exclude(member)
        if command.answer is not None:
            command.answer.set(Receipt(room=self.name, epoch=log.epoch, seq=seq))

    def _append(self, event: LogEvent) -> None:
        log = self.log
        seq = log.head if event.seq is None else event.seq
        size = ENTRY_BYTES + event.data_size
        entry = Entry(seq, event, self._now, len(self.roster), size)
        if event.seq is not None:
            log.append(entry)
        self._out.append(entry)

    # Out

    async def _fan_out(self, began: float) -> None:
        """Give the turn's events to everyone, and let the others have the loop now and then."""
        budget = self._keeper.budget
        for _ in self._out.deliveries(self._now):
            spent = budget.stopwatch() - began
            if spent >= SLICE_SECONDS:
                budget.spend(spent)
                await budget.admit()
                began = budget.stopwatch()
        budget.spend(budget.stopwatch() - began)

    # The end

    def close(self, reason: LeftReason) -> None:
        """Take every member out, without another event: the room is going."""
        members = [*self.roster, *self._hidden.values()]
        for member in members:
            member.end, member.reason = self.log.head, reason
            del member.outlet.members[self.name]
        for member in members:
            member.outlet.finish(member, None)
            member.outlet.flush()

    def _end(self, ending: RoomActorsError) -> None:
        self.close("closed")
        for command in self.mailbox.empty_out():
            if isinstance(command, Leave):
                if command.answer is not None:
                    command.answer.set(False)
            elif command.answer is not None:
                command.answer.fail(ending)
            if command.outlet is not None:
                self._out.answered(command.outlet)
        self._out.flush()
