"""A room's log, against a plain list."""

from __future__ import annotations

import gc
import weakref

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomactors.core.events import Gap, LogEvent, MemberJoined, MemberLeft, Message
from roomactors.core.log import ENTRY_BYTES, Entry, Log
from roomactors.core.settings import RoomSettings
from tests.core.fakes import Lines, entry, message, text


def log_of(*events: LogEvent, settings: RoomSettings | None = None) -> Log:
    """A log that holds these."""
    log = Log("tea", "e1", settings or RoomSettings())
    for event in events:
        log.append(entry(event))
    return log


def joined(seq: int, member: str = "ada", info: str | None = None) -> MemberJoined:
    payload = None if info is None else text(info)
    return MemberJoined(room="tea", seq=seq, member=member, info_payload=payload)


def test_numbers_begin_at_one_and_have_no_hole() -> None:
    """An event goes in only under the next number."""
    log = log_of(message(1), message(2))
    assert (log.base, log.head) == (0, 2)
    with pytest.raises(AssertionError):
        log.append(entry(message(4)))


def test_only_what_is_kept_can_be_looked_up() -> None:
    """A number at the base or above the head is nobody's."""
    log = log_of(*(message(seq) for seq in range(1, 4)), settings=RoomSettings(log_floor=1))
    log.trim(1_000.0)
    assert log.at(3).seq == 3
    for seq in (2, 4):
        with pytest.raises(AssertionError):
            log.at(seq)


def test_a_frame_is_made_once_and_counted_once() -> None:
    """All who speak one protocol are given the same bytes."""
    log = log_of(message(1))
    lines = Lines()
    before = log.size
    first = log.frame(log.at(1), lines)
    assert log.frame(log.at(1), lines) is first
    assert log.at(1).frame(lines) is first
    assert len(lines.encoded) == 1
    assert log.size == before + len(first)


def test_a_frame_of_what_was_trimmed_meanwhile_does_not_count() -> None:
    """The log counts what it holds, whoever still writes older events."""
    log = log_of(message(1), message(2), settings=RoomSettings(log_floor=1))
    gone = log.at(1)
    log.trim(1_000.0)
    size = log.size
    assert log.frame(gone, Lines()) == b"tea 1 *: hello\n"
    assert log.size == size


def test_what_was_trimmed_is_let_go_of_at_once() -> None:
    """Large messages over the limit cost nothing once they are out of the log."""
    log = log_of(message(1), message(2), settings=RoomSettings(log_floor=1))
    gone = weakref.ref(log.at(1))
    log.trim(1_000.0)
    gc.collect()
    assert gone() is None


def test_a_reader_within_the_log_has_lost_nothing() -> None:
    """Up to the base there is no gap."""
    log = log_of(message(1), message(2), settings=RoomSettings(log_floor=1))
    assert log.gap(0) is None
    log.trim(1_000.0)
    assert log.gap(1) is None
    assert log.gap(0) == Gap(room="tea", epoch="e1", first=1, last=1)


def test_a_gap_says_whether_membership_changes_are_in_it() -> None:
    """Who missed only messages need not ask for the roster."""
    left = MemberLeft(room="tea", seq=2, member="ada", reason="left")
    events = (message(1), left, message(3), message(4))
    log = log_of(*events, settings=RoomSettings(log_floor=1))
    log.trim(1_000.0)
    lost = [log.gap(cursor) for cursor in (0, 1, 2)]
    assert [gap.roster for gap in lost if gap is not None] == [True, True, False]


def test_what_is_still_to_be_served_is_kept_over_every_limit() -> None:
    """The events of a turn stay until its members have had them."""
    log = log_of(*(message(seq) for seq in range(1, 6)), settings=RoomSettings(log_floor=1))
    log.trim(1_000.0, keep_after=2)
    assert (log.base, log.head) == (2, 5)
    log.trim(1_000.0, keep_after=5)
    assert log.base == 4


def test_each_protocol_has_its_own_frame() -> None:
    """However many there are; each is made once."""
    log = log_of(message(1))
    protocols = [Lines() for _ in range(4)]
    size = log.size
    for _ in range(2):
        for lines in protocols:
            assert log.frame(log.at(1), lines) == b"tea 1 *: hello\n"
    assert [len(lines.encoded) for lines in protocols] == [1] * 4
    assert log.size == size + 4 * len(b"tea 1 *: hello\n")


