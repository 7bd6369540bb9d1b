"""One seat in one room, as its room sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import attrs

from roomactors.core.data import Data

if TYPE_CHECKING:
    from collections import deque

    from roomactors.core.events import LeftReason, Message
    from roomactors.core.log import Log
    from roomactors.core.outlet import Outlet


@final
@attrs.frozen(kw_only=True)
class MemberView:
    """What others may know of a member."""

    member: str
    """Its id, unique in the hub."""
    user: str | None = None
    """The user behind it, where the server knows one."""
    info_payload: Data | None = None

    @property
    def info(self) -> object:
        """What it says of itself, fresh at each access; None if nothing."""
        return None if self.info_payload is None else self.info_payload.value()


@final
@attrs.define(eq=False)
class Member:
    """One join. The object is the token: a late leave of an earlier join names another one.

    The room changes `view` and `number`; `cursor` is changed by whoever serves
    the member: the room's fan-out, or its outlet when it reads from the log.
    """

    view: MemberView
    outlet: Outlet
    log: Log
    cursor: int = 0
    """The number of the last event that it has been given."""
    hidden: bool = False
    """In no roster, and announced to nobody: a connection's seat in the room of everyone."""
    number: int = 0
    """Its place in the order of joins."""
    end: int | None = None
    """The last number it is to get, once it has left; None while it is in."""
    reason: LeftReason | None = None
    """Why it has left; None while it is in."""
    leaving: bool = False
    """A leave of this seat is on its way; there is never a second."""
    volatile: deque[tuple[int, Message]] | None = None
    """Of a member in this process: volatile messages that it has not read, each with the number
    of the event before it."""
    card: bytes = b""
    """This member as a codec writes it in a roster, kept by that codec; empty when out of date."""
    id: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.id = self.view.member
