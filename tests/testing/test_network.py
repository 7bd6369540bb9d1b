"""The in-memory network: what arrives, when, and what each fault does."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from roomactors.server.links import ENDED
from roomactors.testing import MemoryLink, MemoryStream, memory_link_pair

DATA = bytes(range(200))


async def all_of(end: MemoryLink | MemoryStream) -> bytes:
    """Everything up to the end, as far as it comes."""
    data = b""
    while True:
        piece = await (end.receive(4096) if isinstance(end, MemoryLink) else end.receive_some())
        if not piece:
            return data
        data += piece


async def up_to_the_reset(end: MemoryLink | MemoryStream) -> bytes:
    """Everything up to a reset."""
    data = b""
    try:
        while True:
            piece = await (end.receive(9) if isinstance(end, MemoryLink) else end.receive_some(9))
            assert piece, "an end of file, and no reset"
            data += piece
    except (ConnectionResetError, trio.BrokenResourceError):
        return data


# Without faults


async def test_bytes_go_both_ways_in_order() -> None:
    """What one end writes the other reads."""
    link, stream = memory_link_pair()
    assert link.send is not None
    assert link.send(DATA) == len(DATA)
    assert await stream.receive_some(50) == DATA[:50]
    assert await stream.receive_some() == DATA[50:]
    await stream.send_all(DATA)
    await stream.send_all(memoryview(DATA))
    assert await link.receive(4096) == DATA * 2


async def test_a_reader_waits_for_what_comes(autojump_clock: MockClock) -> None:
    """And is woken by it."""
    link, stream = memory_link_pair()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _later() -> None:
            await trio.sleep(3)
            await stream.send_all(b"x")

        assert await link.receive(10) == b"x"
        assert trio.current_time() == 3


async def test_a_client_s_end_is_a_trio_stream(autojump_clock: MockClock) -> None:
    """By trio's own check of half-closeable streams."""

    async def make() -> tuple[MemoryStream, MemoryStream]:
        link, stream = memory_link_pair(capacity=10_000)
        return stream, MemoryStream(link.to_client, link.to_server)

    async def make_full() -> tuple[MemoryStream, MemoryStream]:
        link, stream = memory_link_pair(capacity=1)
        return stream, MemoryStream(link.to_client, link.to_server)

    with trio.fail_after(60):
        stream, other = await make()
        await stream.send_all(b"x")
        assert await other.receive_some(1) == b"x"
        await stream.send_eof()
        assert await other.receive_some() == b""
        await other.send_all(b"y")
        assert await stream.receive_some() == b"y"
        await stream.aclose()
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"z")
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await other.send_all(b"z")

        stream, other = await make_full()
        await stream.wait_send_all_might_not_block()
        await stream.send_all(b"x")
        with trio.move_on_after(1) as scope:
            await stream.wait_send_all_might_not_block()
        assert scope.cancelled_caught


# Time


async def test_latency_is_kept_to_the_moment(autojump_clock: MockClock) -> None:
    """In each direction, and for each byte from when it was written."""
    link, stream = memory_link_pair(latency=0.5)
    await stream.send_all(b"a")
    await trio.sleep(0.2)
    await stream.send_all(b"b")
    assert await link.receive(10) == b"a"
    assert trio.current_time() == 0.5
    assert await link.receive(10) == b"b"
    assert trio.current_time() == 0.7
    await link.send_all(b"c")
    assert await stream.receive_some() == b"c"
    assert trio.current_time() == 1.2


async def test_bytes_do_not_overtake_each_other(autojump_clock: MockClock) -> None:
    """When the latency is made smaller, what was sent later arrives later, or with the rest."""
    link, stream = memory_link_pair(latency=5)
    await stream.send_all(b"a")
    stream.outgoing.latency = 0
    await stream.send_all(b"b")
    await stream.send_eof()
    assert await all_of(link) == b"ab"
    assert trio.current_time() == 5


async def test_the_end_takes_as_long_as_bytes_do(autojump_clock: MockClock) -> None:
    """An end of file is on its way like them."""
    link, stream = memory_link_pair(latency=2)
    await stream.send_eof()
    assert await all_of(link) == b""
    assert trio.current_time() == 2


async def test_nothing_arrives_while_a_direction_stalls(autojump_clock: MockClock) -> None:
    """What had arrived can be read; the rest comes when it goes on; the other way is open."""
    link, stream = memory_link_pair()
    await stream.send_all(b"before ")
    stream.outgoing.stall()
    await stream.send_all(b"after")
    await stream.send_eof()
    await link.send_all(b"other way")
    assert await stream.receive_some() == b"other way"
    assert await link.receive(100) == b"before "
    with trio.move_on_after(1000) as scope:
        await link.receive(100)
    assert scope.cancelled_caught
    stream.outgoing.resume()
    assert await all_of(link) == b"after"


