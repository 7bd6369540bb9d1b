"""Every wait for a client has an end: opening, idling, a message, the close."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from roomactors import ServerSettings
from roomactors.errors import CannotConnectError
from roomactors.testing import Closed, MemoryServer, open_test_server
from tests.server.heads import head_of
from tests.server.moments import at, just_before
from tests.server.test_frames import CONTINUATION, TEXT, client_frame

IDLE = Closed(1008, "in no room for too long")
LATE = Closed(1008, "a message took too long to arrive")


def sockets(server: MemoryServer) -> int:
    return server.server.statistics().sockets


# Opening


@pytest.mark.parametrize("sent", [0, 1, 20, -1])
async def test_a_head_that_does_not_come_in_10_seconds_is_given_up(
    autojump_clock: MockClock, sent: int
) -> None:
    """None of it, a part, or all but the last byte: the connection is closed and forgotten."""
    async with open_test_server() as server:
        stream = server.open_stream()
        await stream.send_all(head_of()[:sent])
        await just_before(10)
        assert sockets(server) == 1
        await at(10)
        assert sockets(server) == 0
        assert await stream.receive_some() == b""


async def test_a_head_that_comes_byte_by_byte_has_no_more_time(autojump_clock: MockClock) -> None:
    """That something comes now and then does not put the opening's deadline off."""
    async with open_test_server() as server:
        stream = server.open_stream()
        head = head_of()
        for second in range(10):
            await at(second)
            await stream.send_all(head[second : second + 1])
        await at(10)
        assert sockets(server) == 0


async def test_a_head_in_time_is_answered(autojump_clock: MockClock) -> None:
    """Within the last moment."""
    async with open_test_server() as server:
        stream = server.open_stream()
        await just_before(10)
        await stream.send_all(head_of())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")


async def test_an_admission_that_hangs_is_answered_503_and_given_up(
    autojump_clock: MockClock,
) -> None:
    """The embedder's function gets no longer than the opening."""

    async def admit(_request: object) -> str | None:
        await trio.sleep_forever()
        return None

    async with open_test_server(admit=admit) as server:
        with pytest.raises(CannotConnectError) as caught:
            await server.connect()
        assert caught.value.status == 503
        assert trio.current_time() == 10
        await at(12)
        assert sockets(server) == 0


# Idling


async def test_who_joins_no_room_is_closed_after_60_seconds(autojump_clock: MockClock) -> None:
    """With 1008 and its reason; pongs make no difference."""
    async with open_test_server() as server:
        ada = await server.connect()
        await just_before(60)
        assert (len(ada.pings), ada.closed) == (2, None)
        await at(60)
        assert ada.closed == IDLE
        assert sockets(server) == 0


async def test_who_asks_and_joins_nothing_is_closed_all_the_same(
    autojump_clock: MockClock,
) -> None:
    """Messages are signs of life, but no reason to be here."""
    async with open_test_server() as server:
        ada = await server.connect()
        for second in range(0, 60, 5):
            await at(second)
            await ada.send(type="ping")
        await just_before(60)
        assert ada.closed is None
        await at(60)
        assert ada.closed == IDLE


async def test_who_leaves_its_last_room_has_60_seconds_again(autojump_clock: MockClock) -> None:
    """Counted from the leave, not from the connect."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        await ada.join("hall")
        await at(100)
        await ada.send(type="leave", room="tea")
        await ada.expect(type="left")
        await at(200)
        await ada.send(type="leave", room="hall")
        await ada.expect(type="left")
        await just_before(260)
        assert ada.closed is None
        await at(260)
        assert ada.closed == IDLE


async def test_who_joins_in_time_stays(autojump_clock: MockClock) -> None:
    """A join in the last moment is in time."""
    async with open_test_server() as server:
        ada = await server.connect()
        await just_before(60)
        await ada.join("tea")
        await at(600)
        assert ada.closed is None


async def test_who_was_refused_a_room_is_in_none(autojump_clock: MockClock) -> None:
    """A join that failed is no room."""
    async with open_test_server() as server:
        ada = await server.connect()
        await at(30)
        await ada.send(type="join", room="")
        await ada.expect(type="error", code="bad_room_name")
        await at(60)
        assert ada.closed == IDLE


async def test_the_room_of_everyone_is_no_room_to_stay_for(autojump_clock: MockClock) -> None:
    """Every connection has a seat in it."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("$all")
        await at(60)
        assert ada.closed == IDLE


