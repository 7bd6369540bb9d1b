"""Tests of a small application of one's own: a poll that answers each vote with the count.

Run it with `pytest examples/testing_a_room.py`; it needs pytest and pytest-trio.
"""

# ruff: noqa: ARG001 - a fixture is asked for by its name, and does its work unseen
from collections import Counter

import trio
from trio.testing import MockClock

from roomactors import Hub, Message, ServerSettings
from roomactors.testing import open_test_hub, open_test_server


async def count_votes(hub: Hub) -> None:
    """The application: a member of the room `poll` that answers each vote with the count."""
    votes: Counter[object] = Counter()
    async with hub.room("poll").join("teller") as seat:
        async for event in seat:
            if isinstance(event, Message) and event.sender != "teller":
                votes[event.data] += 1
                await seat.broadcast(votes)


async def test_votes_are_counted(autojump_clock: MockClock) -> None:
    async with open_test_server() as server, trio.open_nursery() as nursery:
        nursery.start_soon(count_votes, server.hub)
        ada = await server.connect()
        await ada.join("poll")
        for vote in ("tea", "coffee", "tea"):
            await ada.send(type="broadcast", room="poll", data=vote, echo=False)
        await ada.expect(type="message", data={"tea": 1})
        await ada.expect(type="message", data={"tea": 1, "coffee": 1})
        await ada.expect(type="message", data={"tea": 2, "coffee": 1})
        nursery.cancel_scope.cancel()


async def test_votes_are_counted_without_a_network(autojump_clock: MockClock) -> None:
    async with open_test_hub() as hub, trio.open_nursery() as nursery:
        nursery.start_soon(count_votes, hub)
        async with hub.room("poll").join("ada") as ada:
            await ada.broadcast("tea")
            events = [await ada.receive() for _ in range(3)]
            assert [event.data for event in events if isinstance(event, Message)] == [
                "tea",
                {"tea": 1},
            ]
        nursery.cancel_scope.cancel()


async def test_a_voter_who_does_not_read_keeps_nobody_waiting(autojump_clock: MockClock) -> None:
    async with open_test_server() as server, trio.open_nursery() as nursery:
        nursery.start_soon(count_votes, server.hub)
        ada, bob = await server.connect(), await server.connect()
        await ada.join("poll")
        await bob.join("poll")
        await ada.expect(type="member_joined", member=bob.member)

        bob.incoming.stall()
        await ada.send(type="broadcast", room="poll", data="tea", echo=False)
        await ada.expect(type="message", data={"tea": 1})
        await bob.expect_nothing()

        bob.incoming.resume()
        await bob.expect(type="message", data="tea")
        await bob.expect(type="message", data={"tea": 1})
        nursery.cancel_scope.cancel()


async def test_a_voter_whose_connection_breaks_is_gone(autojump_clock: MockClock) -> None:
    async with open_test_server() as server:
        ada, bob = await server.connect(), await server.connect()
        await ada.join("poll")
        bob.outgoing.cut_after(20)  # in the middle of the next request
        await bob.send(type="join", room="poll")
        assert (await bob.wait_closed()).code == 1006
        await ada.expect_nothing()
        assert server.hub.members() == [ada.member]


async def test_a_voter_without_a_pong_is_gone_after_35_seconds(autojump_clock: MockClock) -> None:
    settings = ServerSettings(heartbeat_seconds=25, pong_seconds=10)
    async with open_test_server(settings=settings) as server:
        ada = await server.connect()
        await ada.join("poll")
        ada.answers_pings = False
        await ada.wait_closed(within=60)
        assert trio.current_time() == 35
