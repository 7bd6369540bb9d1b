"""The room task: what one turn does, command by command and as a whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from roomactors.core.batch import Batch
from roomactors.core.budget import SLICE_SECONDS
from roomactors.core.commands import Join, Joined
from roomactors.core.events import LeftReason
from roomactors.core.fanout import LOOK_EVERY
from roomactors.core.hub import Hub
from roomactors.core.member import Member, MemberView
from roomactors.core.outlet import LocalOutlet, Outlet
from roomactors.core.room import LIGHT_MEMBERS
from roomactors.core.settings import HubSettings, RoomSettings
from roomactors.errors import (
    BrokenRoomError,
    MemberIdTakenError,
    NoSuchMemberError,
    NotAMemberError,
    RoomFullError,
    TooManyRoomsError,
)
from tests.core.fakes import (
    Client,
    Clock,
    Lines,
    Outcome,
    Passes,
    Stopwatch,
    connect,
    heard,
    open_hub,
    settle,
    text,
)


def nothing() -> None:
    pass


class BadlySeated(Outlet):
    """An outlet with a bug: it raises when it is given a seat."""

    def seated(self, joined: Joined, ref: object) -> None:
        raise ValueError("a bug")

    def deliver(self, member: Member, batch: Batch) -> None:
        pass

    def taken(self, member: Member, batch: Batch, count: int) -> None:
        pass

    def broken(self, error: Exception) -> None:
        pass

    def finish(self, member: Member, ref: object) -> None:
        pass

    def flush(self) -> None:
        pass

    def end(self, reason: LeftReason) -> None:
        pass


# What is refused, and that nothing has changed then


async def test_a_room_that_is_full_takes_nobody_in() -> None:
    """The place of one who leaves is free at once."""
    async with open_hub(room=RoomSettings(max_members=1)) as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        refused = bob.join("tea")
        await settle()
        assert isinstance(refused.error, RoomFullError)
        assert hub.rooms_of("bob") == []
        ada.leave("tea")
        taken = bob.join("tea")
        await settle()
        assert taken.value is not None


async def test_a_member_has_a_number_of_rooms_and_no_more() -> None:
    """The room of everyone is none of them; a room that was left frees its place."""
    async with open_hub(HubSettings(max_rooms_per_member=2)) as hub:
        ada = connect(hub, "ada")
        for name in ("a", "b"):
            ada.join(name)
            await settle()
        refused = ada.join("c")
        await settle()
        assert isinstance(refused.error, TooManyRoomsError)
        assert hub.rooms_of("ada") == ["a", "b"]
        ada.leave("a")
        await settle()
        taken = ada.join("c")
        await settle()
        assert taken.value is not None


async def test_a_seat_that_is_given_up_takes_no_place_any_more() -> None:
    """Its room need not have heard of the leave when the next one decides."""
    async with open_hub(HubSettings(max_rooms_per_member=1)) as hub:
        ada = connect(hub, "ada")
        ada.join("a")
        await settle()
        outcome = ada.join("b")
        hub.keeper.leave_now(ada.peer.members["a"], "left")
        hub.keeper.rooms["a"].mailbox.take()
        await settle()
        assert outcome.value is not None


async def test_a_limit_of_zero_is_none() -> None:
    """The operator's way to say: no bound."""
    settings = HubSettings(max_rooms_per_member=0, room=RoomSettings(max_members=0))
    async with open_hub(settings) as hub:
        clients = [connect(hub, name) for name in "abc"]
        outcomes = [client.join(name) for client in clients for name in ("tea", "jam")]
        await settle()
        assert all(outcome.value for outcome in outcomes)


async def test_an_id_is_taken_in_a_room_by_one_outlet() -> None:
    """Neither another outlet nor a second join that is not asked for gets it."""
    async with open_hub() as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        other = LocalOutlet("ada", None, volatile_queue=1)
        outcome = Outcome[object]()
        join = Join(view=MemberView(member="ada"), outlet=other, again=True, answer=outcome)
        hub.keeper.post("tea", join, origin=other, accepted=nothing)
        again = ada.join("tea", again=False)
        await settle()
        assert isinstance(outcome.error, MemberIdTakenError)
        assert isinstance(again.error, MemberIdTakenError)


