"""Every bound, as the code declares it, with what happens one over it.

The numbers, units and reasons are read from the code. What happens one over is
said here, and the test of the bound in `test_bounds` finds the same.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, final

import attrs

from roomactors import ConnectionManager, HubSettings, RoomSettings, ServerSettings
from roomactors.cli import _LIMITS


@final
@attrs.frozen(kw_only=True)
class Bound:
    """One row of the table."""

    name: str
    default: float
    unit: str
    reason: str
    over: str
    flag: str | None = None


OVER: Final = {
    "RoomSettings.max_members": "`error` `room_full`, `RoomFullError`; `/raw` closes with 1013",
    "RoomSettings.mailbox_commands": "the command waits in line, and its sender is not read",
    "RoomSettings.mailbox_bytes": "the command waits in line, and its sender is not read",
    "RoomSettings.mailbox_share": "the command waits in line, and its sender is not read; "
    "the commands of others go past it",
    "RoomSettings.turn_bytes": "the rest is handled in the next turn",
    "RoomSettings.log_messages": "the oldest goes; who had not got it hears `gap`",
    "RoomSettings.log_bytes": "the oldest goes; who had not got it hears `gap`",
    "RoomSettings.log_seconds": "the oldest goes; who had not got it hears `gap`",
    "RoomSettings.log_floor": "the oldest goes, if another limit says so",
    "RoomSettings.linger_seconds": "the room ends; made again, it has a new epoch",
    "HubSettings.max_rooms": "`error` `busy`, `BusyError`",
    "HubSettings.max_rooms_per_member": "`error` `too_many_rooms`, `TooManyRoomsError`",
    "HubSettings.data_bytes": "`TooLargeError`",
    "HubSettings.info_bytes": "`error` `too_large`, `TooLargeError`",
    "HubSettings.drain_seconds": "the hub closes all the same",
    "HubSettings.hook_queue": "the hook is not called for it, and "
    "`HubStatistics.hooks_missed` counts it",
    "HubSettings.volatile_queue": "the oldest of them is dropped",
    "ServerSettings.max_message_bytes": "closed with 1009",
    "ServerSettings.max_fragments": "closed with 1008",
    "ServerSettings.max_connections": "HTTP 503",
    "ServerSettings.max_connections_per_address": "HTTP 429",
    "ServerSettings.broadcasts_per_second": "`error` `rate_limited`; `/raw` is read more slowly",
    "ServerSettings.excess_seconds": "closed with 4029",
    "ServerSettings.bad_messages": "closed with 1008",
    "ServerSettings.opening_seconds": "the socket is closed",
    "ServerSettings.heartbeat_seconds": "a ping",
    "ServerSettings.pong_seconds": "the connection is reset",
    "ServerSettings.idle_seconds": "closed with 1008",
    "ServerSettings.message_seconds": "closed with 1008",
    "ServerSettings.progress_seconds": "the connection is reset, "
    "or closed with 4008 if it takes that much",
    "ServerSettings.close_seconds": "the socket is closed",
    "ServerSettings.close_discard_bytes": "the socket is closed",
    "ServerSettings.drain_seconds": "what is still open is cut off",
    "ServerSettings.own_bytes": "it is not read until it has taken some",
    "ServerSettings.catch_up_bytes": "the next room's turn comes first",
    "ServerSettings.read_bytes": "the rest is read after the others' turn",
    "ServerSettings.unsent_bytes": "the kernel takes nothing more; the log keeps the rest",
    "ConnectionManager.send_seconds": "removed, with the reason `send_timed_out`",
    "MAX_ROOM_NAME_BYTES": "`error` `bad_room_name`, `RoomNameError`; HTTP 400 at `/raw`",
    "MAX_MEMBER_ID_BYTES": "`MemberIdError`; `error` `bad_message` in `except`",
    "MAX_REF_BYTES": "`error` `bad_message`",
    "MAX_EXCEPT": "`error` `too_large`",
    "MAX_MEMBERS_PAGE": "`error` `bad_message` for a `limit` above it; "
    "a roster goes on at `members_next`",
    "LONGEST_RUN_OF_SINGLES": "one `presence` in place of them all",
    "MAX_DEPTH": "`error` `bad_json`, `InvalidDataError`",
    "MAX_HEAD_BYTES": "HTTP 431",
    "MAX_USER_BYTES": "HTTP 500, and the reason is logged",
    "BURST_SECONDS": "`error` `rate_limited`; `/raw` is read more slowly",
    "BAD_MESSAGES_SECONDS": "the earlier ones do not count any more",
    "REFUSALS_AT_ONCE": "the socket is reset without a word",
}
"""What happens one over each bound."""

_OWNERS: Final = (RoomSettings, HubSettings, ServerSettings)

_CONSTANTS: Final = (
    ("roomactors.core.names", "MAX_ROOM_NAME_BYTES", "bytes"),
    ("roomactors.core.names", "MAX_MEMBER_ID_BYTES", "bytes"),
    ("roomactors.protocol.codec", "MAX_REF_BYTES", "bytes"),
    ("roomactors.protocol.codec", "MAX_EXCEPT", "member ids"),
    ("roomactors.protocol.codec", "MAX_MEMBERS_PAGE", "members"),
    ("roomactors.protocol.json_v1", "LONGEST_RUN_OF_SINGLES", "events"),
    ("roomactors.protocol.json_data", "MAX_DEPTH", "levels"),
    ("roomactors.server.head", "MAX_HEAD_BYTES", "bytes"),
    ("roomactors.server.admission", "MAX_USER_BYTES", "bytes"),
    ("roomactors.server.rate", "BURST_SECONDS", "seconds"),
    ("roomactors.server.connection", "BAD_MESSAGES_SECONDS", "seconds"),
    ("roomactors.server.listen", "REFUSALS_AT_ONCE", "connections"),
)
"""Bounds that are constants: the module, the name, and the unit."""


def settings_bounds(owner: type[attrs.AttrsInstance]) -> Iterator[Bound]:
    """The bounds of one class of settings, in the order of declaration."""
    flags = {f"{of.__name__}.{name}": flag for flag, of, name in _LIMITS}
    for field in attrs.fields(owner):
        if "unit" not in field.metadata:
            continue
        name = f"{owner.__name__}.{field.name}"
        yield Bound(
            name=name,
            default=field.default,
            unit=field.metadata["unit"],
            reason=field.metadata["reason"],
            over=OVER[name],
            flag=flags.get(name),
        )


def argument_bounds() -> Iterator[Bound]:
    """The bounds that are arguments of a class."""
    name = "ConnectionManager.send_seconds"
    yield Bound(
        name=name,
        default=inspect.signature(ConnectionManager).parameters["send_seconds"].default,
        unit="seconds",
        reason="one send of your own connection's, from its call to its return",
        over=OVER[name],
    )


def constant_bounds() -> Iterator[Bound]:
    """The bounds that are constants, with their docstrings for reasons."""
    for module_name, name, unit in _CONSTANTS:
        module = importlib.import_module(module_name)
        yield Bound(
            name=name,
            default=getattr(module, name),
            unit=unit,
            reason=_docstring(inspect.getsource(module), name),
            over=OVER[name],
        )


def all_bounds() -> list[Bound]:
    """Every bound there is."""
    settings = [bound for owner in _OWNERS for bound in settings_bounds(owner)]
    return [*settings, *argument_bounds(), *constant_bounds()]


def _docstring(source: str, name: str) -> str:
    """The string under a module's constant, on one line."""
    body = ast.parse(source).body
    for statement, following in pairwise(body):
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found))
            ):
                if found == name and isinstance(following, ast.Expr):
                    return " ".join(str(ast.literal_eval(following.value)).split())
    raise LookupError(f"{name} has no docstring")
