"""Events joined into one buffer, and where a write of it was cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from roomactors.core.batch import Batch, join_frames, read_frames
from roomactors.core.events import LogEvent, MemberJoined, Message
from roomactors.core.log import Log
from roomactors.core.settings import RoomSettings
from tests.core.fakes import Lines, entry, message, text


def joined(seq: int, member: str) -> MemberJoined:
    return MemberJoined(room="tea", seq=seq, member=member)


def log_of(*events: LogEvent) -> Log:
    """A log that holds these, and lets go of all but the last of them when asked."""
    log = Log("tea", "e1", RoomSettings(log_floor=1))
    for event in events:
        log.append(entry(event, count=event.seq or 0))
    return log


def join(log: Log, lines: Lines, member: str | None = None) -> Batch:
    entries = [log.at(seq) for seq in range(log.base + 1, log.head + 1)]
    return join_frames(log, entries, lines, base=log.base, head=log.head, member=member)


def test_each_frame_has_its_end_and_its_number() -> None:
    """The buffer is the frames in a row, and says where each ends."""
    batch = join(log_of(message(1, "a"), message(2, "bb")), Lines())
    assert batch.buffer == b"tea 1 *: a\ntea 2 *: bb\n"
    assert (list(batch.ends), list(batch.seqs)) == ([11, 23], [1, 2])


def test_a_write_that_ends_at_a_frame_leaves_nothing_over() -> None:
    """Nothing taken, one frame taken, all taken."""
    batch = join(log_of(message(1, "a"), message(2, "bb")), Lines())
    assert batch.cut(0) == (0, b"")
    assert batch.cut(11) == (1, b"")
    assert batch.cut(23) == (2, b"")


def test_a_write_that_cuts_a_frame_leaves_the_rest_of_that_one() -> None:
    """The cursor is the cut frame's number; what comes later is read again from the log."""
    batch = join(log_of(message(1, "a"), message(2, "bb")), Lines())
    assert batch.cut(1) == (1, b"ea 1 *: a\n")
    assert batch.cut(12) == (2, b"ea 2 *: bb\n")


def test_what_excludes_the_reader_is_left_out() -> None:
    """Messages and changes about oneself alike."""
    log = log_of(message(1, "a", excluded=["ada"]), joined(2, "ada"), message(3, "b"))
    assert join(log, Lines(), "ada").buffer == b"tea 3 *: b\n"
    assert join(log, Lines(), "bob").buffer.count(b"\n") == 3


def test_what_the_protocol_has_no_word_for_is_left_out() -> None:
    """An empty frame has no end of its own, and the cursor passes it all the same."""
    log = log_of(message(1, "a"), message(2, "b", sender="bob"), joined(3, "eve"), message(4, "c"))
    lines = Lines(silent=["bob"])
    batch = join(log, lines)
    assert list(batch.seqs) == [1, 3, 4]
    assert batch.cut(len(b"tea 1 *: a\n"))[0] == 1
    assert batch.head == 4


def test_a_run_of_membership_changes_becomes_one_frame() -> None:
    """Only where no message is between them; its number is that of the last."""
    log = log_of(
        joined(1, "ada"), joined(2, "bob"), message(3, "a"), joined(4, "eve"), joined(5, "fay")
    )
    batch = join(log, Lines(folds=2))
    assert batch.buffer == b"tea 1-2 2 present\ntea 3 *: a\ntea 4-5 5 present\n"
    assert list(batch.seqs) == [2, 3, 5]


def test_a_run_that_the_protocol_does_not_fold_goes_one_by_one() -> None:
    """Each change is a frame then, and what has no word is left out there, too."""

    class Quiet(Lines):  # type: ignore[misc]
        def event(self, event: LogEvent) -> bytes:
            return b"" if event.seq == 2 else super().event(event)

    log = log_of(joined(1, "ada"), joined(2, "bob"), joined(3, "eve"))
    assert list(join(log, Quiet()).seqs) == [1, 3]