async def test_only_members_speak_and_ask() -> None:
    """Somebody else's id is not enough: it must be one's own outlet."""
    async with open_hub() as hub:
        ada, eve = connect(hub, "ada"), connect(hub, "eve")
        ada.join("tea")
        eve.peer.id = "ada"
        said, asked = eve.say("tea", "I am ada"), eve.ask_members("tea")
        await settle()
        assert isinstance(said.error, NotAMemberError)
        assert isinstance(asked.error, NotAMemberError)
        assert ada.peer.of("tea") == ["joined 0: ada"]
        eve.peer.id = "eve"


async def test_whoever_is_gone_before_the_turn_is_not_seated() -> None:
    """The join of a connection that closed meanwhile is refused."""
    async with open_hub() as hub:
        ada = connect(hub, "ada")
        outcome = ada.join("tea")
        ada.hang_up()
        await settle()
        assert isinstance(outcome.error, NoSuchMemberError)
        assert hub.rooms() == []


async def test_a_question_that_nobody_waits_for_is_not_done() -> None:
    """Who gave up before the turn finds nothing changed."""
    async with open_hub() as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        said = ada.say("tea", "never mind")
        said.abandoned = True
        await settle()
        assert not said.done
        assert hub.room("tea").statistics().seq == 1


# Joining, leaving, and joining again


async def test_who_joins_is_answered_and_the_others_are_told() -> None:
    """The answer names the number before the join and the roster as of there."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        ada.say("tea", "anyone?")
        bob.join("tea", info="a cat")
        await settle()
        assert ada.peer.of("tea") == ["joined 0: ada", "2 ada: anyone?", "3 +bob(a cat)"]
        assert bob.peer.of("tea") == ["joined 2: ada bob"]


async def test_a_second_join_is_answered_again_and_told_to_nobody() -> None:
    """Not even an unchanged info is news."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea", info="a cat")
        bob.join("tea")
        await settle()
        again = ada.join("tea", info="a cat")
        await settle()
        assert again.value is not None
        assert again.value.seq == 2
        assert ada.peer.of("tea") == ["joined 0: ada", "2 +bob", "joined 2: ada bob"]
        assert bob.peer.of("tea") == ["joined 1: ada bob"]


async def test_a_second_join_with_another_info_replaces_it() -> None:
    """The others hear of it, the card that a codec kept is out of date."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea", info="a cat")
        bob.join("tea")
        await settle()
        seat = ada.peer.members["tea"]
        seat.card = b"ada, a cat"
        ada.join("tea", info="two cats")
        ada.say("tea", "hello")
        await settle()
        assert seat.card == b""
        assert seat.view.info == "two cats"
        assert bob.peer.of("tea")[1:] == ["3 =ada(two cats)", "4 ada: hello"]
        assert ada.peer.of("tea")[2:] == ["joined 2: ada bob", "4 ada: hello"]


async def test_a_hidden_seat_s_second_join_changes_nothing_that_others_see() -> None:
    """Even with an info: nobody sees hidden seats."""
    async with open_hub() as hub:
        ada = connect(hub, "ada")
        await settle()
        view = MemberView(member="ada", info_payload=text("a cat"))
        join = Join(view=view, outlet=ada.peer, hidden=True, again=True)
        hub.keeper.post("$all", join, origin=ada, accepted=nothing)
        await settle()
        assert hub.keeper.rooms["$all"].log.head == 0


async def test_a_join_may_leave_the_info_as_it_is() -> None:
    """As one from the server's side does that gives none."""
    async with open_hub() as hub:
        ada = connect(hub, "ada")
        ada.join("tea", info="a cat")
        await settle()
        await hub.join("ada", "tea")
        assert ada.peer.members["tea"].view.info == "a cat"
        assert hub.room("tea").statistics().seq == 1


