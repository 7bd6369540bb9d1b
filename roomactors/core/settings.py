"""Every bound of a room and of a hub, with its default, its unit and its reason.

``docs/reference/bounds.md`` is generated from what is written here, so a
bound cannot exist without saying why it is what it is.
"""

from __future__ import annotations

from typing import TypeVar, final

import attrs

Number = TypeVar("Number", int, float)

KIB = 1024
MIB = 1024 * 1024


def bound(default: Number, unit: str, reason: str, *, least: Number | None = None) -> Number:
    """Declare a bound: a number of `unit`, and the sentence that says why it is that number.

    Args:
      default: the value where nobody gives another.
      unit: of what it counts, for the table and for error messages.
      reason: one sentence.
      least: the smallest value that makes sense; 0 turns a bound off only
        where this is 0.
    """
    smallest = 0 if least is None else least
    # What is counted is counted in whole numbers; a time may be any.
    kind = type(default)

    def check(_instance: object, attribute: attrs.Attribute[Number], value: Number) -> None:
        if isinstance(value, bool) or not isinstance(value, int | kind):
            raise TypeError(f"{attribute.name} is a number of {unit}, not {value!r}")
        if not value >= smallest or value == float("inf"):
            raise ValueError(f"{attribute.name} is at least {smallest} {unit}, not {value!r}")

    made: Number = attrs.field(
        default=default,
        validator=check,
        metadata={"unit": unit, "reason": reason, "least": smallest},
    )
    return made


@final
@attrs.frozen(kw_only=True)
class RoomSettings:
    """What one room may hold."""

    max_members: int = bound(
        10_000,
        "members",
        "fanning out to 10,000 takes about 50 ms of one core; 0 is no limit",
    )
    mailbox_commands: int = bound(
        1024,
        "commands",
        "a turn's work; what finds no place waits where it came from",
        least=1,
    )
    mailbox_bytes: int = bound(
        MIB,
        "bytes",
        "sixteen messages of the largest size a connection may send",
        least=1,
    )
    mailbox_share: int = bound(
        32,
        "commands",
        "what one connection may have waiting, so that a flood leaves room for the others",
        least=1,
    )
    turn_bytes: int = bound(
        256 * KIB,
        "bytes",
        "the most that one turn writes to one member; about what a socket takes at once",
        least=1,
    )
    log_messages: int = bound(
        1000,
        "messages",
        "what a slow member can fall behind before it sees a gap",
        least=1,
    )
    log_bytes: int = bound(
        MIB,
        "bytes",
        "a room's memory for its log, encoded frames included",
        least=1,
    )
    log_seconds: float = bound(
        300.0,
        "seconds",
        "older news is asked for elsewhere",
        least=1,
    )
    log_floor: int = bound(
        64,
        "events",
        "kept whatever the other limits say, so that a room of large messages has a log at all",
        least=1,
    )
    linger_seconds: float = bound(
        5.0,
        "seconds",
        "a room that empties stays this long, for a member that reloads its page",
    )


@final
@attrs.frozen(kw_only=True)
class HubSettings:
    """What a hub may hold, and what each of its rooms may."""

    room: RoomSettings = attrs.field(factory=RoomSettings)
    max_rooms: int = bound(
        100_000,
        "rooms",
        "each is a task of about 10 KiB; 0 is no limit",
    )
    max_rooms_per_member: int = bound(
        100,
        "rooms",
        "one member's places; 0 is no limit",
    )
    data_bytes: int = bound(
        64 * KIB,
        "bytes",
        "one value as JSON: a message's data, when a program broadcasts it",
        least=1,
    )
    info_bytes: int = bound(
        KIB,
        "bytes",
        "one member's public info as JSON; a roster carries 200 of them",
        least=2,
    )
    drain_seconds: float = bound(
        5.0,
        "seconds",
        "for the rooms to finish what they have taken when a hub closes",
    )
    hook_queue: int = bound(
        10_000,
        "notifications",
        "what waits for a slow hook; what comes above it is counted and reported, not kept",
        least=1,
    )
    volatile_queue: int = bound(
        64,
        "messages",
        "volatile messages that wait for a member in this process which is about to read",
    )
