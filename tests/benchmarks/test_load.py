"""The benchmarks' own arithmetic and their checker of deliveries, without a socket."""

from collections.abc import Callable

import pytest

from tests.benchmarks.check import (
    Checker,
    Cursor,
    FaultError,
    OrderPerSender,
    SharedStream,
    is_joined,
    read_json_event,
)
from tests.benchmarks.frames import (
    CLOSE,
    LARGEST_MESSAGE,
    PING,
    DamagedError,
    client_frame,
    message,
    read_message,
    server_frame,
    take_frame,
)
from tests.benchmarks.plan import Better, Claim, Results, Run, ratios
from tests.benchmarks.quantiles import median, percentile
from tests.benchmarks.reference_servers import frame_of, take_message
from tests.benchmarks.servers import BARE, OURS

SIZE = 128

CHECKERS = pytest.mark.parametrize(
    "make", [lambda: SharedStream(SIZE), OrderPerSender], ids=["SharedStream", "OrderPerSender"]
)


def frames(*numbers: int, sender: int = 0) -> list[bytes]:
    return [server_frame(message(sender, number, SIZE)) for number in numbers]


class Listeners:
    """Two members of one room; the first has had messages 0 to 4, the second nothing."""

    def __init__(self, checker: Checker) -> None:
        self.checker = checker
        self.ada, self.bob = Cursor("ada"), Cursor("bob")
        checker.add(self.ada)
        checker.add(self.bob)
        self.give(self.ada, b"".join(frames(0, 1, 2, 3, 4)))

    def give(self, cursor: Cursor, data: bytes) -> int:
        return self.checker.take(cursor, memoryview(data))

    def fault(self, cursor: Cursor, data: bytes) -> str:
        with pytest.raises(FaultError) as caught:
            self.give(cursor, data)
        return caught.value.kind


@CHECKERS
def test_what_all_members_got_in_order_is_right(make: Callable[[], Checker]) -> None:
    """A good run passes, and each delivery is counted once."""
    room = Listeners(make())
    assert room.give(room.bob, b"".join(frames(0, 1, 2, 3, 4))) == 5
    for member in (room.ada, room.bob):
        room.checker.finish(member, {0: 5, 1: 0})
        assert member.deliveries == 5
        assert room.checker.seen(member, 0) == 5


@CHECKERS
@pytest.mark.parametrize("step", [1, 2, 3, 131, 132, 133, 200])
def test_pieces_of_any_size_are_put_together(make: Callable[[], Checker], step: int) -> None:
    """It makes no difference where the kernel cuts what a member reads, first or not."""
    room = Listeners(make())
    data = b"".join(frames(0, 1, 2, 3, 4, 5, 6))
    assert sum(room.give(room.bob, data[at : at + step]) for at in range(0, len(data), step)) == 7
    room.give(room.ada, b"".join(frames(5, 6)))
    room.checker.finish(room.bob, {0: 7})
    room.checker.finish(room.ada, {0: 7})


@CHECKERS
@pytest.mark.parametrize("member", ["ada", "bob"])
def test_a_lost_message_is_found(make: Callable[[], Checker], member: str) -> None:
    """Whoever misses a message, the first to get that far or a later one."""
    room = Listeners(make())
    missing = frames(6) if member == "ada" else frames(0, 1, 3)
    assert room.fault(getattr(room, member), b"".join(missing)) == "lost"


@CHECKERS
@pytest.mark.parametrize("member", ["ada", "bob"])
def test_a_repeated_message_is_found(make: Callable[[], Checker], member: str) -> None:
    """Whoever gets it again."""
    room = Listeners(make())
    again = frames(5, 5) if member == "ada" else frames(0, 1, 1)
    assert room.fault(getattr(room, member), b"".join(again)) == "repeated"


@CHECKERS
@pytest.mark.parametrize("member", ["ada", "bob"])
def test_swapped_messages_are_found(make: Callable[[], Checker], member: str) -> None:
    """Whoever gets the later one first."""
    room = Listeners(make())
    swapped = frames(6, 5) if member == "ada" else frames(0, 2, 1)
    assert room.fault(getattr(room, member), b"".join(swapped)) == "out of order"