def test_a_volatile_message_has_the_cursor_of_the_one_before_it() -> None:
    """Once it has gone, what follows in the log is still to come."""
    log = log_of(message(1, "a"))
    volatile = Message(room="tea", seq=None, sender=None, at=0, payload=text("v"))
    size = log.size
    entries = [log.at(1), entry(volatile, seq=1)]
    lines = Lines()
    batch = join_frames(log, entries, lines, base=0, head=1)
    assert batch.buffer == b"tea 1 *: a\ntea ~ *: v\n"
    assert batch.cut(12) == (1, b"ea ~ *: v\n")
    assert log.size == size + len(b"tea 1 *: a\n")


def test_a_reader_gets_the_log_in_stretches() -> None:
    """At most so many bytes at once; the first frame goes whatever its size."""
    log = log_of(message(1, "x" * 100), message(2, "a"), message(3, "b"), message(4, "c"))
    lines = Lines()
    cursor, seqs = 0, []
    while cursor < log.head:
        batch = read_frames(log, lines, cursor=cursor, end=log.head, member="ada", most=20)
        assert batch is not None
        assert batch.base == cursor
        seqs.append(list(batch.seqs))
        cursor = batch.head
    assert seqs == [[1], [2, 3], [4]]


def test_a_stretch_stops_at_its_end() -> None:
    """A member that has left gets nothing after its end."""
    log = log_of(message(1, "a"), message(2, "b"))
    batch = read_frames(log, Lines(), cursor=0, end=1, member="ada", most=1000)
    assert batch is not None
    assert batch.buffer == b"tea 1 *: a\n"


def test_a_gap_goes_before_what_is_kept() -> None:
    """One frame says what is lost; the cursor after it is the last lost number."""
    log = log_of(message(1, "a"), message(2, "b"), message(3, "c"))
    log.trim(1_000.0)
    batch = read_frames(log, Lines(), cursor=0, end=3, member="ada", most=1000)
    assert batch is not None
    assert batch.buffer == b"tea gap 1-2\ntea 3 *: c\n"
    assert list(batch.seqs) == [2, 3]


def test_a_protocol_without_a_word_for_a_gap_gets_no_batch() -> None:
    """The connection must end, since silence would be a lie."""
    log = log_of(message(1, "a"), message(2, "b"))
    log.trim(1_000.0)
    lines = Lines(says_gaps=False)
    assert read_frames(log, lines, cursor=0, end=2, member="ada", most=1000) is None
    assert read_frames(log, lines, cursor=1, end=2, member="ada", most=1000) is not None


EVENTS = st.lists(
    st.one_of(
        st.builds(lambda words: ("message", words), st.text(st.sampled_from("ab é"), max_size=9)),
        st.builds(lambda who: ("joined", who), st.sampled_from(["ada", "bob"])),
    ),
    max_size=12,
)


@given(EVENTS, st.integers(1, 200), st.lists(st.integers(0, 40)))
def test_whatever_a_write_takes_each_frame_arrives_whole_and_once(
    events: list[tuple[str, str]], most: int, takes: list[int]
) -> None:
    """A reader that finishes the cut frame and reads on from the cursor gets the same bytes."""
    log = log_of(
        *(
            message(seq, what) if kind == "message" else joined(seq, what)
            for seq, (kind, what) in enumerate(events, 1)
        )
    )
    plain = Lines()
    expected = b"".join(plain.event(log.at(seq).event) for seq in range(1, log.head + 1))
    cursor, wire, rest = 0, b"", b""
    windows = iter(takes)
    lines = Lines()
    while rest or cursor < log.head:
        window = next(windows, 1_000)
        if rest:
            wire, rest = wire + rest[:window], rest[window:]
            continue
        batch = read_frames(log, lines, cursor=cursor, end=log.head, member="eve", most=most)
        assert batch is not None
        taken = min(window, len(batch.buffer))
        wire += batch.buffer[:taken]
        cursor, rest = batch.cut(taken)
        if taken == len(batch.buffer):
            cursor = batch.head
    assert wire == expected
