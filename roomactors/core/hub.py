"""The running system, as programs hold it: an ``async with`` block."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import final

import attrs
import trio

from roomactors.core.budget import Budget
from roomactors.core.commands import Broadcast, Join, Joined, Leave, ListMembers, Present, Receipt
from roomactors.core.data import Data, Freeze
from roomactors.core.events import EVERYONE, NOBODY, LeftReason
from roomactors.core.handles import RoomHandle
from roomactors.core.hooks import Hooks
from roomactors.core.keeper import Keeper
from roomactors.core.member import MemberView
from roomactors.core.names import check_room_name
from roomactors.core.outlet import LocalOutlet
from roomactors.core.reply import Reply, same
from roomactors.core.room import RoomStatistics
from roomactors.core.settings import HubSettings
from roomactors.errors import NoSuchMemberError, TooLargeError


@final
@attrs.frozen(kw_only=True)
class HubStatistics:
    """A look at a hub, at one moment."""

    rooms: int
    """Rooms whose task runs: empty ones that linger, and the one of everyone, included."""
    members: int
    """Who can be sent to: connected clients, and members in this process."""
    hooks_missed: int
    """Notifications that found the line before a slow hook full."""


@final
class Hub:
    """All rooms of one program, and everyone who is in them. Made by `open_hub`."""

    def __init__(self, keeper: Keeper, freeze: Freeze) -> None:
        self.keeper = keeper
        """What connections use; programs need it only to write an outlet of their own."""
        self._freeze = freeze

    def room(self, name: str) -> RoomHandle:
        """A handle for the room of this name; the room itself starts when it is needed.

        Raises:
          RoomNameError: no room may have this name.
        """
        return RoomHandle(self, check_room_name(name))

    def rooms(self) -> list[str]:
        """The rooms that have members, in the order in which they were first joined."""
        return list(self.keeper.occupied_rooms)

    def rooms_of(self, member: str) -> list[str]:
        """The rooms that a member is in, in the order of joining; none if nobody has this id."""
        outlet = self.keeper.outlets.get(member)
        return [] if outlet is None else outlet.rooms()

    def user_of(self, member: str) -> str | None:
        """The user behind a member; None if nobody knows, or nobody has this id."""
        outlet = self.keeper.outlets.get(member)
        return None if outlet is None else outlet.user

    def members(self) -> list[str]:
        """The ids of all who can be sent to, in the order in which they came."""
        return list(self.keeper.outlets)

    async def broadcast(self, data: object) -> Receipt:
        """Send data to everyone, to each member once, whatever rooms it is in.

        Args:
          data: what JSON can carry, at most `HubSettings.data_bytes` of it.

        Returns:
          Its number in the log of the room of everyone, ``$all``.

        Raises:
          InvalidDataError: JSON cannot carry it. Nothing was sent.
          TooLargeError: it is over the limit. Nothing was sent.
          DrainingError, ClosedHubError: the hub is stopping.

        A checkpoint. If you are cancelled before it was taken, it is not sent.
        """
        return await self.send(EVERYONE, data)

    async def join(self, member: str, room: str, *, info: object = None) -> None:
        """Put a connected client into a room, from the server's side; it is told so.

        Idempotent: one who is in already stays as it is, unless `info` is given.

        A member in this process takes its seats itself, with `RoomHandle.join`.

        Raises:
          NoSuchMemberError: no client is connected under this id.
          RoomFullError, TooManyRoomsError: there is no place.
          RoomNameError, InvalidDataError, TooLargeError: the arguments are wrong.
          BusyError: there are as many rooms as there may be.
          DrainingError, ClosedHubError: the hub is stopping.

        A checkpoint. If you are cancelled before the room has taken it,
        nothing happens.
        """
        check_room_name(room)
        outlet = self.keeper.outlets.get(member)
        # A seat of a member in this process that nobody holds would be read by nobody.
        if outlet is None or isinstance(outlet, LocalOutlet):
            raise NoSuchMemberError(member)
        frozen = None if info is None else self.freeze_info(info)
        reply = Reply[Joined, Joined](same)
        command = Join(
            view=MemberView(member=member, user=outlet.user, info_payload=frozen),
            outlet=outlet,
            again=True,
            keep_info=frozen is None,
            answer=reply,
        )
        await self.keeper.ask(room, command, reply)

    async def leave(self, member: str, room: str, *, reason: LeftReason = "kicked") -> bool:
        """Take a member out of a room, from the server's side; it is told so. Idempotent.

        Returns:
          Whether it was in.

        Raises:
          RoomNameError: no room may have this name.
          DrainingError, ClosedHubError: the hub is stopping.

        A checkpoint. If you are cancelled before the room has taken it,
        nothing happens.
        """
        if check_room_name(room) not in self.keeper.rooms:
            await trio.lowlevel.checkpoint()
            return False
        reply = Reply[bool, bool](same)
        command = Leave(member=member, reason=reason, answer=reply)
        return await self.keeper.ask(room, command, reply)

    def disconnect(self, member: str) -> None:
        """End a client's connection, or all seats of a member in this process. Idempotent.

        Never waits: its rooms announce the departure, with the reason
        ``kicked``, in their next turns.
        """
        outlet = self.keeper.outlets.get(member)
        if isinstance(outlet, LocalOutlet):
            # Whoever takes a seat under this id from now on is somebody else.
            self.keeper.disconnect(outlet, "kicked")
        elif outlet is not None:
            for seat in list(outlet.members.values()):
                self.keeper.leave_now(seat, "kicked")
            outlet.end("kicked")

    def statistics(self) -> HubStatistics:
        """A look at the hub."""
        return HubStatistics(
            rooms=len(self.keeper.rooms),
            members=len(self.keeper.outlets),
            hooks_missed=self.keeper.hook_runner.missed,
        )

    # What handles are made of

    def freeze_data(self, data: object) -> Data:
        """Check a value and freeze it; raises `InvalidDataError` or `TooLargeError`."""
        return self._frozen("the data", data, self.keeper.settings.data_bytes)

    def freeze_info(self, info: object) -> Data:
        """Check a member's info and freeze it; raises `InvalidDataError` or `TooLargeError`."""
        return self._frozen("the info", info, self.keeper.settings.info_bytes)

    def _frozen(self, what: str, value: object, limit: int) -> Data:
        frozen = self._freeze(value)
        if len(frozen) > limit:
            raise TooLargeError(what, len(frozen), limit)
        return frozen

    async def send(
        self,
        name: str,
        data: object,
        *,
        excluded: frozenset[str] = NOBODY,
        volatile: bool = False,
    ) -> Receipt:
        """Broadcast to a room in the server's name; `RoomHandle.broadcast` says the rest."""
        reply = Reply[Receipt, Receipt](same)
        command = Broadcast(
            data=self.freeze_data(data), excluded=excluded, volatile=volatile, answer=reply
        )
        return await self.keeper.ask(name, command, reply)

    async def members_of(self, name: str) -> tuple[MemberView, ...]:
        """Who is in a room; nobody if it does not exist."""
        if name not in self.keeper.rooms:
            await trio.lowlevel.checkpoint()
            return ()
        reply = Reply[Present, tuple[MemberView, ...]](_views)
        return await self.keeper.ask(name, ListMembers(answer=reply), reply)

    def room_statistics(self, name: str) -> RoomStatistics:
        """A look at a room; `epoch` is None if it does not exist."""
        room = self.keeper.rooms.get(name)
        return RoomStatistics(room=name, epoch=None) if room is None else room.statistics()