async def test_a_leave_names_whom_it_means() -> None:
    """By seat, by outlet or by id; what does not match removes nobody, and says so."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        await settle()
        first = ada.peer.members["tea"]
        bob.peer.id = "ada"
        wrong = bob.leave("tea")
        right = ada.leave("tea")
        again = ada.leave("tea")
        ada.join("tea")
        hub.keeper.leave_now(first, "left")
        await settle()
        bob.peer.id = "bob"
        assert [wrong.value, right.value, again.value] == [False, True, False]
        assert hub.rooms_of("ada") == ["tea"]
        assert await hub.leave("ada", "tea")
        assert hub.rooms_of("ada") == []


async def test_a_protocol_that_nobody_speaks_any_more_is_not_encoded_for() -> None:
    """Its last speaker has left; the others' room goes on."""
    async with open_hub() as hub:
        other = Lines()
        ada, bob, eve = connect(hub, "ada"), connect(hub, "bob", encoder=other), connect(hub, "eve")
        for client in (ada, bob, eve):
            client.join("tea")
        await settle()
        made = len(other.encoded)
        bob.leave("tea")
        eve.leave("tea")
        await settle()
        ada.say("tea", "alone")
        await settle()
        assert [event.seq for event in other.encoded[made:]] == []


# Broadcasting


async def test_a_turn_is_written_in_one_go_and_encoded_once() -> None:
    """However many events and members: one write a member, one frame an event."""
    async with open_hub() as hub:
        lines = Lines()
        clients = [connect(hub, name, encoder=lines) for name in "abcd"]
        for client in clients:
            client.join("tea")
        await settle()
        writes = [client.peer.writes for client in clients]
        made = len(lines.encoded)
        for number in range(5):
            clients[number % 4].say("tea", str(number))
        await settle()
        assert [
            client.peer.writes - before for client, before in zip(clients, writes, strict=True)
        ] == [1] * 4
        assert len(lines.encoded) - made == 5


async def test_who_is_excluded_gets_all_the_rest() -> None:
    """By `echo`, by name, and both; ids of nobody are no error."""
    async with open_hub() as hub:
        ada, bob, eve = (connect(hub, name) for name in ("ada", "bob", "eve"))
        for client in (ada, bob, eve):
            client.join("tea")
        await settle()
        ada.say("tea", "1")
        ada.say("tea", "2", echo=False)
        receipt = ada.say("tea", "3", echo=False, excluded=frozenset({"bob", "nobody"}))
        bob.say("tea", "4")
        await settle()
        got = {client.id: client.peer.of("tea")[-4:] for client in (ada, bob, eve)}
        assert got["ada"][-2:] == ["4 ada: 1", "7 bob: 4"]
        assert got["bob"][-3:] == ["4 ada: 1", "5 ada: 2", "7 bob: 4"]
        assert got["eve"] == ["4 ada: 1", "5 ada: 2", "6 ada: 3", "7 bob: 4"]
        assert receipt.value is not None
        assert (receipt.value.seq, receipt.value.epoch) == (6, hub.room("tea").statistics().epoch)


async def test_a_turn_that_a_protocol_has_no_words_for_is_no_write() -> None:
    """And yet its members are caught up."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob", encoder=Lines(silent=["ada"]))
        ada.join("tea")
        bob.join("tea")
        await settle()
        writes = bob.peer.writes
        ada.say("tea", "hello")
        await settle()
        assert bob.peer.writes == writes
        assert hub.room("tea").statistics().behind == 0


async def test_a_volatile_message_reaches_only_who_is_caught_up() -> None:
    """It has no number and leaves no trace in the log; who is behind never hears of it."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        bob.peer.window = 3
        ada.say("tea", "one")
        await settle()
        receipt = ada.say("tea", "typing", volatile=True)
        ada.say("tea", "two")
        await settle()
        bob.peer.accept(None)
        assert receipt.value is not None
        assert receipt.value.seq is None
        assert ada.peer.of("tea")[-3:] == ["3 ada: one", "~ ada: typing", "4 ada: two"]
        assert bob.peer.of("tea")[-2:] == ["3 ada: one", "4 ada: two"]
        assert hub.room("tea").statistics().seq == 4


async def test_a_message_carries_the_user_and_the_time() -> None:
    """The server's clock, once a turn; the user whom the sender's seat names."""
    clock = Clock()
    async with open_hub(clock=clock) as hub, hub.room("tea").join("ada", user="Ada L.") as seat:
        clock.now = 7_000
        await seat.broadcast("hello")
        await hub.room("tea").broadcast("hello")
        first, second = seat.receive_nowait(), seat.receive_nowait()
        assert (getattr(first, "user", ""), getattr(first, "at", 0)) == ("Ada L.", 7_000)
        assert getattr(second, "user", "") is None


