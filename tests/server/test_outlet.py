"""The way out of a connection: order, cuts, bounds, and what happens in the midst of it."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import final

import attrs
import pytest

from roomactors.core.batch import Batch, join_frames
from roomactors.core.commands import Joined
from roomactors.core.events import EVERYONE, LeftReason
from roomactors.core.fanout import FanOut
from roomactors.core.log import Entry, Log
from roomactors.core.member import Member, MemberView
from roomactors.core.settings import RoomSettings
from roomactors.server.outlet import DEFERRED_BYTES, PIECES_AT_ONCE, Deferred, FrameOutlet, Tail
from tests.core.fakes import LINES, Lines, entry, message
from tests.server.fakes import Window


def nothing() -> None:
    pass


@final
class Speaker:
    """A connection: words that name rooms, and a note of what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.when_ended: Callable[[], None] = nothing
        self.when_lost: Callable[[], None] = nothing
        self.error: Exception | None = None

    def joined_frame(self, joined: Joined, ref: object) -> bytes:
        return f"{joined.log.room} joined {joined.seq}\n".encode()

    def left_frame(self, member: Member, ref: object) -> bytes:
        return f"{member.log.room} left {member.end}\n".encode()

    def seat_ended(self, member: Member) -> None:
        self.told.append(f"{member.log.room} ended")
        self.when_ended()

    def blocked(self) -> None:
        self.told.append("blocked")

    def lost_its_place(self) -> None:
        self.told.append("lost its place")
        self.when_lost()

    def failed(self, error: Exception) -> None:
        self.told.append("failed")
        self.error = error

    def ended(self, reason: LeftReason) -> None:
        self.told.append(reason)


@final
class World:
    """An outlet, what its socket takes, and rooms that it is in."""

    def __init__(
        self,
        *rooms: str,
        encoder: Lines = LINES,
        writes_at_once: bool = True,
        catch_up_bytes: int = 40,
        settings: RoomSettings | None = None,
    ) -> None:
        self.now = 0.0
        self.window = Window()
        self.speaker = Speaker()
        self.encoder = encoder
        self.outlet = FrameOutlet(
            "ada",
            None,
            encoder,
            send=self.window.send if writes_at_once else None,
            speaker=self.speaker,
            catch_up_bytes=catch_up_bytes,
            clock=lambda: self.now,
        )
        self.outlet.flush()
        self.logs: dict[str, Log] = {}
        self.fan_outs: dict[str, FanOut] = {}
        self.seats: dict[str, Member] = {}
        self.settings = settings or RoomSettings()
        for room in rooms:
            self.sit(room)

    def sit(self, room: str) -> Member:
        log = self.logs.setdefault(room, Log(room, "e1", self.settings))
        seat = Member(MemberView(member="ada"), self.outlet, log, log.head)
        self.outlet.members[room] = self.seats[room] = seat
        self.fan_outs.setdefault(room, FanOut(log)).add(seat)
        return seat

    def append(self, room: str, words: str) -> None:
        """An event that nobody has been given, as if the fan-out came later."""
        log = self.logs[room]
        log.append(self.entry(room, words))

    def entry(self, room: str, words: str) -> Entry:
        return entry(attrs.evolve(message(self.logs[room].head + 1, words), room=room))

    def batch(self, room: str, base: int) -> Batch:
        log = self.logs[room]
        entries = [log.at(seq) for seq in range(base + 1, log.head + 1)]
        return join_frames(log, entries, self.encoder, base=base, head=log.head)

    def say(self, room: str, *words: str) -> None:
        """A turn of the room, with its real fan-out."""
        fan_out = self.fan_outs[room]
        fan_out.begin()
        for word in words:
            event = self.entry(room, word)
            self.logs[room].append(event)
            fan_out.append(event)
        for _ in fan_out.deliveries(self.now):
            self.check()

    def leave(self, room: str) -> None:
        """The seat ends with what is in the log by now."""
        seat = self.outlet.members.pop(room)
        self.fan_outs[room].remove(seat)
        seat.end, seat.reason = seat.log.head, "left"
        self.outlet.finish(seat, None)

    def join_again(self, room: str) -> None:
        """A second join is answered as the room is now."""
        log = self.logs[room]
        joined = Joined(member=self.seats[room], log=log, seq=log.head, roster=None, count=1)
        self.outlet.seated(joined, None)

    def push(self, line: str) -> None:
        self.outlet.push(f"{line}\n".encode())

    def defer(self, line: str) -> None:
        self.outlet.push_deferred(f"{line}\n".encode)

    def stall(self) -> None:
        """Nothing more is taken, and that has been noticed."""
        self.window.then = 0
        self.push("own stall")
        self.outlet.flush()
        assert self.outlet.blocked

    def drain(self) -> None:
        """The writer's part, until nothing waits."""
        outlet = self.outlet
        for _ in range(100_000):
            if not outlet.blocked:
                return
            if outlet.send is self.window.send or self.window.writes:
                outlet.unblock()
            self.check()
        raise AssertionError("it stays blocked for ever")

    def write(self) -> None:
        """The same for a stream that cannot write at once."""
        while self.outlet.blocked:
            piece = self.outlet.next_piece()
            if piece is None:
                self.outlet.rest()
            else:
                self.window.wire += piece.buffer
                self.outlet.piece_taken(piece, len(piece.buffer))
            self.check()

    def check(self) -> None:
        """What is counted is what waits."""
        waits = 0
        for item in self.outlet._own:
            match item:
                case Tail():
                    waits += DEFERRED_BYTES + len(item.frame)
                case Deferred():
                    waits += DEFERRED_BYTES
                case _:
                    waits += len(item)
        assert self.outlet.own_bytes == waits
        if self.outlet.free:
            assert not waits
            assert not self.outlet.blocked

    @property
    def lines(self) -> list[str]:
        """All that it has got, which ends with a whole line."""
        assert not self.window.wire or self.window.wire.endswith(b"\n")
        return self.window.wire.decode().splitlines()

    def of(self, room: str) -> list[str]:
        return [line for line in self.lines if line.startswith(f"{room} ")]


