"""Every member sees the room's events in log order: messages and membership in one sequence."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from roomactors.core.settings import RoomSettings
from tests.core.fakes import Client, Lines, connect, heard, open_hub, settle


def numbers(lines: Sequence[str]) -> list[int]:
    """The numbers of the events in these lines."""
    return [int(line.split(" ")[0]) for line in lines if line[0].isdigit()]


async def test_messages_and_membership_are_one_sequence() -> None:
    """What was asked for first comes first, for everybody."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        bob, eve = connect(hub, "bob"), connect(hub, "eve")
        bob.join("tea")
        bob.say("tea", "one")
        eve.join("tea")
        bob.say("tea", "two")
        bob.join("tea", info="a dog")
        eve.leave("tea")
        bob.say("tea", "three")
        await settle()
        assert heard(ada) == [
            "2 +bob",
            "3 bob: one",
            "4 +eve",
            "5 bob: two",
            "6 =bob(a dog)",
            "7 -eve left",
            "8 bob: three",
        ]


async def test_the_order_of_the_log_is_that_of_every_protocol_and_every_way_out() -> None:
    """Keeping up, behind, another protocol, in this process: the same numbers in the same order."""
    async with open_hub() as hub, hub.room("tea").join("here") as here:
        clients = [
            connect(hub, "ada"),
            connect(hub, "slow", window=0),
            connect(hub, "other", encoder=Lines()),
        ]
        for client in clients:
            client.join("tea")
        await settle()
        for number in range(30):
            clients[number % 3].say("tea", str(number))
            if number % 7 == 0:
                await settle()
        await settle()
        clients[1].peer.accept(None)
        said = [*range(5, 35)]
        assert numbers(heard(here))[-30:] == said
        for client in clients:
            assert numbers(client.peer.of("tea"))[-30:] == said


async def test_one_sender_s_messages_keep_their_order() -> None:
    """Also where some of them had to wait for a place."""
    room = RoomSettings(mailbox_commands=3, mailbox_share=2, turn_bytes=400)
    async with open_hub(room=room) as hub:
        senders = [connect(hub, name) for name in ("ada", "bob")]
        for sender in senders:
            sender.join("tea")
        await settle()

        async def send(sender: Client) -> None:
            for number in range(20):
                ready = trio.Event()
                if sender.flood("tea", str(number), ready.set) is not None:
                    await ready.wait()

        async with trio.open_nursery() as nursery:
            for sender in senders:
                nursery.start_soon(send, sender)
        await settle()
        lines = senders[0].peer.of("tea")
        assert numbers(lines) == [*range(2, 43)]
        for sender in senders:
            said = [line.split(": ")[1] for line in lines if f" {sender.id}: " in line]
            assert said == [str(number) for number in range(20)]


async def test_what_waits_for_a_place_is_not_overtaken() -> None:
    """Who comes later waits behind, even when a place is free by then."""
    async with open_hub(room=RoomSettings(mailbox_commands=1)) as hub:
        clients = [connect(hub, name) for name in "abcd"]
        for client in clients:
            client.join("tea")
        await settle()
        for client in clients:
            client.say("tea", "in order")
        await settle()
        lines = clients[0].peer.of("tea")
        assert [line.split(" ")[1] for line in lines[-4:]] == ["a:", "b:", "c:", "d:"]


async def test_a_leave_waits_for_nothing_and_passes_nothing_that_has_a_place() -> None:
    """It gets into a full mailbox, behind what is in there."""
    async with open_hub(room=RoomSettings(mailbox_commands=1)) as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        ada.say("tea", "in the mailbox")
        ada.say("tea", "in line")
        bob.hang_up()
        await settle()
        assert ada.peer.of("tea")[-3:] == [
            "3 ada: in the mailbox",
            "4 -bob disconnected",
            "5 ada: in line",
        ]


async def test_numbers_never_repeat_within_an_epoch() -> None:
    """However often the room empties meanwhile; a new epoch begins at one."""
    async with open_hub() as hub:
        room = hub.room("tea")
        seen = []
        for _ in range(5):
            async with room.join("ada") as ada:
                receipt = await ada.broadcast("hello")
                seen += [(receipt.epoch, ada.arrival.seq + 1), (receipt.epoch, receipt.seq)]
        assert len(set(seen)) == 10
        assert len({epoch for epoch, _ in seen}) == 1