# Turns


async def test_a_turn_ends_when_its_output_is_full() -> None:
    """What one write may carry has a bound; the rest is the next turn."""
    async with open_hub(room=RoomSettings(turn_bytes=1_000)) as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        await settle()
        before = hub.room("tea").statistics().turns
        for _ in range(10):
            ada.say("tea", "x" * 400)
        await settle()
        assert hub.room("tea").statistics().turns - before == 5


async def test_what_members_say_of_themselves_fills_a_turn_too() -> None:
    """Infos are written to everyone like data."""
    async with open_hub(room=RoomSettings(turn_bytes=1_000)) as hub:
        clients = [connect(hub, str(number)) for number in range(10)]
        await settle()
        for client in clients:
            client.join("tea", info="x" * 400)
        await settle()
        assert hub.room("tea").statistics().turns == 5


async def test_a_turn_ends_when_its_time_is_up() -> None:
    """It looks at the clock after every sixteen commands."""
    stopwatch = Stopwatch()
    async with open_hub(stopwatch=stopwatch) as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        await settle()
        before = hub.room("tea").statistics().turns
        for _ in range(40):
            ada.say("tea", "hello").then = lambda: stopwatch.work(SLICE_SECONDS / 8)
        await settle()
        assert hub.room("tea").statistics().turns - before == 3
        assert len(ada.peer.of("tea")) == 41