def _views(present: Present) -> tuple[MemberView, ...]:
    return tuple(member.view for member in present.roster or ())


def _milliseconds() -> int:
    return int(time.time() * 1000)


def _random_epoch() -> str:
    return secrets.token_urlsafe(6)


@asynccontextmanager
async def open_hub(
    *,
    freeze: Freeze,
    settings: HubSettings | None = None,
    hooks: Hooks | None = None,
    wall_clock: Callable[[], int] = _milliseconds,
    stopwatch: Callable[[], float] = perf_counter,
    new_epoch: Callable[[], str] = _random_epoch,
) -> AsyncGenerator[Hub, None]:
    """Run rooms for the length of an ``async with`` block.

    Args:
      freeze: checks values and turns them into bytes; `roomactors.open_hub`
        gives the one for JSON.
      settings: the bounds.
      hooks: what you want to be told of.
      wall_clock: milliseconds since the Unix epoch, for `Message.at`.
      stopwatch: seconds of real work, by which rooms share the loop.
      new_epoch: makes the epoch of a new room; must not repeat itself.

    Leaving the block lets the rooms finish what they have taken, at most
    `HubSettings.drain_seconds`; then seats that are still held end with the
    reason ``closed``. If the block is cancelled or raises, the rooms end at
    once; what it raises comes out as it is, in no group. Entering is no
    checkpoint, leaving is one.
    """
    settings = settings or HubSettings()
    raised: BaseException
    try:
        async with trio.open_nursery() as nursery:
            keeper = Keeper(
                nursery,
                settings=settings,
                hooks=hooks or Hooks(),
                budget=Budget(stopwatch),
                wall_clock=wall_clock,
                new_epoch=new_epoch,
            )
            nursery.start_soon(keeper.hook_runner.run, name="hooks")
            try:
                yield Hub(keeper, freeze)
                await keeper.drain(settings.drain_seconds)
            finally:
                keeper.draining = keeper.closed = True
                nursery.cancel_scope.cancel()
        return
    except BaseExceptionGroup as group:
        # That there is a nursery in here is nobody's business.
        if len(group.exceptions) > 1:
            raise
        raised = group.exceptions[0]
    raise raised