def said(room: str, *words: str, start: int = 1) -> list[str]:
    return [f"{room} {seq} *: {word}" for seq, word in enumerate(words, start)]


# Order and cuts


@pytest.mark.parametrize("k", range(1, 130))
def test_own_frames_tails_replies_and_rooms_go_out_whole_and_in_order(k: int) -> None:
    """Whatever each write takes, and whether or not the socket is full in between."""
    for refusals in ([], [0], [0, 0]):
        world = World("tea", "hall", "den")
        world.window.takes.extend([k, *refusals] * 400)
        world.say("tea", "one", "two")
        world.push("own 1")
        world.say("hall", "one")
        world.leave("tea")
        world.push("own 2")
        world.defer("own 3")
        world.outlet.push_pong(b"pong\n")
        world.say("den", "one", "two", "three")
        world.join_again("den")
        world.push("own 4")
        world.outlet.flush()
        world.say("hall", "two", "three")
        world.check()
        world.drain()
        world.say("den", "four")
        world.leave("den")
        world.outlet.flush()
        world.drain()
        assert world.of("own") == ["own 1", "own 2", "own 3", "own 4"]
        assert world.of("tea") == [*said("tea", "one", "two"), "tea left 2"]
        assert world.of("hall") == said("hall", "one", "two", "three")
        den = [line for line in world.of("den") if "joined" not in line]
        assert den == [*said("den", "one", "two", "three", "four"), "den left 4"]
        assert world.of("den").index("den joined 3") == 3
        assert world.lines.count("pong") == 1
        assert world.outlet.own_bytes == 0
        assert world.speaker.told.count("tea ended") == 1
        assert world.seats["hall"].cursor == 3


def test_a_fan_out_goes_behind_own_frames_in_one_write() -> None:
    """An answer and the echo of what it answers cost one call."""
    world = World("tea")
    world.push("own 1")
    world.push("own 2")
    world.say("tea", "one")
    assert world.lines == ["own 1", "own 2", *said("tea", "one")]
    assert world.window.writes == 1
    assert world.outlet.free


def test_a_fan_out_cut_within_own_frames_leaves_its_seat_where_it_was() -> None:
    """Own frames go on, and then the seat is served from the log."""
    world = World("tea")
    world.push("own 1")
    world.push("own 2")
    world.window.takes.extend([8])
    world.window.then = 0
    world.say("tea", "one")
    assert world.seats["tea"].cursor == 0
    assert (world.outlet.own_bytes, world.outlet.free) == (4, False)
    world.window.then = None
    world.drain()
    assert world.lines == ["own 1", "own 2", *said("tea", "one")]


