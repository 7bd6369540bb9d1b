"""After any load, when rooms are empty, tasks and memory are back where they were."""

from __future__ import annotations

import gc
import weakref

import trio
from trio.testing import MockClock

from roomactors.core.commands import Broadcast
from roomactors.core.hub import Hub
from roomactors.core.log import ENTRY_BYTES
from roomactors.core.member import Member
from roomactors.core.room import Room
from roomactors.core.settings import HubSettings, RoomSettings
from tests.core.fakes import Clock, Lines, Peer, connect, open_hub, settle, text


def tasks() -> int:
    """How many tasks there are."""
    return trio.lowlevel.current_statistics().tasks_living


def alive(kind: type[object]) -> int:
    """How many objects of a kind there are, after a collection."""
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


def is_empty(hub: Hub) -> bool:
    """Whether the hub knows of nobody and of no room."""
    keeper = hub.keeper
    return not (keeper.rooms or keeper.outlets or keeper.occupied_rooms)


async def test_a_thousand_empty_rooms_vanish_with_their_tasks(autojump_clock: MockClock) -> None:
    """And with everything that they held."""
    async with open_hub() as hub:
        before = tasks(), alive(Room), alive(Member)
        for number in range(1000):
            async with hub.room(f"room {number}").join("ada"):
                pass
        assert tasks() > before[0] + 900
        await trio.sleep(5.1)
        assert is_empty(hub)
        assert (tasks(), alive(Room), alive(Member)) == before


async def come_and_go(hub: Hub, number_of_members: int) -> None:
    """A crowd in several rooms; some of it leaves, all of it hangs up, slow and dead ones too."""
    clients = [connect(hub, f"m{number}") for number in range(number_of_members)]
    for number, client in enumerate(clients):
        for name in ("tea", "jam", f"room {number % 7}"):
            client.join(name)
    await settle()
    for number, client in enumerate(clients):
        if number % 3 == 0:
            client.peer.window = number
        if number % 5 == 0:
            client.peer.error = BrokenPipeError()
        client.say("tea", "hello")
    await settle()
    for client in clients:
        client.leave("jam")
        client.hang_up()
    await settle()


async def test_a_crowd_that_came_and_went_leaves_nothing(autojump_clock: MockClock) -> None:
    """Whether they left, hung up, were slow or dead."""
    async with open_hub() as hub:
        before = tasks(), alive(Room), alive(Member)
        for _ in range(3):
            await come_and_go(hub, 100)
        await trio.sleep(5.1)
        assert is_empty(hub)
        assert (tasks(), alive(Room), alive(Member)) == before


async def test_a_room_that_goes_on_holds_nobody_who_left() -> None:
    """Neither seats nor ways out nor who asked for something."""
    async with open_hub() as hub, hub.room("tea").join("stays"):
        await settle()
        before = alive(Member), alive(Peer)
        await come_and_go(hub, 30)

        def ask() -> weakref.ref[Lines]:
            origin = Lines()  # anything that can be watched
            said = Broadcast(data=text("hello"))
            hub.keeper.post("tea", said, origin=origin, accepted=lambda: None)
            return weakref.ref(origin)

        asked = ask()
        await settle()
        assert (alive(Member), alive(Peer)) == before
        assert asked() is None


async def test_refused_calls_leave_nothing(autojump_clock: MockClock) -> None:
    """Neither members nor commands nor places in line."""
    settings = HubSettings(max_rooms_per_member=1, room=RoomSettings(max_members=1))
    async with open_hub(settings) as hub:
        before = tasks()
        clients = [connect(hub, f"m{number}") for number in range(50)]
        for client in clients:
            client.join("tea")
            client.join("jam")
            client.say("nowhere", "hello")
        await settle()
        assert hub.statistics().rooms == 4
        for client in clients:
            client.hang_up()
        await settle()
        for room in hub.keeper.rooms.values():
            look = room.statistics()
            assert (look.mailbox_commands, look.mailbox_bytes, look.mailbox_waiting) == (0, 0, 0)
        await trio.sleep(5.1)
        assert is_empty(hub)
        assert tasks() == before


async def test_cancelled_calls_leave_nothing_in_line() -> None:
    """However often one asks and gives up."""
    async with open_hub(room=RoomSettings(mailbox_commands=1)) as hub:
        await hub.room("tea").broadcast("hello")
        before = tasks()
        for _ in range(100):
            with trio.move_on_after(0):
                await hub.room("tea").broadcast("hello")
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(hub.room("tea").broadcast, "hello")
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await settle()
        look = hub.room("tea").statistics()
        assert (look.mailbox_commands, look.mailbox_bytes, look.mailbox_waiting) == (0, 0, 0)
        assert tasks() == before


async def test_what_a_log_let_go_of_is_held_by_nobody() -> None:
    """Neither by the room, nor by a member that is behind."""
    room = RoomSettings(log_messages=2, log_floor=1)
    async with open_hub(room=room) as hub, hub.room("tea").join("ada"):
        slow = connect(hub, "slow")
        slow.join("tea")
        await settle()
        slow.peer.window = 3
        await hub.room("tea").broadcast("one")
        log = hub.keeper.rooms["tea"].log
        gone = weakref.ref(log.at(log.head))
        for _ in range(3):
            await hub.room("tea").broadcast("more")
        await settle()
        gc.collect()
        assert gone() is None
        assert log.size < 4 * (ENTRY_BYTES + 100)


async def test_a_room_that_failed_leaves_nothing() -> None:
    """Its members are in no room, and the next one of its name starts from nothing."""
    clock = Clock()

    def fail() -> None:
        raise ValueError("a bug")

    async with open_hub(clock=clock) as hub:
        before = tasks()
        ada = connect(hub, "ada")
        ada.join("tea")
        await settle()
        clock.then = fail
        said = ada.say("tea", "hello")
        await settle()
        assert said.error is not None
        assert hub.rooms_of("ada") == []
        assert hub.rooms() == []
        hub.disconnect("ada")
        ada.hang_up()
        await settle()
        assert "tea" not in hub.keeper.rooms
        assert tasks() == before + 1  # the room of everyone lingers