async def test_a_raw_client_is_never_idle(autojump_clock: MockClock) -> None:
    """It is in its room."""
    async with open_test_server() as server:
        ada = await server.connect("/raw/tea")
        await at(600)
        assert ada.closed is None


# A message


async def test_a_message_has_30_seconds_from_its_first_byte_to_its_last(
    autojump_clock: MockClock,
) -> None:
    """However often a byte of it comes."""
    frame = client_frame(TEXT, b'{"type":"ping","ref":"a long one to be sent in pieces"}')
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        for number in range(30):
            await at(100 + number)
            await ada.send_raw(frame[number : number + 1])
        await just_before(130)
        assert ada.closed is None
        await at(130)
        assert ada.closed == LATE


async def test_a_fragmented_message_has_30_seconds_for_all_of_it(
    autojump_clock: MockClock,
) -> None:
    """Whole frames of a message that does not end are no progress; pings between are answered."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        await at(100)
        await ada.send_raw(client_frame(TEXT, b'{"type":', fin=False))
        for second in range(110, 130, 5):
            await at(second)
            await ada.send_raw(client_frame(CONTINUATION, b" ", fin=False))
            await ada.ping(b"%d" % second)
        await just_before(130)
        assert (ada.closed, len(ada.pongs)) == (None, 4)
        await at(130)
        assert ada.closed == LATE


async def test_a_message_that_ends_in_time_is_answered(autojump_clock: MockClock) -> None:
    """And the next one has 30 seconds of its own."""
    frame = client_frame(TEXT, b'{"type":"ping"}')
    async with open_test_server() as server:
        ada = await server.connect()
        ada.answers_pings = False  # no pong inside a frame
        await ada.join("tea")
        for begin in (10.0, 39.0, 68.0):
            await at(begin)
            await ada.send_raw(frame[:5])
            await at(begin + 29)
            await ada.send_raw(frame[5:])
            await ada.expect(type="pong")
        ada.answers_pings = True
        await at(300)
        assert ada.closed is None


async def test_a_message_may_end_in_the_piece_in_which_the_next_begins(
    autojump_clock: MockClock,
) -> None:
    """Then the next one's time begins there, and not with the first one's."""
    frame = client_frame(TEXT, b'{"type":"ping"}')
    async with open_test_server() as server:
        ada = await server.connect()
        ada.answers_pings = False  # no pong inside a frame
        await ada.join("tea")
        await at(10)
        await ada.send_raw(frame[:5])
        await at(30)
        await ada.send_raw(frame[5:] + frame[:5])
        await ada.expect(type="pong")
        await at(55)
        await ada.send_raw(frame[5:6])
        await just_before(60)
        assert ada.closed is None
        await at(60)
        assert ada.closed == LATE


# The close


async def test_a_close_frame_is_answered_at_once(autojump_clock: MockClock) -> None:
    """And the server closes the connection first (RFC 6455, section 7.1.1)."""
    async with open_test_server() as server:
        ada = await server.connect()
        assert await ada.close() == Closed(1000, "done")
        assert trio.current_time() == 0
        assert sockets(server) == 0


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
async def test_the_client_s_code_is_echoed(autojump_clock: MockClock, code: int) -> None:
    """As RFC 6455, section 5.5.1, has it."""
    async with open_test_server() as server:
        ada = await server.connect()
        assert (await ada.close(code)).code == code


async def test_a_client_that_does_not_answer_a_close_has_2_seconds(
    autojump_clock: MockClock,
) -> None:
    """Then the socket is closed without it."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        ada.answers_close = False
        server.hub.disconnect(ada.member)
        await just_before(2)
        assert ada.closing == Closed(4003, "kicked")
        assert sockets(server) == 1
        await at(2)
        assert sockets(server) == 0