def test_info_counts_like_data() -> None:
    """What members say of themselves is held by the log, so it counts."""
    log = log_of(joined(1, info="x" * 100))
    assert log.size == ENTRY_BYTES + 100


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (RoomSettings(log_floor=1, log_messages=2), 2),
        (RoomSettings(log_floor=3, log_messages=2), 3),
        (RoomSettings(log_floor=1, log_bytes=3 * (ENTRY_BYTES + 5)), 3),
        (RoomSettings(log_floor=1, log_bytes=3 * (ENTRY_BYTES + 5) - 1), 2),
        (RoomSettings(log_floor=1, log_seconds=2), 3),
        (RoomSettings(log_floor=4, log_seconds=1, log_bytes=1, log_messages=1), 4),
    ],
)
def test_each_limit_is_met_exactly(settings: RoomSettings, kept: int) -> None:
    """As much as a limit says is kept, and no more; the floor is kept in any case."""
    log = Log("tea", "e1", settings)
    for seq in range(1, 9):
        log.append(entry(message(seq), time=float(seq)))
    log.trim(8.0)
    assert log.head - log.base == kept


@attrs.frozen
class Limits:
    """Some settings, small enough to be met."""

    messages: int
    size: int
    seconds: float
    floor: int


LIMITS = st.builds(
    Limits,
    messages=st.integers(1, 6),
    size=st.integers(1, 8).map(lambda n: n * (ENTRY_BYTES + 20)),
    seconds=st.integers(1, 5).map(float),
    floor=st.integers(1, 4),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("message"), st.integers(0, 900)),
        st.tuples(st.just("joined"), st.integers(0, 50)),
        st.tuples(st.just("wait"), st.integers(0, 3)),
        st.tuples(st.just("frame"), st.integers(0, 9)),
        st.tuples(st.just("trim"), st.just(0)),
    ),
    max_size=60,
)


@given(LIMITS, STEPS)
def test_the_log_is_the_end_of_a_plain_list(limits: Limits, steps: list[tuple[str, int]]) -> None:
    """Whatever goes in, it holds what a list would after dropping the oldest over a limit."""
    log = Log(
        "tea",
        "e1",
        RoomSettings(
            log_messages=limits.messages,
            log_bytes=limits.size,
            log_seconds=limits.seconds,
            log_floor=limits.floor,
        ),
    )
    model: list[Entry] = []
    changes_gone = 0
    lines = Lines()
    now = 0.0
    for what, amount in steps:
        match what:
            case "message":
                model.append(entry(message(log.head + 1, "x" * amount), time=now))
                log.append(model[-1])
            case "joined":
                model.append(entry(joined(log.head + 1, info="x" * amount), time=now))
                log.append(model[-1])
            case "wait":
                now += amount
            case "frame" if model:
                log.frame(model[amount % len(model)], lines)
            case "trim":
                log.trim(now)
                while len(model) > limits.floor and (
                    sum(isinstance(kept.event, Message) for kept in model) > limits.messages
                    or sum(kept.size for kept in model) > limits.size
                    or model[0].time < now - limits.seconds
                ):
                    if not isinstance(model[0].event, Message):
                        changes_gone = model[0].seq
                    del model[0]
            case _:
                pass
        assert [log.at(seq) for seq in range(log.base + 1, log.head + 1)] == model
        assert log.size == sum(kept.size for kept in model)
        assert log.messages == sum(isinstance(kept.event, Message) for kept in model)
        for cursor in range(log.head + 1):
            gap = log.gap(cursor)
            assert (gap is None) == (cursor >= log.base)
            if gap is not None:
                assert (gap.first, gap.last) == (cursor + 1, log.base)
                assert gap.roster == (cursor < changes_gone)


def test_a_gap_ends_where_its_reader_does() -> None:
    """Who was to get no more than 1 has lost no more than 1."""
    settings = RoomSettings(log_floor=1)
    log = log_of(*(message(seq) for seq in (1, 2, 3)), settings=settings)
    log.trim(1_000.0)
    assert log.gap(0, 1) == Gap(room="tea", epoch="e1", first=1, last=1)
    assert log.gap(0, 3) == Gap(room="tea", epoch="e1", first=1, last=2)