@CHECKERS
@pytest.mark.parametrize("member", ["ada", "bob"])
@pytest.mark.parametrize("place", [0, 1, 3, 4, 20, 29, 60, 131])
def test_a_damaged_message_is_found(make: Callable[[], Checker], member: str, place: int) -> None:
    """One wrong bit in head, number, checksum or text, at the first to get it or a later one."""
    room = Listeners(make())
    wrong = bytearray(frames(5 if member == "ada" else 0)[0])
    wrong[place] ^= 1
    following = b"".join(frames(6, 7) if member == "ada" else frames(1, 2))
    assert room.fault(getattr(room, member), bytes(wrong) + following) in {"damaged", "lost"}


def test_a_change_in_the_middle_of_a_message_is_found() -> None:
    """Also when its beginning was right, and came before."""
    room = Listeners(SharedStream(SIZE))
    frame = frames(0)[0]
    room.give(room.bob, frame[:70])
    assert room.fault(room.bob, b"?" + frame[71:]) == "damaged"


@CHECKERS
def test_a_missing_end_is_found(make: Callable[[], Checker]) -> None:
    """A member that lacks the last message, or a part of it, has not had everything."""
    room = Listeners(make())
    room.give(room.bob, b"".join(frames(0, 1, 2, 3)))
    with pytest.raises(FaultError, match="lost"):
        room.checker.finish(room.bob, {0: 5})
    room.give(room.bob, frames(4)[0][:-1])
    with pytest.raises(FaultError, match="lost"):
        room.checker.finish(room.bob, {0: 5})


@CHECKERS
def test_what_nobody_got_is_found(make: Callable[[], Checker]) -> None:
    """A message that was sent and reached no member at all is lost as well."""
    room = Listeners(make())
    with pytest.raises(FaultError, match="lost"):
        room.checker.finish(room.ada, {0: 6})


def test_one_order_is_asked_of_those_who_promise_it() -> None:
    """Two senders' messages in another order are wrong in a shared stream, and else not."""
    mine, yours = frames(0)[0], frames(0, sender=1)[0]
    for checker, wrong in ((SharedStream(SIZE), True), (OrderPerSender(), False)):
        ada, bob = Cursor("ada"), Cursor("bob")
        checker.add(ada)
        checker.add(bob)
        checker.take(ada, memoryview(mine + yours))
        if wrong:
            with pytest.raises(FaultError, match="out of order"):
                checker.take(bob, memoryview(yours + mine))
        else:
            assert checker.take(bob, memoryview(yours + mine)) == 2


@CHECKERS
@pytest.mark.parametrize("step", [1, 5, 1000])
def test_a_ping_between_messages_is_answered_and_no_fault(
    make: Callable[[], Checker], step: int
) -> None:
    """A heartbeat may come between any two messages, for the first member or a later one."""
    room = Listeners(make())
    answers: list[bytes] = []
    room.ada.on_ping = room.bob.on_ping = answers.append
    ping = server_frame(b"hm", opcode=PING)
    for cursor, data in (
        (room.ada, ping + frames(5)[0]),
        (room.bob, b"".join([*frames(0, 1), ping, *frames(2, 3, 4, 5)])),
    ):
        for at in range(0, len(data), step):
            room.give(cursor, data[at : at + step])
        room.checker.finish(cursor, {0: 6})
    assert answers == [b"hm", b"hm"]


@CHECKERS
def test_a_close_is_a_fault_that_names_its_code(make: Callable[[], Checker]) -> None:
    """A member that the server ends is not a slow one."""
    room = Listeners(make())
    with pytest.raises(FaultError, match="closed: bob: 4008 slow"):
        room.give(room.bob, server_frame((4008).to_bytes(2, "big") + b"slow", opcode=CLOSE))


def test_a_stream_forgets_what_all_members_have_had() -> None:
    """A long run does not fill the load's memory, and goes on right where it forgets."""
    checker = SharedStream(LARGEST_MESSAGE)
    ada, bob = Cursor("ada"), Cursor("bob")
    checker.add(ada)
    checker.add(bob)
    for number in range(400):  # 26 MB
        frame = server_frame(message(0, number, LARGEST_MESSAGE))
        for cursor in (ada, bob):
            assert checker.take(cursor, memoryview(frame)) == 1
    assert len(checker._stream) < 20_000_000
    checker.finish(ada, {0: 400})
    checker.finish(bob, {0: 400})


