"""A room's queue: bounded, fair, and always open to leaves."""

from __future__ import annotations

from collections import Counter

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from roomactors.core.commands import COMMAND_BYTES, Broadcast, Command, Join, Leave, size_of
from roomactors.core.mailbox import Mailbox, Waiter
from roomactors.core.member import MemberView
from roomactors.core.outlet import LocalOutlet
from roomactors.core.settings import RoomSettings
from tests.core.fakes import settle, text


def say(words: str = "") -> Broadcast:
    return Broadcast(data=text(words))


LEAVE = Leave(member="ada", reason="left")


def nothing() -> None:
    pass


def mailbox(**bounds: int) -> Mailbox:
    return Mailbox(RoomSettings(**{"mailbox_share": 1000, **bounds}))


def words(box: Mailbox) -> list[str]:
    """Take everything; what was said."""
    return [
        bytes(command.data).decode() if isinstance(command := box.take(), Broadcast) else "leave"
        for _ in range(len(box))
    ]


def test_a_command_counts_its_data() -> None:
    """A broadcast's data and a join's info are what makes a command large."""
    outlet = LocalOutlet("ada", None, volatile_queue=1)
    view = MemberView(member="ada", info_payload=text("12345"))
    assert size_of(say("123")) == COMMAND_BYTES + 3
    assert size_of(Join(view=view, outlet=outlet)) == COMMAND_BYTES + 5
    assert size_of(Join(view=MemberView(member="ada"), outlet=outlet)) == COMMAND_BYTES
    assert size_of(LEAVE) == COMMAND_BYTES


def test_commands_come_out_as_they_went_in() -> None:
    """First in, first out, forced ones among the others."""
    box = mailbox()
    for said in "ab":
        assert box.post(say(said), origin=said, accepted=nothing) is None
    box.force(LEAVE)
    assert box.post(say("c"), origin="c", accepted=nothing) is None
    assert words(box) == ["a", "b", "leave", "c"]
    assert box.size == 0


def test_what_finds_no_place_stands_in_line_in_order() -> None:
    """Who comes later does not overtake, even where its own command would fit."""
    box = mailbox(mailbox_bytes=2 * COMMAND_BYTES + 10)
    told: list[str] = []
    box.post(say("12345678"), origin="a", accepted=nothing)
    assert box.post(say("large now"), origin="b", accepted=lambda: told.append("b")) is not None
    assert box.post(say(""), origin="c", accepted=lambda: told.append("c")) is not None
    assert (len(box), box.waiting, told) == (1, 2, [])
    box.take()
    box.admit_waiting()
    assert (len(box), box.waiting, told) == (2, 0, ["b", "c"])
    assert words(box) == ["large now", ""]


def test_one_command_has_a_place_however_large_it_is() -> None:
    """A byte bound that refused it would refuse it for ever."""
    box = mailbox(mailbox_bytes=1)
    assert box.post(say("much too large"), origin="a", accepted=nothing) is None
    assert box.post(say(""), origin="b", accepted=nothing) is not None


def test_a_full_mailbox_takes_a_leave_at_once() -> None:
    """And that leave takes nobody's place."""
    box = mailbox(mailbox_commands=1)
    box.post(say("a"), origin="a", accepted=nothing)
    box.force(LEAVE)
    assert box.post(say("b"), origin="b", accepted=nothing) is not None
    assert words(box) == ["a", "leave"]
    box.admit_waiting()
    assert words(box) == ["b"]


def test_a_flood_waits_for_its_own_share_and_nobody_else_does() -> None:
    """One origin that is over its share stands apart from the line."""
    box = mailbox(mailbox_share=2)
    for said in "abc":
        box.post(say(said), origin="flood", accepted=nothing)
    assert (len(box), box.waiting) == (2, 1)
    assert box.post(say("x"), origin="other", accepted=nothing) is None
    assert words(box) == ["a", "b", "x"]
    box.admit_waiting()
    assert words(box) == ["c"]


def test_several_in_line_take_no_more_than_their_origin_s_share() -> None:
    """However many of one origin wait, the share is what it gets at a time."""
    box = mailbox(mailbox_share=2)
    for said in "abcdefg":
        box.post(say(said), origin="flood", accepted=nothing)
    taken = []
    while len(box):
        assert len(box) <= 2
        taken += words(box)
        box.admit_waiting()
    assert taken == list("abcdefg")


