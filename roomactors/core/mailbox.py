"""A room's queue of commands: bounded for what is asked, and never for leaves.

Who finds no place does not try again: its one command stands in line before
the mailbox, in order, and it is told when the command has been taken in. So
nobody who comes later gets the place, and what it sends further waits where
it comes from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import final

import attrs
import trio

from roomactors.core.commands import Command, Join, Leave, size_of
from roomactors.core.settings import RoomSettings


@final
@attrs.define(eq=False)
class Waiter:
    """A command that found no place, and whom to tell when it has one."""

    command: Command
    origin: object
    accepted: Callable[[], None]
    withdrawn: bool = False
    """Set by the one who waits, when it will not have the command done any more."""


@final
class Mailbox:
    """Commands in the order in which they were taken in.

    Args:
      settings: how many commands and bytes, and how many of one origin.
    """

    def __init__(self, settings: RoomSettings) -> None:
        self._settings = settings
        self._commands: deque[tuple[Command, object, int]] = deque()
        self._shares: dict[object, int] = {}
        self._line: deque[Waiter] = deque()
        # Those who wait for their own share stand apart, so that a flood is
        # not in front of anybody. They are few: each holds a full share.
        self._over_share: deque[Waiter] = deque()
        self._room: trio.lowlevel.Task | None = None
        self._counted = 0
        self.size = 0

    def __len__(self) -> int:
        return len(self._commands)

    @property
    def waiting(self) -> int:
        """How many commands stand in line for a place."""
        return sum(not waiter.withdrawn for waiter in (*self._line, *self._over_share))

    def post(
        self, command: Command, *, origin: object, accepted: Callable[[], None]
    ) -> Waiter | None:
        """Put a command in, or in line.

        Args:
          command: what is asked.
          origin: who holds the place; one may hold `mailbox_share` of them.
          accepted: called, during a turn of the room, when a command that had
            to stand in line has got its place.

        Returns:
          None if it has a place; else the waiter, to withdraw it by.
        """
        size = size_of(command)
        in_share = self._in_share(origin)
        if in_share and not self._line and self._has_place(size):
            self._take_in(command, origin, size)
            return None
        waiter = Waiter(command, origin, accepted)
        (self._line if in_share else self._over_share).append(waiter)
        return waiter

    def force(self, command: Leave | Join) -> None:
        """Put in what there is at most one of per seat, whatever waits: its bound is the seats'."""
        self._commands.append((command, None, 0))
        self._wake()

    def take(self) -> Command:
        """The oldest command, out of the queue; there is one."""
        command, origin, size = self._commands.popleft()
        if origin is not None:
            self._counted -= 1
            self.size -= size
            held = self._shares[origin] - 1
            if held:
                self._shares[origin] = held
            else:
                del self._shares[origin]
        return command

    def admit_waiting(self) -> None:
        """Give free places to those in line, in order. The room calls it when it has taken some."""
        if self._over_share:
            still = deque[Waiter]()
            for waiter in self._over_share:
                (self._line if self._in_share(waiter.origin) else still).append(waiter)
            self._over_share = still
        line = self._line
        while line:
            waiter = line[0]
            if waiter.withdrawn:
                line.popleft()
                continue
            if not self._in_share(waiter.origin):
                # It had several in line, and the first of them took its share.
                self._over_share.append(line.popleft())
                continue
            size = size_of(waiter.command)
            if not self._has_place(size):
                break
            line.popleft()
            self._take_in(waiter.command, waiter.origin, size)
            waiter.accepted()

    async def wait(self) -> None:
        """Wait until there is a command. A checkpoint in any case; only the room calls it."""
        if self._commands:
            await trio.lowlevel.checkpoint()
            return

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._room = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._room = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def empty_out(self) -> list[Command]:
        """Everything that waits inside and in line, for a room that ends without handling it.

        Who stands in line is told, as if its command had got a place: it need
        not wait for this room any more.
        """
        rest = [command for command, _, _ in self._commands]
        line = [waiter for waiter in (*self._line, *self._over_share) if not waiter.withdrawn]
        rest += [waiter.command for waiter in line]
        self._commands.clear()
        self._line.clear()
        self._over_share.clear()
        self._shares.clear()
        self._counted = 0
        self.size = 0
        for waiter in line:
            waiter.accepted()
        return rest

    def _in_share(self, origin: object) -> bool:
        return self._shares.get(origin, 0) < self._settings.mailbox_share

    def _has_place(self, size: int) -> bool:
        # A byte bound always admits one command, however large.
        return self._counted < self._settings.mailbox_commands and (
            not self._counted or self.size + size <= self._settings.mailbox_bytes
        )

    def _take_in(self, command: Command, origin: object, size: int) -> None:
        self._commands.append((command, origin, size))
        self._counted += 1
        self.size += size
        self._shares[origin] = self._shares.get(origin, 0) + 1
        self._wake()

    def _wake(self) -> None:
        if self._room is not None:
            trio.lowlevel.reschedule(self._room)
            self._room = None