async def test_going_on_wakes_who_waits(autojump_clock: MockClock) -> None:
    """No clock has to move for it."""
    link, stream = memory_link_pair()
    stream.outgoing.stall()
    await stream.send_all(b"x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(all_of, link)
        await wait_all_tasks_blocked()
        stream.outgoing.resume()
        await stream.send_eof()
    assert trio.current_time() == 0


# Room


@pytest.mark.parametrize("capacity", [1, 7, 200, 1000])
async def test_a_writer_waits_when_the_wire_is_full(capacity: int) -> None:
    """Everything arrives all the same, once, through a pipe of any size."""
    link, stream = memory_link_pair(capacity=capacity)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _write() -> None:
            await stream.send_all(DATA * 3)
            await stream.send_eof()

        await wait_all_tasks_blocked()
        assert stream.outgoing.held == min(capacity, 600)
        assert await all_of(link) == DATA * 3
    assert (stream.outgoing.held, stream.outgoing.carried) == (0, 600)


async def test_a_nonblocking_write_takes_what_there_is_room_for() -> None:
    """And raises when there is none."""
    link, stream = memory_link_pair(capacity=100)
    assert link.send is not None
    assert link.send(DATA) == 100
    with pytest.raises(BlockingIOError):
        link.send(b"x")
    await stream.receive_some(30)
    await link.wait_writable()
    assert link.send(DATA) == 30


async def test_a_server_s_end_writes_everything_in_several_writes() -> None:
    """`send_all` is made of the non-blocking write where there is one."""
    link, stream = memory_link_pair(capacity=50)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _write() -> None:
            await link.send_all(DATA)
            link.send_eof()

        assert await all_of(stream) == DATA


async def test_a_segment_is_the_most_that_one_read_gets() -> None:
    """However much is there."""
    link, stream = memory_link_pair()
    stream.outgoing.segment_bytes = 3
    await stream.send_all(DATA[:10])
    pieces = [await link.receive(100) for _ in range(4)]
    assert [len(piece) for piece in pieces] == [3, 3, 3, 1]


# How much a write takes


async def test_writes_take_what_they_are_told() -> None:
    """One number for each, 0 for a refusal, and everything afterwards."""
    link, stream = memory_link_pair()
    assert link.send is not None
    stream.incoming.take(5, 0, 1)
    assert link.send(DATA) == 5
    with pytest.raises(BlockingIOError):
        link.send(DATA)
    assert link.send(DATA) == 1
    assert link.send(DATA) == len(DATA)


async def test_writes_may_take_nothing_until_told_otherwise(autojump_clock: MockClock) -> None:
    """Then waiting for the wire ends with the next call, and not before."""
    link, stream = memory_link_pair()
    assert link.send is not None
    stream.incoming.take(5, then=0)
    await link.wait_writable()
    assert link.send(DATA) == 5
    with pytest.raises(BlockingIOError):
        link.send(DATA)
    with trio.move_on_after(1000) as scope:
        await link.wait_writable()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.wait_writable)
        await wait_all_tasks_blocked()
        stream.incoming.take()
    assert link.send(DATA) == len(DATA)


async def test_writes_may_take_a_little_each_for_ever() -> None:
    """`then` is for all writes after those that were named."""
    link, stream = memory_link_pair()
    assert link.send is not None
    stream.incoming.take(9, then=2)
    assert [link.send(DATA) for _ in range(4)] == [9, 2, 2, 2]


# Cuts


@pytest.mark.parametrize("to_server", [True, False])
async def test_a_cut_lets_exactly_so_many_bytes_through(to_server: bool) -> None:
    """For each k, written in one piece or in several; then both ends are reset."""
    for size in (1, 3, 200):
        for k in range(0, 200, 7):
            link, stream = memory_link_pair()
            wire = stream.outgoing if to_server else stream.incoming
            writer, reader = (stream, link) if to_server else (link, stream)
            wire.cut_after(k)
            with suppress(*ENDED):
                for start in range(0, 200, size):
                    await writer.send_all(DATA[start : start + size])
            with pytest.raises(ENDED):
                await writer.send_all(b"more")
            assert await up_to_the_reset(reader) == DATA[:k]
            with pytest.raises(ENDED):
                await reader.send_all(b"x")


async def test_a_cut_without_a_reset_is_an_end_of_file_in_one_direction() -> None:
    """The other direction goes on."""
    link, stream = memory_link_pair()
    stream.outgoing.cut_after(5, reset=False)
    await stream.send_all(DATA)
    assert await all_of(link) == DATA[:5]
    await link.send_all(b"still here")
    assert await stream.receive_some() == b"still here"
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")


async def test_a_cut_counts_from_when_it_is_asked_for() -> None:
    """Not from the beginning of the connection."""
    link, stream = memory_link_pair()
    await stream.send_all(DATA)
    stream.outgoing.cut_after(2, reset=False)
    await stream.send_all(DATA)
    assert await all_of(link) == DATA + DATA[:2]


async def test_what_a_cut_lets_through_arrives_with_its_latency(
    autojump_clock: MockClock,
) -> None:
    """And the reset behind it; the one who wrote knows at once."""
    link, stream = memory_link_pair(latency=1)
    stream.outgoing.cut_after(5)
    await stream.send_all(DATA)
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    assert trio.current_time() == 0
    assert await link.receive(100) == DATA[:5]
    assert trio.current_time() == 1
    with pytest.raises(ConnectionResetError):
        await link.receive(100)