async def test_a_client_that_answers_a_close_is_gone_at_once(autojump_clock: MockClock) -> None:
    """Nothing of the two seconds is used."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        server.hub.disconnect(ada.member)
        await at(0)
        assert ada.closed == Closed(4003, "kicked")
        assert sockets(server) == 0


async def test_a_client_that_closes_its_socket_instead_is_gone_at_once(
    autojump_clock: MockClock,
) -> None:
    """An end of file is as good as a close frame then."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        ada.answers_close = False
        server.hub.disconnect(ada.member)
        await at(1)
        await ada.eof()
        await at(1)
        assert sockets(server) == 0


async def test_a_mebibyte_is_thrown_away_while_closing(autojump_clock: MockClock) -> None:
    """What the client had sent before it read the close frame does not turn it into a reset."""
    async with open_test_server() as server:
        ada = await server.connect(capacity=4 * 1024 * 1024)
        ada.answers_close = False
        await ada.send_raw(client_frame(2, b"x"))  # binary: 1003
        await at(0)
        await ada.send_raw(b"\0" * 1024 * 1024)
        await at(1)
        assert ada.closing == Closed(1003, "binary frame where text is spoken")
        assert sockets(server) == 1
        assert ada.outgoing.held == 0


async def test_more_than_a_mebibyte_while_closing_is_cut_off(autojump_clock: MockClock) -> None:
    """One byte over it, and the socket is closed."""
    async with open_test_server() as server:
        ada = await server.connect(capacity=4 * 1024 * 1024)
        ada.answers_close = False
        await ada.send_raw(client_frame(2, b"x"))
        await at(0)
        await ada.send_raw(b"\0" * (1024 * 1024 + 1))
        await at(0)
        assert sockets(server) == 0


async def test_a_violation_is_told_though_more_was_on_its_way(autojump_clock: MockClock) -> None:
    """A message over the limit is closed with 1009, and the close frame arrives."""
    async with open_test_server() as server:
        ada = await server.connect()
        ada.answers_close = False
        await ada.send_raw(client_frame(TEXT, b'"' + b"x" * 200_000 + b'"'))
        await ada.eof()
        assert (await ada.wait_closed()).code == 1009
        await at(0)
        assert sockets(server) == 0


async def test_an_http_answer_waits_2_seconds_for_the_client(autojump_clock: MockClock) -> None:
    """A client that reads its answer and keeps the connection open is closed."""
    async with open_test_server() as server:
        stream = server.open_stream()
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: rooms.test\r\n\r\n")
        await just_before(2)
        assert sockets(server) == 1
        await at(2)
        assert sockets(server) == 0


async def test_every_deadline_is_a_setting(autojump_clock: MockClock) -> None:
    """Others than the defaults are kept as exactly."""
    settings = ServerSettings(
        opening_seconds=1,
        heartbeat_seconds=3,
        pong_seconds=20,
        idle_seconds=50,
        message_seconds=4,
        close_seconds=7,
    )
    async with open_test_server(settings=settings) as server:
        server.open_stream()
        await at(1)
        assert sockets(server) == 0

        ada = await server.connect()
        ada.answers_pings = False
        await ada.send_raw(client_frame(TEXT, b"{}")[:1])
        await just_before(5)
        assert (len(ada.pings), ada.closing) == (1, None)
        await at(5)
        assert ada.closing == LATE

        bob = await server.connect()
        await ada.wait_closed()
        bob.answers_close = False
        await at(55)
        assert bob.closing == IDLE
        await just_before(62)
        assert sockets(server) == 1
        await at(62)
        assert sockets(server) == 0