def test_a_shared_write_that_was_cut_keeps_the_rest_of_one_frame() -> None:
    """All later frames are read again from the log."""
    world = World("tea")
    size = len("tea 1 *: one\n")
    for k in range(1, 3 * size):
        world = World("tea", catch_up_bytes=1)
        world.window.takes.append(k)
        world.window.then = 0
        world.say("tea", "one", "two", "six")
        assert world.outlet.own_bytes == -k % size
        world.check()
        world.window.then = None
        world.drain()
        assert world.lines == said("tea", "one", "two", "six")


def test_while_it_is_blocked_no_room_writes() -> None:
    """Its seats stay behind, and cost nothing."""
    world = World("tea", "hall")
    world.stall()
    writes = world.window.writes
    for number in range(100):
        world.say("tea", str(number))
        world.say("hall", str(number))
        world.outlet.flush()
    assert world.window.writes == writes
    assert world.outlet.own_bytes == len("own stall\n")
    assert world.speaker.told == ["blocked"]


def test_rooms_that_are_behind_take_turns() -> None:
    """A busy one does not keep the others waiting."""
    world = World("tea", "hall")
    world.stall()
    for number in range(50):
        world.say("tea", f"much {number}")
    world.say("hall", "little")
    world.window.takes.append(1000)
    world.outlet.unblock()
    world.window.takes.extend([1000, 1000])
    world.outlet.unblock()
    assert world.of("hall") == said("hall", "little")
    assert len(world.of("tea")) < 10


def test_after_some_writes_the_others_have_their_turn() -> None:
    """One that takes everything is served by its writer, a piece of its backlog at a time."""
    world = World("tea", catch_up_bytes=1)
    world.stall()
    for number in range(2 * PIECES_AT_ONCE):
        world.say("tea", str(number))
    world.window.then = None
    world.outlet.unblock()
    assert len(world.of("tea")) == PIECES_AT_ONCE
    assert world.outlet.blocked
    world.drain()
    assert len(world.of("tea")) == 2 * PIECES_AT_ONCE


def test_events_that_are_not_for_it_move_its_place_and_cost_no_write() -> None:
    """A stretch of the log without a frame for this member."""
    world = World("tea", encoder=Lines(silent={"bob"}))
    log = world.logs["tea"]
    for seq in range(1, 100):
        log.append(entry(message(seq, "x", sender="bob")))
    world.push("own")
    world.outlet.flush()
    assert world.seats["tea"].cursor == 99
    assert world.lines == ["own"]
    assert world.outlet.free


def test_a_turn_without_a_frame_for_it_moves_its_place() -> None:
    """With or without own frames that wait."""
    for own in ([], ["own 1"]):
        world = World("tea", encoder=Lines(silent={"bob"}))
        world.logs["tea"].append(entry(message(1, "x", sender="bob")))
        for line in own:
            world.push(line)
        world.outlet.free = False
        world.outlet.deliver(world.seats["tea"], world.batch("tea", 0))
        assert world.seats["tea"].cursor == 1
        assert (world.lines, world.outlet.free) == (own, True)


def test_one_that_a_fan_out_has_not_come_to_can_be_caught_up() -> None:
    """The fan-out then finds that it has it."""
    world = World("tea")
    world.append("tea", "one")
    batch = world.batch("tea", 0)
    world.outlet.flush()
    assert world.lines == []
    world.outlet.catch_up()
    assert world.lines == said("tea", "one")
    assert world.outlet.free
    world.outlet.deliver(world.seats["tea"], batch)
    assert world.lines == said("tea", "one")


# Replies that wait


def test_a_reply_is_made_when_it_is_sent() -> None:
    """Until then it is a few bytes; a cut one is finished as it was made."""
    world = World()
    made: list[int] = []

    def make() -> bytes:
        made.append(len(made))
        return b"x" * 50 + b"%d\n" % len(made)

    world.stall()
    for _ in range(3):
        world.outlet.push_deferred(make)
    assert (made, world.outlet.own_bytes) == ([], 3 * DEFERRED_BYTES + 10)
    world.window.takes.append(10 + 20)
    world.outlet.unblock()
    assert made == [0]
    assert world.outlet.own_bytes == 32 + 2 * DEFERRED_BYTES
    world.window.then = None
    world.drain()
    assert world.lines[1:] == ["x" * 50 + "1", "x" * 50 + "2", "x" * 50 + "3"]


