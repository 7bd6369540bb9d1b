"""Starts, finds and retires rooms by name, and knows who can be sent to.

The part of a hub that rooms, handles and connections use; what programs use
is in `hub`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar, final

import trio

from roomactors.core.budget import Budget
from roomactors.core.commands import Command, Join, Leave, ListMembers, Present
from roomactors.core.events import EVERYONE, LeftReason
from roomactors.core.hooks import HookRunner, Hooks
from roomactors.core.mailbox import Waiter
from roomactors.core.member import Member, MemberView
from roomactors.core.outlet import LocalOutlet, Outlet
from roomactors.core.reply import Reply
from roomactors.core.room import Room
from roomactors.core.settings import HubSettings
from roomactors.errors import (
    BusyError,
    ClosedHubError,
    DrainingError,
    MemberIdTakenError,
    RoomActorsError,
)

logger = logging.getLogger("roomactors")

T = TypeVar("T")
U = TypeVar("U")


def _nothing() -> None:
    pass


@final
class Keeper:
    """The rooms that run, and everyone who is connected.

    Args:
      nursery: where rooms run.
      settings: of the hub.
      hooks: what a program wants to be told of.
      budget: shared by all rooms and readers.
      wall_clock: milliseconds since the Unix epoch.
      new_epoch: a name for a room's log that no log of that name had.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        settings: HubSettings,
        hooks: Hooks,
        budget: Budget,
        wall_clock: Callable[[], int],
        new_epoch: Callable[[], str],
    ) -> None:
        self.settings = settings
        self.budget = budget
        self.wall_clock = wall_clock
        self.draining = False
        self.closed = False
        self.rooms: dict[str, Room] = {}
        self.occupied_rooms: dict[str, None] = {}
        self.outlets: dict[str, Outlet] = {}
        self.hook_runner = HookRunner(settings.hook_queue)
        self._hooks = hooks
        # How to stop each task that runs here, by the event of its end.
        self._tasks: dict[trio.Event, Callable[[], None]] = {}
        self._nursery = nursery
        self._new_epoch = new_epoch

    # What rooms use

    def occupied(self, room: Room) -> None:
        """The first member has come."""
        self.occupied_rooms[room.name] = None
        self.hook_runner.notify(self._hooks.room_occupied, room.name)

    def vacated(self, room: Room) -> None:
        """The last member has gone."""
        self.occupied_rooms.pop(room.name, None)
        self.hook_runner.notify(self._hooks.room_vacated, room.name)

    def retire(self, room: Room) -> None:
        """The room has ended; a command that comes now starts another."""
        del self.rooms[room.name]
        if room.name in self.occupied_rooms:
            self.vacated(room)

    # What handles and connections use

    def connect(self, outlet: Outlet) -> None:
        """Take in somebody who can be sent to; it gets its seat in the room of everyone.

        Raises:
          MemberIdTakenError: somebody has this id.
          DrainingError, ClosedHubError: nobody is taken in any more.
        """
        self._check_open()
        if outlet.id in self.outlets:
            raise MemberIdTakenError(outlet.id)
        everyone = self._room(EVERYONE)
        self.outlets[outlet.id] = outlet
        _seat_with_everyone(everyone, outlet)
        self.hook_runner.notify(self._hooks.connected, outlet.id)

    def disconnect(self, outlet: Outlet, reason: LeftReason) -> None:
        """Somebody is gone: its seats leave. Idempotent; never waits, and is no checkpoint."""
        if self.outlets.get(outlet.id) is not outlet:
            return
        del self.outlets[outlet.id]
        outlet.closed = True
        outlet.free = False
        # In a drain departures are not announced.
        if not self.draining:
            for member in list(outlet.members.values()):
                self.leave_now(member, reason)
        self.hook_runner.notify(self._hooks.disconnected, outlet.id)

    def hold_local_outlet(self, member: str, user: str | None) -> LocalOutlet:
        """The outlet of a member in this process; the first hold connects it.

        Raises:
          MemberIdTakenError: a connected client has this id.
          DrainingError, ClosedHubError: nobody is taken in any more.
        """
        outlet = self.outlets.get(member)
        if outlet is None:
            outlet = LocalOutlet(member, user, volatile_queue=self.settings.volatile_queue)
            self.connect(outlet)
        if not isinstance(outlet, LocalOutlet):
            raise MemberIdTakenError(member)
        outlet.holds += 1
        return outlet

    def release_local_outlet(self, outlet: LocalOutlet) -> None:
        """One hold less; with the last one the member is gone."""
        outlet.holds -= 1
        if not outlet.holds:
            self.disconnect(outlet, "left")

    def leave_now(self, member: Member, reason: LeftReason) -> None:
        """Have a seat leave, whatever else waits. Never waits; there is one leave per seat."""
        if member.leaving or member.end is not None:
            return
        member.leaving = True
        # A seat without an end is in a room that runs.
        leave = Leave(member=member.id, seat=member, reason=reason)
        self.rooms[member.log.room].mailbox.force(leave)

    def post(
        self, name: str, command: Command, *, origin: object, accepted: Callable[[], None]
    ) -> Waiter | None:
        """Send a command to a room, which is started if it must be. Never waits.

        Returns:
          None if the room's mailbox has it; else the waiter that stands in line.

        Raises:
          DrainingError, ClosedHubError: the hub takes nothing new.
          BusyError: there are as many rooms as there may be.
        """
        self._check_open()
        return self._room(name).mailbox.post(command, origin=origin, accepted=accepted)

    async def ask(self, name: str, command: Command, reply: Reply[T, U]) -> U:
        """Send a command and wait for its answer. A checkpoint.

        Cancelled before the room has handled it, it is withdrawn; afterwards
        the answer is returned all the same.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        origin = trio.lowlevel.current_task()
        waiter = self.post(name, command, origin=origin, accepted=_nothing)
        try:
            return await reply.wait()
        finally:
            if waiter is not None:
                waiter.withdrawn = True

    def start_task(
        self, run: Callable[[], Awaitable[object]], *, stop: Callable[[], None], name: str
    ) -> None:
        """Run a task that serves somebody who is connected, at the longest until the hub ends.

        What it raises is logged, and ends nothing else.

        Args:
          run: the task. It is cancelled when the hub ends.
          stop: called before that, when the rooms have done what they took; the hub waits for
            the task to end then, as long as a drain may take. It must not wait or raise, and
            may be called again.
          name: of the task, for who looks at trio's tasks.

        Never waits, and is no checkpoint.
        """
        over = trio.Event()
        self._tasks[over] = stop
        self._nursery.start_soon(self._run_task, run, over, name=name)

    async def drain(self, seconds: float) -> None:
        """Take nothing new, and wait until the rooms have done what they took, at most so long.

        Tasks are stopped then, and waited for as long as there is time left.
        """
        self.draining = True
        with trio.move_on_after(seconds):
            # A second round, because the first answer comes in the turn and
            # before its fan-out.
            for _ in range(2):
                replies = []
                for room in list(self.rooms.values()):
                    reply = Reply[Present, None](_forget)
                    command = ListMembers(answer=reply)
                    room.mailbox.post(command, origin=reply, accepted=_nothing)
                    replies.append(reply)
                for reply in replies:
                    # A room that fails meanwhile has nothing left to do.
                    with suppress(RoomActorsError):
                        await reply.wait()
            for stop in list(self._tasks.values()):
                stop()
            for over in list(self._tasks):
                await over.wait()

    async def _run_task(self, run: Callable[[], Awaitable[object]], over: trio.Event) -> None:
        try:
            await run()
        # With a star: an error may come together with the cancellation of the hub.
        except* Exception:
            logger.exception("a task of the hub failed")
        finally:
            del self._tasks[over]
            over.set()

    def _room(self, name: str) -> Room:
        room = self.rooms.get(name)
        if room is None:
            limit = self.settings.max_rooms
            others = len(self.rooms) - (EVERYONE in self.rooms)
            # The room of everyone is none of those that are counted: whoever
            # connects has a seat in it.
            if limit and others >= limit and name != EVERYONE:
                raise BusyError(name)
            room = self.rooms[name] = Room(name, self._new_epoch(), self)
            self._nursery.start_soon(room.run, name=f"room {name}")
            if name == EVERYONE:
                # Not only the first who connects: the room before may have failed.
                for outlet in self.outlets.values():
                    _seat_with_everyone(room, outlet)
        return room

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedHubError
        if self.draining:
            raise DrainingError


def _seat_with_everyone(room: Room, outlet: Outlet) -> None:
    view = MemberView(member=outlet.id, user=outlet.user)
    # One for each connection, so it is bounded as they are.
    room.mailbox.force(Join(view=view, outlet=outlet, hidden=True))


def _forget(_value: object) -> None:
    pass
