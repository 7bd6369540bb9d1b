"""Signs of life: when a peer is pinged, when given up, and when nothing is held against it."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from roomactors import ServerSettings
from roomactors.testing import Closed, open_test_server
from tests.server.moments import at, just_before
from tests.server.test_frames import TEXT, client_frame

GONE = Closed(1006, "")


async def test_a_silent_client_is_pinged_after_25_seconds(autojump_clock: MockClock) -> None:
    """Not before, and exactly once; the answer starts the time again."""
    async with open_test_server() as server:
        ada = await server.connect()
        await at(3)
        await ada.join("tea")
        await just_before(28)
        assert ada.pings == []
        await at(28)
        assert ada.pings == [b""]
        await just_before(53)
        assert ada.pings == [b""]
        await at(53)
        assert ada.pings == [b"", b""]


async def test_a_client_that_answers_stays_for_ever(autojump_clock: MockClock) -> None:
    """An hour of pings and pongs, and nothing else."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        await at(3600)
        assert len(ada.pings) == 3600 // 25
        await ada.send(type="ping")
        await ada.expect(type="pong")


async def test_a_client_without_a_pong_is_gone_after_35_seconds(autojump_clock: MockClock) -> None:
    """10 seconds after its ping it is reset, and the others are told that it is disconnected."""
    async with open_test_server() as server:
        ada, bob = await server.connect(), await server.connect()
        await ada.join("tea")
        await bob.join("tea")
        await ada.expect(type="member_joined")
        bob.answers_pings = False
        await just_before(35)
        assert bob.closed is None
        await ada.expect_nothing()
        await at(35)
        await ada.expect(type="member_left", member=bob.member, reason="disconnected")
        assert bob.closed == GONE
        assert server.server.statistics().sockets == 1


async def test_any_byte_puts_the_ping_off(autojump_clock: MockClock) -> None:
    """The first byte of a frame is a sign of life like any other."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        await at(20)
        await ada.send_raw(client_frame(TEXT, b'{"type":"ping"}')[:1])
        await just_before(45)
        assert ada.pings == []
        await at(45)
        assert ada.pings == [b""]


async def test_any_byte_is_as_good_as_a_pong(autojump_clock: MockClock) -> None:
    """A client that answers no ping, and speaks, stays; the next ping counts from what it said."""
    async with open_test_server() as server:
        ada = await server.connect()
        ada.answers_pings = False
        await ada.join("tea")
        await just_before(35)
        assert ada.pings == [b""]
        await ada.send_raw(client_frame(TEXT, b'{"type":"ping"}')[:1])
        await just_before(59.999)
        assert (ada.pings, ada.closed) == ([b""], None)
        await at(59.999)
        assert ada.pings == [b"", b""]


async def test_what_a_peer_is_sent_is_no_sign_of_its_life(
    autojump_clock: MockClock,
) -> None:
    """What the server sends is no sign of life of a peer that keeps up: it may be gone."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        ada.answers_pings = False
        for second in range(1, 35):
            await at(second)
            await server.hub.room("tea").broadcast(second)
        await just_before(35)
        assert len(ada.frames) == 34
        assert ada.pings == [b""]
        await at(35)
        assert ada.closed == GONE


async def test_nothing_expires_while_the_server_does_not_read(autojump_clock: MockClock) -> None:
    """A raw client over its rate is not read, so its silence proves nothing."""
    settings = ServerSettings(broadcasts_per_second=0.01)
    async with open_test_server(settings=settings) as server:
        ada = await server.connect("/raw/tea?echo=0")
        bob = await server.connect("/ws")
        await bob.join("tea")
        ada.answers_pings = False
        await ada.send_text("one")
        await ada.send_text("two")  # not to be paid for before 100 s
        await at(1)
        await ada.send_text("three")
        await bob.expect(type="message", data="one")
        await bob.expect(type="message", data="two")
        await just_before(100)
        assert (ada.pings, ada.closed) == ([], None)
        await bob.expect_nothing()
        await at(100)
        await bob.expect(type="message", data="three")


async def test_silence_counts_from_when_the_server_reads_again(autojump_clock: MockClock) -> None:
    """After a pause a peer has its 25 and its 10 seconds anew."""
    settings = ServerSettings(broadcasts_per_second=0.02)
    async with open_test_server(settings=settings) as server:
        ada = await server.connect("/raw/tea")
        ada.answers_pings = False
        await ada.send_text("one")
        await ada.send_text("two")  # paid for at 50 s
        await just_before(75)
        assert ada.pings == []
        await at(75)
        assert ada.pings == [b""]
        await just_before(85)
        assert ada.closed is None
        await at(85)
        assert ada.closed == GONE


async def test_a_lagging_client_is_not_pinged_to_death(autojump_clock: MockClock) -> None:
    """While bytes wait for it, only that it takes some counts, however few."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        ada.answers_pings = False
        ada.incoming.take(then=0)
        await server.hub.room("tea").broadcast("x" * 100)
        for number in range(1, 12):
            await at(9 * number)
            assert (ada.closed, ada.pings) == (None, [])
            ada.incoming.take(1, then=0)
        ada.incoming.take()
        await ada.expect(type="message", data="x" * 100)


async def test_what_is_taken_from_a_backlog_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    """A ping is due 25 seconds after the last byte of a backlog was taken."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        ada.incoming.take(then=0)
        await at(20)
        await server.hub.room("tea").broadcast("x")
        await at(28)
        ada.incoming.take()
        await just_before(53)
        assert ada.pings == []
        await at(53)
        assert ada.pings == [b""]


async def test_a_pong_is_due_only_when_its_ping_has_left(autojump_clock: MockClock) -> None:
    """Half of a ping cannot be answered: its 10 seconds begin with the other half."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        ada.answers_pings = False
        ada.incoming.take(1, then=0)
        await at(34)
        assert (ada.pings, ada.closed) == ([], None)
        ada.incoming.take()
        await at(34)
        assert ada.pings == [b""]
        await just_before(44)
        assert ada.closed is None
        await ada.pong()
        await at(60)
        assert ada.closed is None


async def test_a_ping_that_nobody_takes_ends_a_client_at_the_progress_deadline(
    autojump_clock: MockClock,
) -> None:
    """The ping at 25 s cannot leave, and after 10 s without a byte taken the client is cut off."""
    async with open_test_server() as server:
        ada, bob = await server.connect(), await server.connect()
        await bob.join("tea")
        await ada.join("tea")
        await bob.expect(type="member_joined")
        ada.incoming.take(then=0)
        await just_before(35)
        await bob.expect_nothing()
        await at(35)
        await bob.expect(type="member_left", member=ada.member, reason="lagged")


async def test_a_ping_of_the_client_is_answered_with_its_payload(
    autojump_clock: MockClock,
) -> None:
    """With the latest one's, if several came at once."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.ping(b"one")
        await at(0)
        await ada.ping(b"two")
        await at(0)
        assert ada.pongs == [b"one", b"two"]


async def test_a_thousand_clients_are_pinged_each_at_its_own_time(
    autojump_clock: MockClock,
) -> None:
    """One task looks at them all, and forgets nobody."""
    async with open_test_server() as server:
        clients = []
        for number in range(1000):
            await trio.sleep_until(number / 100)
            client = await server.connect("/raw/tea")
            clients.append(client)
        for number in range(0, 1000, 50):
            due = number / 100 + 25
            await just_before(due)
            assert [len(clients[number].pings), len(clients[number - 1].pings)] == [
                0,
                1 if number else 0,
            ]
            await at(due)
            assert len(clients[number].pings) == 1