def test_only_the_latest_pong_waits_for_a_slow_peer() -> None:
    """And it counts for nothing; a peer that keeps up gets each of them."""
    world = World()
    world.outlet.push_pong(b"pong 1\n")
    world.outlet.push_pong(b"pong 2\n")
    world.outlet.flush()
    world.stall()
    for number in range(3, 10):
        world.outlet.push_pong(b"pong %d\n" % number)
    assert world.outlet.own_bytes == len("own stall\n")
    assert world.outlet.behind
    world.window.takes.extend([len("own stall\n") + 3])
    world.outlet.unblock()
    world.check()
    world.window.then = None
    world.drain()
    assert world.of("pong") == ["pong 1", "pong 2", "pong 9"]


def test_the_latest_pong_does_not_wait_behind_what_comes_later() -> None:
    """It goes with the own frames, before any room."""
    world = World("tea")
    world.stall()
    world.outlet.push_pong(b"pong\n")
    world.say("tea", "one")
    world.window.then = None
    world.drain()
    assert world.lines == ["own stall", "pong", *said("tea", "one")]


def test_a_second_join_of_one_that_keeps_up_is_answered_in_its_place() -> None:
    """Nothing need go before it."""
    world = World("tea")
    world.say("tea", "one")
    world.join_again("tea")
    world.say("tea", "two")
    assert world.lines == [*said("tea", "one"), "tea joined 1", *said("tea", "two", start=2)]


def test_a_tail_of_which_the_log_has_moved_on_begins_with_a_gap() -> None:
    """What is lost is said, up to the seat's end and no further; then `left`."""
    world = World("tea", settings=RoomSettings(log_messages=3, log_floor=1))
    world.stall()
    world.say("tea", "1", "2")
    world.leave("tea")
    for number in range(10):
        world.append("tea", str(number))
        world.logs["tea"].trim(0.0)
    world.window.then = None
    world.drain()
    assert world.of("tea") == ["tea gap 1-2", "tea left 2"]


def test_one_that_has_left_while_it_was_behind_and_comes_back_gets_both_stays() -> None:
    """The tail of the first, `left`, and then what comes after the second join."""
    world = World("tea")
    world.stall()
    world.say("tea", "one")
    world.leave("tea")
    world.append("tea", "unheard")
    world.sit("tea")
    world.push("tea joined 2")
    world.say("tea", "two")
    world.window.then = None
    world.drain()
    assert world.of("tea") == [
        *said("tea", "one"),
        "tea left 1",
        "tea joined 2",
        *said("tea", "two", start=3),
    ]


# No word for a gap


@pytest.mark.parametrize("tail", [False, True])
def test_without_a_word_for_a_gap_it_is_told_when_nothing_is_half_done(tail: bool) -> None:
    """All own frames before go out, once it is told, and nothing follows."""
    world = World(
        "tea",
        "hall",
        encoder=Lines(says_gaps=False),
        settings=RoomSettings(log_messages=1, log_floor=1),
    )
    closing = b"own close\n"
    world.speaker.when_lost = lambda: close(world, closing)
    world.stall()
    world.push("own 1")
    for number in range(3):
        world.append("tea", str(number))
        world.logs["tea"].trim(0.0)
    if tail:
        world.leave("tea")
        world.push("own 2")
    world.window.then = None
    world.drain()
    assert world.speaker.told.count("lost its place") == 1
    assert world.lines == ["own stall", "own 1", *(["own 2"] if tail else []), "own close"]
    assert world.outlet.emptied
    world.say("hall", "one")
    world.outlet.flush()
    assert "hall" not in world.window.wire.decode()


def close(world: World, frame: bytes) -> None:
    """What a connection does to end it."""
    world.outlet.closed = True
    world.outlet.free = False
    world.outlet.end_with(frame)
    world.outlet.flush()


# The end


def test_the_last_frame_goes_behind_what_is_ready_and_ends_it() -> None:
    """The rest of a cut frame and own frames, but no room, no reply to be made, and no pong."""
    world = World("tea", "hall")
    world.stall()
    world.push("own 1")
    world.defer("own deferred")
    world.outlet.push_pong(b"own pong\n")
    world.say("tea", "one")
    world.leave("tea")
    world.push("own 2")
    close(world, b"own close\n")
    assert not world.outlet.emptied
    close(world, b"own second close\n")
    world.push("own late")
    world.defer("own late")
    world.outlet.push_pong(b"own late\n")
    world.say("hall", "late")
    world.leave("hall")
    world.outlet.end("kicked")
    world.window.then = None
    while world.outlet.blocked:
        world.outlet.unblock()
    assert world.lines == ["own stall", "own 1", "own 2", "own close"]
    assert world.outlet.emptied
    assert not world.outlet.behind
    assert not world.outlet.free
    assert world.speaker.told == ["blocked", "kicked"]