def test_a_waiter_that_has_withdrawn_is_passed_over() -> None:
    """Neither is its command taken in, nor is it told; nor does it count as waiting."""
    box = mailbox(mailbox_commands=1)
    told: list[str] = []
    box.post(say("a"), origin="a", accepted=nothing)
    waiter = box.post(say("b"), origin="b", accepted=lambda: told.append("b"))
    box.post(say("c"), origin="c", accepted=lambda: told.append("c"))
    assert waiter is not None
    waiter.withdrawn = True
    assert box.waiting == 1
    box.take()
    box.admit_waiting()
    assert (words(box), told) == (["c"], ["c"])


def test_an_ended_mailbox_gives_back_all_and_tells_those_in_line() -> None:
    """Nobody goes on waiting for a room that has ended; who withdrew is not asked any more."""
    box = mailbox(mailbox_commands=2, mailbox_share=1)
    told: list[str] = []
    box.post(say("a"), origin="a", accepted=nothing)
    box.post(say("a2"), origin="a", accepted=lambda: told.append("a2"))
    box.post(say("b"), origin="b", accepted=nothing)
    box.post(say("c"), origin="c", accepted=lambda: told.append("c"))
    gone = box.post(say("d"), origin="d", accepted=lambda: told.append("d"))
    assert gone is not None
    gone.withdrawn = True
    box.force(LEAVE)
    rest = box.empty_out()
    said = [bytes(command.data) for command in rest if isinstance(command, Broadcast)]
    assert said == [b"a", b"b", b"c", b"a2"]
    assert LEAVE in rest
    assert told == ["c", "a2"]
    assert (len(box), box.size, box.waiting) == (0, 0, 0)


async def test_the_room_is_woken_by_a_command() -> None:
    """By a posted one and by a forced one."""
    for wake in ("post", "force"):
        box = mailbox()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.wait)
            await settle()
            if wake == "post":
                box.post(say(), origin="a", accepted=nothing)
            else:
                box.force(LEAVE)
        with trio.testing.assert_checkpoints():
            await box.wait()


async def test_a_cancelled_wait_leaves_the_mailbox_as_it_was() -> None:
    """A command that comes afterwards waits for the next one to look."""
    box = mailbox()
    with trio.move_on_after(0):
        await box.wait()
    box.post(say("a"), origin="a", accepted=nothing)
    await box.wait()
    assert words(box) == ["a"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("post"), st.integers(0, 3), st.integers(0, 40)),
        st.tuples(st.just("withdraw"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("force"), st.just(0), st.just(0)),
        st.tuples(st.just("turn"), st.integers(0, 4), st.just(0)),
    ),
    max_size=50,
)


@given(STEPS, st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_nothing_is_lost_or_reordered_and_no_bound_is_passed(
    steps: list[tuple[str, int, int]], commands: int, share: int, sizes: int
) -> None:
    """Whoever posts, withdraws and takes: each origin's commands come out once and in order."""
    most_bytes = sizes * (COMMAND_BYTES + 20)
    box = mailbox(mailbox_commands=commands, mailbox_share=share, mailbox_bytes=most_bytes)
    posted: dict[int, list[Command]] = {origin: [] for origin in range(4)}
    origin_of: dict[Command, int] = {}
    waiters: list[Waiter] = []
    withdrawn: set[Command] = set()
    accepted: set[Command] = set()
    taken: list[Command] = []
    forced = 0

    def take(most: int) -> None:
        taken.extend(box.take() for _ in range(min(most, len(box))))
        box.admit_waiting()

    for what, number, size in steps:
        match what:
            case "post":
                command = say("x" * size)
                posted[number].append(command)
                origin_of[command] = number

                def told(command: Command = command) -> None:
                    accepted.add(command)

                waiter = box.post(command, origin=number, accepted=told)
                if waiter is None:
                    accepted.add(command)
                else:
                    waiters.append(waiter)
            case "withdraw" if waiters:
                waiter = waiters[number % len(waiters)]
                if waiter.command not in accepted:
                    waiter.withdrawn = True
                    withdrawn.add(waiter.command)
            case "force":
                box.force(LEAVE)
                forced += 1
            case "turn":
                take(number)
            case _:
                pass
        inside = [command for command in accepted if command not in taken]
        assert len(inside) <= commands
        assert max(Counter(origin_of[command] for command in inside).values(), default=0) <= share
        assert box.size == sum(map(size_of, inside))
        assert len(inside) <= 1 or box.size <= most_bytes
        assert box.waiting == len(origin_of) - len(accepted) - len(withdrawn)
    while len(box):
        take(100)
    for origin, its in posted.items():
        ours = [command for command in taken if origin_of.get(command) == origin]
        assert ours == [command for command in its if command not in withdrawn]
    assert taken.count(LEAVE) == forced
