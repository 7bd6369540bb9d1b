"""How a command is answered: once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, cast

import trio

from roomactors.errors import RoomActorsError

T = TypeVar("T")
U = TypeVar("U")
T_contra = TypeVar("T_contra", contravariant=True)


class Answer(Protocol[T_contra]):
    """Where the room puts its answer, at once and without waiting.

    `abandoned` is true when nobody waits for the answer any more; the room
    then does not do what was asked.
    """

    @property
    def abandoned(self) -> bool:
        """Whether the one who asked has gone."""

    @property
    def done(self) -> bool:
        """Whether it has been answered."""

    def set(self, value: T_contra) -> None:
        """It is done."""

    def fail(self, error: RoomActorsError) -> None:
        """It is refused, and nothing changed."""


class Reply(Generic[T, U]):
    """An answer for a task that waits for it.

    Cancelling the wait withdraws the command: either the room has handled it,
    and then `wait` returns although it was cancelled, or the room never will.

    Args:
      read: makes what the task gets of what the room gives, in the room's
        turn, since what a room gives may be its own live state.
    """

    __slots__ = ("_error", "_read", "_task", "_value", "abandoned", "done")

    def __init__(self, read: Callable[[T], U]) -> None:
        self.abandoned = False
        self.done = False
        self._read = read
        self._value: U | None = None
        self._error: RoomActorsError | None = None
        self._task: trio.lowlevel.Task | None = None

    def set(self, value: T) -> None:
        """Hand over the value; the waiting task runs on in the loop's next pass."""
        self._value = self._read(value)
        self._finish()

    def fail(self, error: RoomActorsError) -> None:
        """Hand over an error, which `wait` raises."""
        self._error = error
        self._finish()

    def _finish(self) -> None:
        assert not self.done
        self.done = True
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def wait(self) -> U:
        """The answer, waited for if it has not come; the others run in any case.

        Raises:
          RoomActorsError: the answer was one.
        """
        if self.done:
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:

            def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
                self.abandoned = True
                self._task = None
                return trio.lowlevel.Abort.SUCCEEDED

            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(abort)
        if self._error is not None:
            raise self._error
        return cast(U, self._value)  # done without an error, so `set` was called


def same(value: T) -> T:
    """What a `Reply` reads when the room's answer is the task's."""
    return value