def test_a_connection_may_close_when_its_last_seat_has_ended() -> None:
    """In a flush, in a fan-out, and when a backlog has gone out: all before goes first."""
    for way in ("flush", "fan-out", "backlog"):
        world = World("tea", "hall")
        world.speaker.when_ended = lambda world=world: close(world, b"own close\n")  # type: ignore[misc]
        if way == "backlog":
            world.stall()
        world.say("tea", "one")
        world.leave("tea")
        if way == "fan-out":
            world.say("hall", "one")
        else:
            world.window.then = None
            world.outlet.flush()
            while world.outlet.blocked:
                world.outlet.unblock()
        assert world.lines[-1] == "own close"
        assert world.lines.index("tea left 1") < len(world.lines) - 1
        assert world.outlet.emptied
        assert not world.outlet.free
        world.say("hall", "two")
        assert world.lines[-1] == "own close"


def test_a_seat_that_has_ended_is_told_once_its_last_frame_has_gone() -> None:
    """Not when it is queued, and not while it is cut."""
    world = World("tea")
    world.stall()
    world.leave("tea")
    assert world.speaker.told == ["blocked"]
    world.window.takes.append(len("own stall\ntea le"))
    world.outlet.unblock()
    assert world.speaker.told == ["blocked", "blocked"]
    world.window.then = None
    world.drain()
    assert world.speaker.told == ["blocked", "blocked", "tea ended"]


@pytest.mark.parametrize("how", ["flush", "fan-out", "writer"])
def test_a_write_that_raises_ends_it(how: str) -> None:
    """It is told once, and nothing is written again."""
    world = World("tea")
    if how == "writer":
        world.stall()
    world.window.error = ConnectionResetError()
    if how == "fan-out":
        world.say("tea", "one")
    elif how == "flush":
        world.push("own")
        world.outlet.flush()
    else:
        world.outlet.unblock()
    assert world.speaker.told[-1] == "failed"
    writes = world.window.writes
    world.outlet.closed = True
    world.outlet.flush()
    world.say("tea", "two")
    assert world.window.writes == writes
    assert world.speaker.told.count("failed") == 1
    assert not world.outlet.free


@pytest.mark.parametrize("how", ["flush", "fan-out"])
def test_a_bug_in_a_connection_s_words_reaches_no_room(how: str) -> None:
    """What a reply or a seat's end raises ends this connection, whoever asked for the flush."""

    def fail() -> None:
        raise ZeroDivisionError("a bug")

    def make() -> bytes:
        raise ZeroDivisionError("a bug")

    for bug in ("reply", "seat"):
        world = World("tea", "hall")
        world.speaker.when_ended = fail
        if bug == "reply":
            world.outlet.push_deferred(make)
        else:
            world.leave("hall")
        if how == "flush":
            world.outlet.flush()
        else:
            world.say("tea", "one")
        assert isinstance(world.speaker.error, ZeroDivisionError)
        assert not world.outlet.free


def test_one_that_has_closed_is_told_of_no_seat() -> None:
    """Rooms may still say so: it has left them, but they do not know yet."""
    world = World("tea")
    world.stall()
    world.say("tea", "one")
    close(world, b"own close\n")
    world.join_again("tea")
    world.leave("tea")
    world.window.then = None
    world.drain()
    assert world.lines == ["own stall", "own close"]


# Time


def test_progress_is_when_something_was_taken_or_the_wait_began() -> None:
    """A write that takes nothing is none; and one that took something long awaited is noted."""
    world = World()
    world.now = 5.0
    world.stall()
    assert (world.outlet.progress, world.outlet.relented) == (5.0, -inf)
    world.now = 6.0
    world.outlet.unblock()
    assert (world.outlet.progress, world.outlet.relented) == (5.0, -inf)
    world.now = 7.0
    world.window.takes.append(1)
    world.outlet.unblock()
    assert (world.outlet.progress, world.outlet.relented) == (7.0, 7.0)
    world.now = 7.5
    world.window.takes.append(1)
    world.outlet.unblock()
    assert (world.outlet.progress, world.outlet.relented) == (7.5, 7.0)
    world.now = 9.0
    world.window.then = None
    world.outlet.unblock()
    assert world.outlet.relented == 9.0
    assert world.lines == ["own stall"]