# Ends


async def test_a_half_close_leaves_the_other_direction_open() -> None:
    """From both ends."""
    link, stream = memory_link_pair()
    await stream.send_eof()
    assert await link.receive(10) == b""
    await link.send_all(b"x")
    link.send_eof()
    assert await all_of(stream) == b"x"
    with pytest.raises(BrokenPipeError):
        await link.send_all(b"y")
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"y")


@pytest.mark.parametrize("reset", [True, False])
async def test_abort_wakes_who_waits_and_leaves_nothing_open(reset: bool) -> None:
    """Readers and writers of the aborted end are told that it is closed, as a socket's are."""
    link, _ = memory_link_pair(capacity=1)
    assert link.send is not None
    link.send(b"x")
    woken = []

    async def wait(what: str) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await (link.receive(1) if what == "readable" else link.wait_writable())
        woken.append(what)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "readable")
        nursery.start_soon(wait, "writable")
        await wait_all_tasks_blocked()
        link.abort(reset=reset)
        link.abort()
    assert sorted(woken) == ["readable", "writable"]
    with pytest.raises(trio.ClosedResourceError):
        await link.receive(1)
    with pytest.raises(trio.ClosedResourceError):
        link.send(b"x")


async def test_what_was_written_before_an_abort_arrives(autojump_clock: MockClock) -> None:
    """As what a kernel has taken does; with a reset, what has not arrived is lost."""
    link, stream = memory_link_pair(latency=1)
    await link.send_all(DATA)
    link.abort()
    assert await all_of(stream) == DATA

    link, stream = memory_link_pair(latency=1)
    await link.send_all(b"arrives")
    await trio.sleep(1)
    await link.send_all(b"is lost")
    link.abort(reset=True)
    assert await stream.receive_some() == b"arrives"
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()


async def test_closing_with_something_unread_is_a_reset() -> None:
    """So a server that closes before it has read all loses its last words, as over TCP."""
    link, stream = memory_link_pair()
    await stream.send_all(b"unread")
    stream.incoming.stall()
    await link.send_all(b"last words")
    link.abort()
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()

    link, stream = memory_link_pair()
    await link.send_all(b"unread")
    await stream.aclose()
    with pytest.raises(ConnectionResetError):
        await link.receive(10)


async def test_who_writes_to_a_closed_end_is_told(autojump_clock: MockClock) -> None:
    """At once, also one who was waiting to."""
    link, stream = memory_link_pair(capacity=1)
    await link.send_all(b"x")
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _write() -> None:
            with pytest.raises(OSError, match="in-memory"):
                await link.send_all(b"y")

        await wait_all_tasks_blocked()
        stream.reset()
    with pytest.raises(OSError, match="in-memory"):
        await link.receive(1)


async def test_a_reset_of_the_client_loses_what_is_on_its_way(autojump_clock: MockClock) -> None:
    """In both directions, at once, and through a stall."""
    link, stream = memory_link_pair(latency=1)
    await stream.send_all(b"lost")
    stream.outgoing.stall()
    stream.reset()
    with pytest.raises(ConnectionResetError):
        await link.receive(10)
    assert trio.current_time() == 0
    assert stream.outgoing.held == 0


# A link like TLS


async def test_a_link_like_tls_has_no_nonblocking_write(autojump_clock: MockClock) -> None:
    """It writes everything and waits; it has no half-close; it is aborted like the other."""
    link, stream = memory_link_pair(writes_at_once=False, secure=True, capacity=10)
    assert (link.send, link.secure) == (None, True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.send_all, DATA)
        await wait_all_tasks_blocked()
        assert stream.incoming.held == 10
        assert b"".join([await stream.receive_some() for _ in range(20)]) == DATA
    link.send_eof()
    await link.send_all(b"goes on")
    assert await stream.receive_some() == b"goes on"
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _write() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await link.send_all(DATA)

        await wait_all_tasks_blocked()
        link.abort()


async def test_every_wait_is_a_checkpoint() -> None:
    """Also where nothing is to be waited for."""
    link, stream = memory_link_pair()
    await stream.send_all(b"xx")
    with trio.testing.assert_checkpoints():
        await link.receive(1)
    with trio.testing.assert_checkpoints():
        await link.wait_writable()
    with trio.testing.assert_checkpoints():
        await stream.send_all(b"")
    with trio.testing.assert_checkpoints():
        await stream.send_eof()
    with trio.testing.assert_checkpoints():
        await stream.aclose()


async def test_a_read_that_is_cancelled_takes_nothing() -> None:
    """The bytes are there for the next one."""
    link, stream = memory_link_pair()
    await stream.send_all(b"x")
    with trio.CancelScope() as scope:
        scope.cancel()
        await link.receive(1)
    assert scope.cancelled_caught
    assert await link.receive(1) == b"x"