async def test_statistics_say_how_a_room_is() -> None:
    """Of one that exists, and of one that does not."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        bob.peer.window = 0
        ada.say("tea", "hello")
        await settle()
        look = hub.room("tea").statistics()
        assert (look.members, look.behind, look.seq, look.log_events) == (2, 1, 3, 3)
        assert look.log_bytes == hub.keeper.rooms["tea"].log.size
        assert (look.mailbox_commands, look.mailbox_bytes, look.mailbox_waiting) == (0, 0, 0)
        assert look.epoch is not None
        assert hub.room("jam").statistics().epoch is None


async def test_nothing_is_made_for_those_who_are_gone() -> None:
    """A crowd that hangs up at once costs one frame for who stays, and not one for each of them."""
    async with open_hub() as hub:
        lines = Lines(folds=2)
        clients = [connect(hub, str(number), encoder=lines) for number in range(20)]
        for client in clients:
            client.join("tea")
        await settle()
        lines.folded = 0
        for client in clients[1:]:
            client.hang_up()
        await settle()
        assert lines.folded == 1
        assert clients[0].peer.of("tea")[-1] == "21-39 1 present"


# Sharing the loop


def passes_at_writes(clients: list[Client], stopwatch: Stopwatch, seconds: float) -> list[int]:
    """Have each write take so long; gives the pass of the loop in which each was done."""
    passes = Passes()
    trio.lowlevel.add_instrument(passes)
    at: list[int] = []

    def written() -> None:
        stopwatch.work(seconds)
        at.append(passes.count)

    for client in clients:
        client.peer.when_written = written
    return at


async def crowd(hub: Hub, size: int, *rooms: str) -> list[Client]:
    """So many clients, all of them in these rooms."""
    clients = [connect(hub, f"m{number}") for number in range(size)]
    for client in clients:
        for name in rooms:
            client.join(name)
    await settle()
    return clients


async def test_a_large_fan_out_lets_the_loop_go_round() -> None:
    """After each slice of work the others have their turn."""
    stopwatch = Stopwatch()
    async with open_hub(stopwatch=stopwatch) as hub:
        clients = await crowd(hub, 4 * LOOK_EVERY, "tea")
        at = passes_at_writes(clients, stopwatch, SLICE_SECONDS / LOOK_EVERY)
        clients[0].say("tea", "hello")
        await settle()
        assert [at.count(number) for number in sorted(set(at))] == [LOOK_EVERY] * 4


async def test_serving_those_apart_lets_the_loop_go_round() -> None:
    """Who is excluded from something is served by itself, and that is work too."""
    stopwatch = Stopwatch()
    async with open_hub(stopwatch=stopwatch) as hub:
        clients = await crowd(hub, 20, "tea")
        at = passes_at_writes(clients, stopwatch, SLICE_SECONDS)
        for client in clients:
            client.say("tea", "hello", echo=False)
        await settle()
        assert len(set(at)) == len(at) == 20
        for number, client in enumerate(clients):
            said = [f"{21 + other} m{other}: hello" for other in range(20) if other != number]
            assert client.peer.of("tea")[-19:] == said


async def test_answering_many_lets_the_loop_go_round() -> None:
    """Each answer is a write of its own."""
    stopwatch = Stopwatch()
    async with open_hub(stopwatch=stopwatch) as hub:
        clients = await crowd(hub, 20, "tea")
        passes = Passes()
        trio.lowlevel.add_instrument(passes)
        at: list[int] = []

        def flushed() -> None:
            stopwatch.work(SLICE_SECONDS)
            at.append(passes.count)

        for client in clients:
            client.peer.when_flushed = flushed
            client.ask_members("tea")
        await settle()
        assert len(set(at)) == len(at) == 20


async def test_a_heavy_room_waits_for_its_slice_and_a_light_one_does_not() -> None:
    """A message in a room of two is not behind one to thousands."""
    stopwatch = Stopwatch()
    async with open_hub(stopwatch=stopwatch) as hub:
        heavy = await crowd(hub, LIGHT_MEMBERS + 1, "heavy")
        light = connect(hub, "light")
        light.join("light")
        await settle()
        passes = Passes()
        trio.lowlevel.add_instrument(passes)
        at: dict[str, int] = {}

        def note(name: str) -> Callable[[], None]:
            return lambda: at.update({name: passes.count})

        heavy[0].say("heavy", "hello").then = note("heavy")
        light.say("light", "hello").then = note("light")
        hub.keeper.budget.spend(SLICE_SECONDS)
        await settle()
        assert at["light"] < at["heavy"]


async def test_a_heavy_room_that_fails_keeps_no_other_one_waiting() -> None:
    """What it was let in for is accounted for, so the next one is let in."""
    stopwatch = Stopwatch()
    clock = Clock()
    async with open_hub(stopwatch=stopwatch, clock=clock) as hub:
        names = [str(number) for number in range(6)]
        clients = await crowd(hub, LIGHT_MEMBERS + 1, *names)
        for client in clients:
            client.peer.when_written = lambda: stopwatch.work(SLICE_SECONDS)
        outcomes = [clients[0].say(name, "hello") for name in names]
        hub.keeper.budget.spend(SLICE_SECONDS)
        clock.then = fail
        await settle()
        assert sum(outcome.value is not None for outcome in outcomes) == 5
        assert sum(isinstance(outcome.error, BrokenRoomError) for outcome in outcomes) == 1


# When something fails


def fail() -> None:
    raise ValueError("a bug")


async def test_a_command_that_fails_is_answered_and_the_room_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A bug in one command costs that command, and is reported with its traceback."""
    async with open_hub() as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        await settle()
        outlet = BadlySeated("bob", None, None)
        outcome = Outcome[Joined]()
        join = Join(view=MemberView(member="bob"), outlet=outlet, answer=outcome)
        hub.keeper.post("tea", join, origin=outlet, accepted=nothing)
        said = ada.say("tea", "still here")
        await settle()
        assert isinstance(outcome.error, BrokenRoomError)
        assert said.value is not None
        assert "room 'tea' failed in a command" in caplog.text
        assert "a bug" in caplog.text


async def test_a_command_that_fails_after_its_answer_is_reported_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """There is one answer to a command, and one without an answer gets none."""
    async with open_hub() as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        said = ada.say("tea", "hello")
        said.then = fail
        outlet = BadlySeated("bob", None, None)
        join = Join(view=MemberView(member="bob"), outlet=outlet)
        hub.keeper.post("tea", join, origin=outlet, accepted=nothing)
        await settle()
        assert said.value is not None
        assert said.error is None
        assert caplog.text.count("room 'tea' failed in a command") == 2


