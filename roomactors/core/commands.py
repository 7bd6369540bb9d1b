"""What can be asked of a room: frozen values, and what the answers are.

Later commands (asking room logic, sending to one member, history) stand
beside these, and in `Command`.
"""

from __future__ import annotations

from typing import final

import attrs

from roomactors.core.data import Data
from roomactors.core.events import NOBODY, LeftReason
from roomactors.core.log import Log
from roomactors.core.member import Member, MemberView
from roomactors.core.outlet import Outlet
from roomactors.core.reply import Answer
from roomactors.core.roster import Roster


@final
@attrs.frozen(kw_only=True)
class Receipt:
    """What a broadcast became."""

    room: str
    epoch: str
    seq: int | None
    """Its number in the room's log; None if it was volatile."""


@final
@attrs.frozen(kw_only=True, eq=False)
class Joined:
    """What a join became. Log and roster are the room's own: read them at once, or never."""

    member: Member
    log: Log
    seq: int
    """The last event before this join's own; the roster is as of here."""
    roster: Roster | None
    """Oneself included; None where presence is off."""
    count: int


@final
@attrs.frozen(kw_only=True, eq=False)
class Present:
    """Who is in the room; the log and the roster are the room's own."""

    log: Log
    roster: Roster | None
    count: int


@final
@attrs.frozen(kw_only=True, eq=False)
class Join:
    """Add a member.

    Answered with `Joined`, after its outlet has been told; refused with
    `RoomFullError`, `TooManyRoomsError`, `MemberIdTakenError`, or, if its
    outlet has been closed meanwhile, `NoSuchMemberError`. The others are told
    when the turn fans out.
    """

    view: MemberView
    outlet: Outlet
    hidden: bool = False
    again: bool = False
    """Whether a second join by the same outlet is answered like the first."""
    keep_info: bool = False
    """A second join leaves the member's info as it is."""
    ref: object = None
    """For the outlet: which request this was."""
    answer: Answer[Joined] | None = None


@final
@attrs.frozen(kw_only=True, eq=False)
class Leave:
    """Remove a member; idempotent. Answered with whether there was one to remove."""

    member: str
    seat: Member | None = None
    """Remove exactly this seat, and not a later one of the same id."""
    outlet: Outlet | None = None
    """Remove the member only if it is this outlet's."""
    reason: LeftReason
    ref: object = None
    answer: Answer[bool] | None = None


@final
@attrs.define(kw_only=True, eq=False)  # one per message: frozen doubles the cost of making it
class Broadcast:
    """Send data to every member. Answered with a `Receipt`; refused with `NotAMemberError`."""

    data: Data
    sender: str | None = None
    """A member id, which must be in the room; None for the server."""
    outlet: Outlet | None = None
    """The sender's; somebody else's member id is not enough."""
    echo: bool = True
    """Whether the sender gets it too."""
    excluded: frozenset[str] = NOBODY
    volatile: bool = False
    answer: Answer[Receipt] | None = None


@final
@attrs.frozen(kw_only=True, eq=False)
class ListMembers:
    """Who is in the room? Answered with `Present`; refused with `NotAMemberError`."""

    sender: str | None = None
    outlet: Outlet | None = None
    answer: Answer[Present]


Command = Join | Leave | Broadcast | ListMembers

COMMAND_BYTES = 300
"""What a command counts beside its data, by sys.getsizeof of one with its answer."""


def data_size(command: Command) -> int:
    """Bytes of the data that a command carries, and that its event will carry."""
    if isinstance(command, Broadcast):
        return len(command.data)
    if isinstance(command, Join) and command.view.info_payload is not None:
        return len(command.view.info_payload)
    return 0


def size_of(command: Command) -> int:
    """Bytes that the mailbox counts for a command."""
    return COMMAND_BYTES + data_size(command)
