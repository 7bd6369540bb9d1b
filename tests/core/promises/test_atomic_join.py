"""The join reply is first, with the roster as of its number; then come exactly the events after."""

from __future__ import annotations

import trio

from roomactors.core.settings import RoomSettings
from tests.core.fakes import Client, connect, heard, line, open_hub, settle


async def test_what_was_before_is_in_the_answer_and_what_comes_after_is_heard() -> None:
    """In one turn: a message, a join, a message."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        ada.say("tea", "before")
        bob.join("tea")
        ada.say("tea", "after")
        await settle()
        assert bob.peer.of("tea") == ["joined 2: ada bob", "4 ada: after"]


async def test_the_same_holds_for_a_seat_in_this_process() -> None:
    """The roster is as of `seq`, and the first event is the one after it."""
    async with open_hub() as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        ada.say("tea", "before")
        async with hub.room("tea").join("bob") as bob:
            ada.say("tea", "after")
            await settle()
            assert bob.arrival.seq == 2
            assert [view.member for view in bob.arrival.members] == ["ada", "bob"]
            assert heard(bob) == ["4 ada: after"]


async def test_the_answer_is_the_first_that_is_heard_of_a_room() -> None:
    """Also by one whose socket takes nothing when it joins, while the room goes on."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob", window=0)
        ada.join("tea")
        bob.join("tea")
        await settle()
        ada.say("tea", "hello")
        await settle()
        bob.peer.accept(None)
        assert bob.peer.of("tea") == ["joined 1: ada bob", "3 ada: hello"]


async def test_nobody_hears_of_its_own_arrival_twice() -> None:
    """The answer is all; the others' arrivals in the same turn come as events."""
    async with open_hub() as hub:
        clients = [connect(hub, name) for name in "abc"]
        for client in clients:
            client.join("tea")
        await settle()
        assert [client.peer.of("tea") for client in clients] == [
            ["joined 0: a", "2 +b", "3 +c"],
            ["joined 1: a b", "3 +c"],
            ["joined 2: a b c"],
        ]


async def test_a_second_join_in_one_turn_says_nothing_twice() -> None:
    """What came before it comes before its answer; the answer's number covers it."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        ada.say("tea", "one")
        bob.join("tea")
        ada.say("tea", "two")
        bob.join("tea", info="a dog")
        ada.say("tea", "three")
        await settle()
        assert bob.peer.of("tea")[1:] == [
            "3 ada: one",
            "joined 3: ada bob",
            "4 ada: two",
            "joined 4: ada bob",
            "6 ada: three",
        ]
        assert ada.peer.of("tea")[-2:] == ["5 =bob(a dog)", "6 ada: three"]


async def test_a_seat_of_before_gets_nothing_of_the_one_after() -> None:
    """A leave and a join of one member in one turn are two seats, each with its own run."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        ada.say("tea", "one")
        bob.leave("tea")
        ada.say("tea", "two")
        bob.join("tea")
        ada.say("tea", "three")
        await settle()
        assert bob.peer.of("tea")[1:] == [
            "3 ada: one",
            "left: left",
            "joined 5: ada bob",
            "7 ada: three",
        ]


async def test_a_roster_and_the_changes_after_it_are_the_room() -> None:
    """Whoever adds up what it heard knows who is in, however many came and went meanwhile."""
    async with open_hub(room=RoomSettings(turn_bytes=500)) as hub:
        crowd = [connect(hub, f"m{number}") for number in range(20)]
        for number, client in enumerate(crowd):
            client.join("tea")
            if number % 3 == 2:
                crowd[number - 2].leave("tea")
        await settle()

        def present(client: Client) -> set[str]:
            arrival, *changes = client.peer.of("tea")
            members = set(arrival.split(": ")[1].split())
            for change in changes:
                if " +" in change:
                    members.add(change.split("+")[1])
                elif " -" in change:
                    members.remove(change.split("-")[1].split()[0])
            return members

        now = {view.member for view in await hub.room("tea").members()}
        assert len(now) == 14
        for client in crowd:
            if client.id in now:
                assert present(client) == now


async def test_joining_a_busy_room_leaves_no_hole() -> None:
    """From the answer's number on, one after the other, while others never stop speaking."""
    async with open_hub() as hub:
        talker = connect(hub, "talker")
        talker.join("tea")
        stop = trio.Event()

        async def talk() -> None:
            while not stop.is_set():
                talker.say("tea", "and")
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            for number in range(20):
                async with hub.room("tea").join(f"m{number}") as seat:
                    first = await seat.receive()
                    second = await seat.receive()
                    assert [event.seq for event in (first, second)] == [
                        seat.arrival.seq + 2,
                        seat.arrival.seq + 3,
                    ], line(first)
            stop.set()
