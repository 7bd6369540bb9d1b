"""A slow, dead or hostile connection costs only itself; so does a bug in one room."""

from __future__ import annotations

import pytest

from roomactors.core.hub import Hub
from roomactors.core.log import ENTRY_BYTES
from roomactors.core.settings import RoomSettings
from roomactors.errors import BrokenRoomError
from tests.core.fakes import Client, Clock, Lines, connect, heard, open_hub, settle


async def three(hub: Hub) -> tuple[Client, Client, Client]:
    """Three clients in one room, the one in the middle for trouble."""
    ada, bob, eve = (connect(hub, name) for name in ("ada", "bob", "eve"))
    for client in (ada, bob, eve):
        client.join("tea")
    await settle()
    return ada, bob, eve


async def test_a_socket_that_takes_nothing_holds_up_nobody() -> None:
    """The others hear all of it in time, with one write a turn as before."""
    async with open_hub() as hub:
        ada, bob, eve = await three(hub)
        bob.peer.window = 0
        writes = eve.peer.writes
        for number in range(50):
            ada.say("tea", str(number))
            await settle()
        assert eve.peer.writes == writes + 50
        assert eve.peer.of("tea")[-1] == "53 ada: 49"
        assert hub.room("tea").statistics().behind == 1


async def test_a_dead_member_loses_no_message_for_the_rest() -> None:
    """First, last or in the middle of those who are written to."""
    for dead in range(3):
        async with open_hub() as hub:
            clients = await three(hub)
            clients[dead].peer.error = ConnectionResetError()
            alive = [client for client in clients if client is not clients[dead]]
            await hub.room("tea").broadcast("hello")
            await settle()
            for client in alive:
                assert client.peer.of("tea")[-2:] == [
                    "4 *: hello",
                    f"5 -{clients[dead].id} disconnected",
                ]


async def test_a_bug_in_one_outlet_s_write_is_that_outlet_s_end() -> None:
    """Whatever it raises."""
    async with open_hub() as hub:
        ada, bob, eve = await three(hub)
        bob.peer.error = ZeroDivisionError()
        ada.say("tea", "hello")
        await settle()
        assert hub.members() == ["ada", "eve"]
        assert eve.peer.of("tea")[-2:] == ["4 ada: hello", "5 -bob disconnected"]


async def test_a_reader_that_never_reads_keeps_nothing_but_the_room_s_log() -> None:
    """In this process too: what it missed is one gap."""
    room = RoomSettings(log_messages=3, log_floor=1)
    async with open_hub(room=room) as hub, hub.room("tea").join("ada") as ada:
        for number in range(100):
            await hub.room("tea").broadcast(str(number))
        assert hub.room("tea").statistics().log_bytes < 4 * (ENTRY_BYTES + 10)
        assert heard(ada) == ["gap 2-98", "99 *: 97", "100 *: 98", "101 *: 99"]


async def test_a_client_whose_protocol_has_no_word_for_a_gap_is_ended_alone() -> None:
    """It comes back and recovers; the others hear that it lagged."""
    room = RoomSettings(log_messages=2, log_floor=1)
    async with open_hub(room=room) as hub, hub.room("tea").join("ada") as ada:
        bob = connect(hub, "bob", encoder=Lines(says_gaps=False))
        bob.join("tea")
        await settle()
        bob.peer.window = 0
        for number in range(5):
            await hub.room("tea").broadcast(str(number))
        bob.peer.accept(None)
        await settle()
        assert bob.peer.of("tea") == ["joined 1: ada bob"]
        assert "-bob lagged" in " ".join(heard(ada))


async def test_one_room_s_backlog_is_no_other_room_s() -> None:
    """A member that is behind in one room still hears the other as soon as it takes anything."""
    async with open_hub() as hub:
        ada, bob, _ = await three(hub)
        ada.join("jam")
        bob.join("jam")
        await settle()
        bob.peer.window = 0
        ada.say("tea", "one")
        ada.say("jam", "two")
        await settle()
        bob.peer.accept(None)
        assert bob.peer.of("tea")[-1] == "4 ada: one"
        assert bob.peer.of("jam")[-1] == "3 ada: two"


async def test_a_flood_leaves_the_others_their_places() -> None:
    """One connection holds its share of the mailbox, and what comes after waits at its socket."""
    async with open_hub(room=RoomSettings(mailbox_commands=10, mailbox_share=4)) as hub:
        ada, bob, _ = await three(hub)
        waits = [ada.flood("tea", str(number), lambda: None) is not None for number in range(5)]
        assert waits == [False] * 4 + [True]
        said = bob.say("tea", "and me?")
        assert hub.room("tea").statistics().mailbox_waiting == 1
        await settle()
        assert said.value is not None
        assert said.value.seq == 8


async def test_a_bug_in_one_room_is_that_room_s_end(caplog: pytest.LogCaptureFixture) -> None:
    """Other rooms, and the same members in them, go on."""
    clock = Clock()

    def fail() -> None:
        raise ValueError("a bug")

    async with open_hub(clock=clock) as hub, hub.room("jam").join("here") as here:
        ada, bob, _ = await three(hub)
        for client in (ada, bob):
            client.join("jam")
        await settle()
        clock.then = fail
        with pytest.raises(BrokenRoomError):
            await hub.room("tea").broadcast("hello")
        ada.say("jam", "still here")
        await settle()
        assert bob.peer.of("tea")[-1] == "left: closed"
        assert bob.peer.of("jam")[-1] == "4 ada: still here"
        assert heard(here)[-1] == "4 ada: still here"
        assert "room 'tea' failed" in caplog.text