# Without a non-blocking write


def test_without_a_non_blocking_write_all_goes_through_the_writer() -> None:
    """It is never free; own frames, tails and rooms come out as pieces, in order."""
    world = World("tea", "hall", writes_at_once=False)
    assert (world.outlet.free, world.outlet.blocked) == (False, False)
    world.push("own 1")
    world.outlet.flush()
    assert world.outlet.blocked
    world.say("tea", "one", "two")
    world.leave("tea")
    world.defer("own 2")
    world.say("hall", "one")
    world.write()
    assert world.lines == [
        "own 1",
        *said("tea", "one", "two"),
        "tea left 2",
        "own 2",
        *said("hall", "one"),
    ]
    assert not world.outlet.blocked
    assert world.speaker.told == ["blocked", "tea ended"]
    world.outlet.flush()
    assert not world.outlet.blocked


def test_one_that_keeps_up_gets_the_turn_s_own_buffer() -> None:
    """By reference, volatile messages included, which are in no log."""
    world = World("tea", writes_at_once=False)
    world.append("tea", "one")
    batch = world.batch("tea", 0)
    world.outlet.deliver(world.seats["tea"], batch)
    piece = world.outlet.next_piece()
    assert piece is not None
    assert piece.buffer is batch.buffer
    assert world.seats["tea"].cursor == 1
    world.outlet.piece_taken(piece, len(piece.buffer))
    world.outlet.note_progress()
    world.write()
    assert world.outlet.own_bytes == 0


def test_what_comes_while_a_piece_is_on_its_way_follows_it() -> None:
    """The seat's place is what has been written, not what is being written."""
    world = World("tea", writes_at_once=False)
    world.push("own")
    world.outlet.flush()
    world.say("tea", "one")
    piece = world.outlet.next_piece()
    assert piece is not None
    assert piece.buffer == b"own\ntea 1 *: one\n"
    world.say("tea", "two")
    world.leave("tea")
    assert world.outlet.own_bytes == DEFERRED_BYTES + len("tea left 2\n")
    world.window.wire += piece.buffer
    world.outlet.piece_taken(piece, len(piece.buffer))
    world.write()
    assert world.lines == ["own", *said("tea", "one", "two"), "tea left 2"]


def test_a_last_frame_that_is_on_its_way_has_not_gone() -> None:
    """Whoever closes the stream meanwhile would cut it."""
    world = World(writes_at_once=False)
    close(world, b"own close\n")
    piece = world.outlet.next_piece()
    assert piece is not None
    assert not world.outlet.emptied
    world.outlet.piece_taken(piece, len(piece.buffer))
    assert world.outlet.emptied


def test_a_turn_without_a_frame_only_wakes_the_writer() -> None:
    """It moves the seat's place, and has nothing to write."""
    world = World("tea", encoder=Lines(silent={"bob"}), writes_at_once=False)
    world.logs["tea"].append(entry(message(1, "x", sender="bob")))
    world.outlet.deliver(world.seats["tea"], world.batch("tea", 0))
    assert world.outlet.blocked
    assert world.outlet.next_piece() is None
    world.outlet.rest()
    assert (world.seats["tea"].cursor, world.outlet.blocked) == (1, False)


def test_a_seat_that_is_behind_wakes_the_writer_only_while_it_is_open() -> None:
    """A closed one has nothing more to say, however far behind its seats are."""
    world = World("tea", writes_at_once=False)
    world.append("tea", "one")
    assert world.outlet.behind
    close(world, b"own close\n")
    world.write()
    assert not world.outlet.behind
    world.outlet.flush()
    assert not world.outlet.blocked
    assert world.lines == ["own close"]


def test_a_connection_may_close_when_its_writer_has_written_all() -> None:
    """The writer goes on with the last frame."""
    world = World("tea", writes_at_once=False)
    world.speaker.when_ended = lambda: close(world, b"own close\n")
    world.leave("tea")
    world.outlet.flush()
    world.write()
    assert world.lines == ["tea left 0", "own close"]
    assert world.outlet.emptied


# Rooms


def test_the_room_of_everyone_is_no_room_to_be_in() -> None:
    """A hidden seat does not count."""
    world = World()
    assert not world.outlet.has_rooms
    world.sit(EVERYONE)
    assert not world.outlet.has_rooms
    world.sit("tea")
    assert world.outlet.has_rooms