async def test_a_room_that_fails_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Its members are told, its callers are answered, and the next join starts it anew."""
    clock = Clock()
    async with open_hub(clock=clock, room=RoomSettings(mailbox_share=1)) as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("jam")
        await settle()
        clock.then = fail
        told: list[str] = []
        said = ada.say("tea", "hello")
        left = ada.leave("tea")
        for _ in range(3):
            ada.flood("tea", "hello", lambda: told.append("go on"))
        hub.keeper.leave_now(ada.peer.members["tea"], "left")
        flushes = ada.peer.flushes
        await settle()
        assert isinstance(said.error, BrokenRoomError)
        assert left.value is False
        assert told == ["go on"] * 2
        assert ada.peer.flushes > flushes
        assert ada.peer.of("tea") == ["joined 0: ada", "left: closed"]
        assert hub.rooms() == ["jam"]
        assert "room 'tea' failed and is closed" in caplog.text
        again, other = ada.join("tea"), bob.say("jam", "hello")
        await settle()
        assert again.value is not None
        assert again.value.log.epoch != "e2"
        assert other.value is not None


async def test_a_refusal_is_flushed_even_when_the_room_fails_in_that_turn() -> None:
    """The answer was given; whoever waits for it on the wire gets it."""
    clock = Clock()
    async with open_hub(clock=clock) as hub:
        ada, eve = connect(hub, "ada"), connect(hub, "eve")
        ada.join("tea")
        await settle()
        refused = eve.say("tea", "hello")
        refused.then = lambda: setattr(hub.keeper.budget, "stopwatch", fail)
        flushes = eve.peer.flushes
        await settle()
        assert isinstance(refused.error, NotAMemberError)
        assert eve.peer.flushes > flushes


# Coming and going


async def test_an_empty_room_lingers_and_then_vanishes(autojump_clock: MockClock) -> None:
    """Who comes back within the time finds the same epoch; later, another."""
    async with open_hub(room=RoomSettings(linger_seconds=5)) as hub:
        room = hub.room("tea")
        epochs = []
        for pause in (4.9, 5.1, 0):
            async with room.join("ada") as seat:
                epochs.append(seat.arrival.epoch)
            await trio.sleep(pause)
        assert epochs[0] == epochs[1] != epochs[2]


async def test_a_room_that_is_joined_at_the_moment_it_would_vanish(
    autojump_clock: MockClock,
) -> None:
    """Whichever comes first, the join finds a room, and is heard there."""
    async with open_hub(room=RoomSettings(linger_seconds=5)) as hub:

        async def come_back(name: str) -> None:
            async with hub.room(name).join("ada"):
                pass
            await settle()
            began = trio.current_time()
            await trio.sleep_until(began + 5)
            async with hub.room(name).join("ada") as seat:
                assert trio.current_time() == began + 5
                await seat.broadcast("hello")
                assert heard(seat) == [f"{seat.arrival.seq + 2} ada: hello"]

        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(come_back, f"tea{number}")
        await trio.sleep(5.1)
        assert hub.statistics().rooms == 0


async def test_a_join_that_comes_when_the_time_is_up_keeps_the_room(
    autojump_clock: MockClock,
) -> None:
    """The room has been woken to vanish, and finds the join before it has."""
    async with open_hub(room=RoomSettings(linger_seconds=5)) as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        ada.leave("tea")
        await settle()
        epoch = hub.room("tea").statistics().epoch
        outcomes: list[Outcome[Joined]] = []

        class AtTheLastMoment(trio.abc.Instrument):
            def before_task_step(self, task: trio.lowlevel.Task) -> None:
                if task.name == "room tea" and not outcomes:
                    outcomes.append(ada.join("tea"))

        instrument = AtTheLastMoment()
        trio.lowlevel.add_instrument(instrument)
        await trio.sleep(5)
        await settle()
        trio.lowlevel.remove_instrument(instrument)
        assert [outcome.value is not None for outcome in outcomes] == [True]
        assert hub.room("tea").statistics().epoch == epoch
        assert hub.rooms_of("ada") == ["tea"]


async def test_a_room_without_linger_time_does_what_it_was_asked_and_vanishes() -> None:
    """Zero seconds: not one more than it has members."""
    async with open_hub(room=RoomSettings(linger_seconds=0)) as hub:
        async with hub.room("tea").join("ada") as seat:
            assert (await seat.broadcast("hello")).seq == 2
        receipt = await hub.room("tea").broadcast("to nobody")
        assert receipt.seq is not None
        await settle()
        assert hub.statistics().rooms == 0