def test_json_events_bring_messages_or_none_or_are_unexpected() -> None:
    """`message` is a delivery, presence is none, and a refusal or a gap ends the run."""
    text = message(0, 0, SIZE)
    event = b'{"type":"message","room":"r","seq":3,"from":"m_1","at":1,"data":"%b"}' % text
    assert read_json_event(event) == text
    assert read_json_event(b'{"type":"member_joined","room":"r","seq":1,"member":"m_1"}') is None
    with pytest.raises(FaultError, match="unexpected"):
        is_joined(b'{"type":"error","code":"room_full","message":"no"}', "r")
    assert is_joined(b'{"type":"joined","room":"r","epoch":"e","seq":0}', "r")
    assert not is_joined(b'{"type":"joined","room":"$all","epoch":"e","seq":0}', "r")
    assert not is_joined(b'{"type":"welcome","member":"m_1"}', "r")
    with pytest.raises(FaultError, match="unexpected"):
        read_json_event(b'{"type":"gap","room":"r","from":1,"to":2}')


@pytest.mark.parametrize("size", [126, 128, 4096, LARGEST_MESSAGE])
def test_a_message_can_be_read_again(size: int) -> None:
    """It has the size asked for, and names its sender and its number."""
    text = message(7, 123_456, size)
    assert len(text) == size
    assert read_message(text) == (7, 123_456)
    with pytest.raises(DamagedError):
        read_message(text[:-1] + b"!")


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_both_sides_read_each_others_frames(size: int) -> None:
    """The load's and the bare server's frames are the same protocol."""
    payload = bytes(number & 0xFF for number in range(size))
    masked = bytearray(client_frame(payload) + b"rest")
    assert take_message(bytearray(masked[:-5])) is None
    assert take_message(masked) == (1, payload)
    assert masked == b"rest"
    frame = frame_of(1, payload)
    assert frame == server_frame(payload)
    assert take_frame(frame, 0) == (1, payload, len(frame))
    assert take_frame(frame[:-1], 0) is None or size == 0


def test_a_median_is_the_middle() -> None:
    """Of an odd number one of the values, of an even one the mean of two, of none an error."""
    assert median([5, 1, 3]) == 3
    assert median([4, 1, 3, 2]) == 2.5
    with pytest.raises(ValueError, match="no values"):
        median([])


def test_a_percentile_is_one_of_the_values() -> None:
    """By nearest rank: the smallest value that the share of all does not exceed."""
    ranked = [float(value) for value in range(1, 201)]
    assert percentile(ranked, 50) == 100
    assert percentile(ranked, 99) == 198
    assert percentile(ranked, 99.9) == 200
    assert percentile(ranked, 100) == 200
    assert percentile([7.0], 1) == 7
    for share in (0, 100.5):
        with pytest.raises(ValueError, match="share"):
            percentile(ranked, share)


def test_ratios_are_of_the_same_repetition() -> None:
    """Noise that both sides of one repetition share cancels out."""
    assert ratios([2.0, 8.0], [1.0, 2.0]) == [2.0, 4.0]
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


def test_a_claim_is_met_on_its_own_side_of_the_target() -> None:
    """The target itself counts as met."""

    def met(value: float, better: Better) -> bool:
        return Claim(text="", unit="", values=[value], better=better, target=4).met

    assert [met(value, "at least") for value in (3.9, 4, 4.1)] == [False, True, True]
    assert [met(value, "at most") for value in (3.9, 4, 4.1)] == [True, True, False]


def test_results_are_kept_by_server_and_variant() -> None:
    """What a run did not measure is absent and not zero."""
    results = Results()
    run = Run(OURS, "raw", lambda running: {})
    results.add(run, {"rate": 1.0})
    results.add(run, {"rate": 2.0, "late": 3.0})
    assert results.values(OURS, "raw", "rate") == [1.0, 2.0]
    assert results.values(OURS, "raw", "late") == [3.0]
    assert results.values(BARE, "raw", "rate") == []
