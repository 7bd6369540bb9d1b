"""What programs hold: a room by its name, and a seat for the length of a block."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, final

import attrs
import trio

from roomactors.core.commands import Broadcast, Join, Joined, Receipt
from roomactors.core.events import EVERYONE, Event, LeftReason
from roomactors.core.member import Member, MemberView
from roomactors.core.names import check_member_id
from roomactors.core.outlet import LocalOutlet
from roomactors.core.reply import Reply, same
from roomactors.core.room import RoomStatistics
from roomactors.errors import ClosedSeatError, NotAMemberError

if TYPE_CHECKING:
    from roomactors.core.hub import Hub


@final
@attrs.frozen(kw_only=True)
class Arrival:
    """How a room was when a seat was taken in it."""

    epoch: str
    seq: int
    """The last event before the join; what the seat receives comes after it."""
    members: tuple[MemberView, ...]
    """Who was in as of `seq`, in the order of joining, oneself included."""


@final
@attrs.frozen
class RoomHandle:
    """A room by its name. Cheap: it holds nothing, and the room starts when it is needed."""

    _hub: Hub = attrs.field(repr=False)
    name: str

    @asynccontextmanager
    async def join(
        self, member: str, *, info: object = None, user: str | None = None
    ) -> AsyncGenerator[Seat, None]:
        """Be a member of this room for the length of an ``async with`` block.

        Args:
          member: an id; unique in the room, and of one who is not connected
            over the network. The same id in several rooms is one member.
          info: what the others may know of it: JSON, at most
            `HubSettings.info_bytes`.
          user: the user behind it, which the others see too.

        Raises:
          RoomFullError: the room has no place left.
          TooManyRoomsError: the member has no place left.
          MemberIdTakenError: the id is in use, in this room or by a client.
          MemberIdError: no member may have this id.
          InvalidDataError, TooLargeError: `info` or `user` cannot be sent.
          BusyError: there are as many rooms as there may be.
          DrainingError, ClosedHubError: the hub is stopping.

        Entering is a checkpoint, leaving is not. If you are cancelled while
        entering, you are not a member afterwards; leaving reaches the room
        even when cancelled. The others see the reason ``left``, or
        ``disconnected`` if the block ended with an exception.
        """
        keeper = self._hub.keeper
        check_member_id(member)
        if user is not None:
            self._hub.freeze_info(user)  # it stands in the same frames, and must fit there
        payload = None if info is None else self._hub.freeze_info(info)
        outlet = keeper.hold_local_outlet(member, user)
        try:
            reply = Reply[Joined, tuple[Member, Arrival]](_arrive)
            view = MemberView(member=member, user=user, info_payload=payload)
            place, arrival = await keeper.ask(
                self.name, Join(view=view, outlet=outlet, answer=reply), reply
            )
            reason: LeftReason = "disconnected"
            try:
                yield Seat(self._hub, self, place, outlet, arrival)
                reason = "left"
            finally:
                keeper.leave_now(place, reason)
        finally:
            keeper.release_local_outlet(outlet)

    async def broadcast(
        self, data: object, *, except_: Iterable[str] = (), volatile: bool = False
    ) -> Receipt:
        """Send data to every member, in the server's name.

        Args:
          data: what JSON can carry, at most `HubSettings.data_bytes` of it.
          except_: member ids that do not get it.
          volatile: no number, not in the log, only to members who have kept up.

        Raises:
          InvalidDataError, TooLargeError: it cannot be sent; nothing was.
          BusyError: there are as many rooms as there may be.
          DrainingError, ClosedHubError: the hub is stopping.

        A checkpoint: it waits for a place in the room's mailbox and for the
        room's turn, never for a member. If you are cancelled before the turn,
        it is not sent.
        """
        return await self._hub.send(self.name, data, excluded=frozenset(except_), volatile=volatile)

    async def members(self) -> tuple[MemberView, ...]:
        """Who is in, in the order of joining. A checkpoint; it does not start the room.

        Raises:
          DrainingError, ClosedHubError: the hub is stopping.
        """
        return await self._hub.members_of(self.name)

    def statistics(self) -> RoomStatistics:
        """A look at the room, now."""
        return self._hub.room_statistics(self.name)


def _arrive(joined: Joined) -> tuple[Member, Arrival]:
    members = tuple(member.view for member in joined.roster or ())
    return joined.member, Arrival(epoch=joined.log.epoch, seq=joined.seq, members=members)


@final
class Seat:
    """One member's place in one room. Made by `RoomHandle.join`.

    Iterate over it to receive: the iteration ends when the seat does, and
    `ended` then says why.
    """

    def __init__(
        self, hub: Hub, room: RoomHandle, member: Member, outlet: LocalOutlet, arrival: Arrival
    ) -> None:
        self.room = room
        self.arrival = arrival
        self._hub = hub
        self._member = member
        self._outlet = outlet

    def __repr__(self) -> str:
        return f"<Seat {self.member!r} in {self.room.name!r}>"

    @property
    def member(self) -> str:
        """The member id."""
        return self._member.id

    @property
    def ended(self) -> LeftReason | None:
        """Why the member is no longer in the room; None while it is in."""
        return self._member.reason

    async def broadcast(
        self,
        data: object,
        *,
        echo: bool = True,
        except_: Iterable[str] = (),
        volatile: bool = False,
    ) -> Receipt:
        """Send data to every member of the room.

        Args:
          data: what JSON can carry, at most `HubSettings.data_bytes` of it.
          echo: whether this seat gets it too.
          except_: further member ids that do not get it.
          volatile: no number, not in the log, only to members who have kept up.

        Raises:
          NotAMemberError: this seat has ended.
          InvalidDataError, TooLargeError: it cannot be sent; nothing was.
          DrainingError, ClosedHubError: the hub is stopping.

        A checkpoint: it waits for a place in the room's mailbox and for the
        room's turn, never for a member. If you are cancelled before the turn,
        it is not sent.
        """
        frozen = self._hub.freeze_data(data)
        if self.ended is not None:
            # The room would look for the member, and might find a later seat of it.
            raise NotAMemberError(self.room.name)
        reply = Reply[Receipt, Receipt](same)
        command = Broadcast(
            data=frozen,
            sender=self.member,
            outlet=self._outlet,
            echo=echo,
            excluded=frozenset(except_),
            volatile=volatile,
            answer=reply,
        )
        return await self._hub.keeper.ask(self.room.name, command, reply)

    async def receive(self) -> Event:
        """The next event: of this room, or, in the member's oldest seat, a message to everyone.

        Raises:
          ClosedSeatError: the seat has ended, and all that it was to get has
            been received.

        A checkpoint. If you are cancelled, nothing is lost: the next call
        gives the same event.
        """
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return self.receive_nowait()
            except trio.WouldBlock:
                await self._outlet.wait()

    def receive_nowait(self) -> Event:
        """The next event, if there is one now.

        Raises:
          trio.WouldBlock: there is none.
          ClosedSeatError: there will be none any more.
        """
        outlet, member = self._outlet, self._member
        event = outlet.next_event(member)
        if event is not None:
            return event
        ended = self.ended
        if ended is not None:
            raise ClosedSeatError(self.room.name, ended)
        if outlet.hears_everyone(member):
            everyone = outlet.members.get(EVERYONE)
            if everyone is not None:
                event = outlet.next_event(everyone)
                if event is not None:
                    return event
        raise trio.WouldBlock

    def __aiter__(self) -> Seat:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self.receive()
        except ClosedSeatError:
            raise StopAsyncIteration from None
