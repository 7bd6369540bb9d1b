"""The frame layer beside wsproto's: the same bytes must mean the same to both.

Where the two differ, each time on purpose:

* wsproto has no limits, so ours are off here; `test_frames.py` drives them.
* wsproto waits for a frame's whole header and a byte of its payload before it refuses
  it, we refuse as soon as a rule is broken. A stream that ends there is made longer.
* wsproto, like Python's decoder, lets the second byte of a surrogate pass and refuses
  the third.
* wsproto refuses the close code 1014, which was registered after it was written.
"""

from __future__ import annotations

import itertools
import random
import types

import pytest
import wsproto.frame_protocol
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from roomactors.server.frames import (
    Binary,
    Close,
    Frame,
    Ping,
    Pong,
    Text,
    binary_frame,
    close_frame,
    ping_frame,
    pong_frame,
    text_frame,
)
from tests.server.test_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    chopped,
    client_frame,
    parse,
)

# The same examples in every run.
repeatable = settings(max_examples=800, deadline=None, derandomize=True, database=None)


class WsprotoReader:
    """What wsproto makes of a stream, said in our words."""

    def __init__(self, *, client: bool) -> None:
        self._protocol = FrameProtocol(client, [])
        self._parts: list[str | bytes] = []
        self.frames: list[Frame] = []
        self.code: int | None = None
        self.problem = ""

    def feed(self, data: bytes) -> None:
        self._protocol.receive_bytes(data)
        try:
            for frame in self._protocol.received_frames():
                self._take(frame)
        except ParseFailed as failed:
            self.code, self.problem = int(failed.code), str(failed)

    def _take(self, frame: wsproto.frame_protocol.Frame) -> None:
        payload = frame.payload
        if isinstance(payload, tuple):
            code, reason = payload
            self.frames.append(Close(None if code == 1005 else int(code), reason))
        elif isinstance(payload, str):
            self._parts.append(payload)
            if frame.message_finished:
                self.frames.append(Text("".join(map(str, self._parts)).encode()))
                self._parts.clear()
        elif frame.opcode is Opcode.PING:
            self.frames.append(Ping(payload))
        elif frame.opcode is Opcode.PONG:
            self.frames.append(Pong(payload))
        else:
            self._parts.append(payload)
            if frame.message_finished:
                self.frames.append(Binary(b"".join(map(bytes, self._parts))))  # type: ignore[arg-type]
                self._parts.clear()


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(ends)]


cut_places = st.lists(st.integers(0, 2000), max_size=12)
# Payloads around each form of the length, and small ones.
sizes = st.one_of(st.integers(0, 40), st.sampled_from([125, 126, 127, 128, 600, 65535, 65536]))
texts = st.one_of(st.text(max_size=60), st.builds(lambda n: "aé"[n % 2] * n, sizes))
binaries = st.one_of(st.binary(max_size=60), st.builds(lambda n: bytes([n % 256]) * n, sizes))
small = st.binary(max_size=125)

# A message in one or more fragments, or a control frame.
Step = list[str] | list[bytes] | Ping | Pong
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.lists(texts, min_size=1, max_size=4),
        st.lists(binaries, min_size=1, max_size=4),
        st.builds(Ping, small),
        st.builds(Pong, small),
    ),
    max_size=6,
)
ends = st.one_of(
    st.none(),
    st.tuples(
        st.sampled_from([None, 1000, 1001, 1011, 1012, 3000, 4999]),
        st.text(max_size=80),
    ),
)


@given(
    steps=steps, end=ends, between=st.lists(small, max_size=3), cuts=cut_places, seed=st.integers()
)
@repeatable
def test_what_a_wsproto_client_sends_arrives(
    steps: list[Step],
    end: tuple[int | None, str] | None,
    between: list[bytes],
    cuts: list[int],
    seed: int,
) -> None:
    """Messages, fragments with pings between them, control frames and the close."""
    client = FrameProtocol(True, [])
    expected: list[Frame] = []
    data = bytearray()
    with pytest.MonkeyPatch.context() as patch:
        # Its masks are random; here they are part of the example.
        urandom = random.Random(seed).randbytes
        patch.setattr(wsproto.frame_protocol, "os", types.SimpleNamespace(urandom=urandom))
        for step in steps:
            if isinstance(step, Ping):
                data += client.ping(step.payload)
                expected.append(step)
                continue
            if isinstance(step, Pong):
                data += client.pong(step.payload)
                expected.append(step)
                continue
            whole = b""
            parts: list[str | bytes] = [*step]
            for index, part in enumerate(parts):
                last = index == len(parts) - 1
                data += client.send_data(part, fin=last)
                whole += part.encode() if isinstance(part, str) else part
                if not last:
                    for payload in between:
                        data += client.ping(payload)
                        expected.append(Ping(payload))
            expected.append(Text(whole) if isinstance(parts[0], str) else Binary(whole))
        if end is not None:
            code, reason = end
            data += client.close(code, None if code is None else reason)
            sent = reason.encode()[:123].decode(errors="ignore")
            expected.append(Close(None, "") if code is None else Close(code, sent))
    assert parse([bytes(data)]) == (expected, None)
    assert parse(pieces_of(bytes(data), cuts)) == (expected, None)


def agree(data: bytes, cuts: list[int], *, complete: bool) -> None:
    """Assert that both read the same out of `data`.

    Args:
      complete: the stream ends at the end of a frame, so that both know all of it.
    """
    frames, code = parse(pieces_of(data, cuts))
    theirs = WsprotoReader(client=False)
    theirs.feed(data)
    if theirs.problem == "CLOSE with unknown reserved code" and code != 1002:
        # 1014, and what we say of its reason.
        if code is None:
            close = frames.pop()
            assert isinstance(close, Close)
            assert close.code == 1014
        assert frames == theirs.frames
        return
    if code is not None and theirs.code is None and not complete:
        theirs.feed(bytes(16))
        if code == 1007:
            # Half a surrogate may end its frame; then wsproto has read on.
            assert theirs.frames[: len(frames)] == frames
            assert theirs.code is not None
            return
    assert (frames, code) == (theirs.frames, theirs.code)


def without_surrogates(payload: bytes) -> bytes:
    return payload.replace(b"\xed", b"\xee")


noisy_payloads = st.one_of(
    st.text(max_size=50).map(str.encode),
    st.text(max_size=50).map(lambda text: text.encode()[1:]),
    st.text(max_size=50).map(lambda text: text.encode()[:-1]),
    st.sampled_from(
        [b"", b"\xc3", b"\xa9", b"\xf0\x9f", b"\x98\x80", b"\xf4\x90", b"\xff", b"\xe2"]
    ),
    st.binary(max_size=140),
)
close_payloads = st.one_of(
    noisy_payloads,
    st.builds(
        lambda code, reason: code.to_bytes(2, "big") + reason,
        st.one_of(st.integers(995, 1020), st.integers(0, 65535)),
        noisy_payloads,
    ),
)
masks = st.one_of(*[st.binary(min_size=4, max_size=4)] * 20, st.none())
odd_bits = st.sampled_from([0] * 30 + [1, 2, 4])


def frames_of(
    opcodes: list[int], payloads: st.SearchStrategy[bytes], fin: st.SearchStrategy[bool]
) -> st.SearchStrategy[bytes]:
    return st.builds(
        client_frame, st.sampled_from(opcodes), payloads, fin=fin, rsv=odd_bits, mask=masks
    )


data_frames = frames_of(
    [CONTINUATION, CONTINUATION, TEXT, BINARY],
    noisy_payloads.map(without_surrogates),
    st.booleans(),
)
whole_texts = frames_of([TEXT], noisy_payloads, st.just(True))
control_frames = frames_of(
    [PING, PONG] * 10 + [3, 7, 11, 15], small, st.sampled_from([True] * 20 + [False])
)
close_frames = frames_of([CLOSE], close_payloads, st.just(True))
long_lengths = st.builds(
    lambda size, width: client_frame(BINARY, bytes(size), width=width),
    st.sampled_from([0, 125, 126, 300]),
    st.sampled_from([2, 8]),
)
# Fragments that belong together, so that long valid streams are frequent.
messages = st.builds(
    lambda opcode, parts, control: control.join(
        client_frame(opcode if i == 0 else CONTINUATION, part, fin=i == len(parts) - 1)
        for i, part in enumerate(parts)
    ),
    st.sampled_from([TEXT, BINARY]),
    st.one_of(
        st.lists(st.text(max_size=20).map(str.encode), min_size=1, max_size=5),
        st.text(min_size=1, max_size=20).map(
            lambda text: chopped(without_surrogates(text.encode()), 1)
        ),
        st.lists(noisy_payloads.map(without_surrogates), min_size=1, max_size=3),
    ),
    st.one_of(st.just(b""), control_frames),
)
streams = st.lists(
    st.one_of(messages, data_frames, whole_texts, control_frames, close_frames, long_lengths),
    max_size=8,
).map(b"".join)


@given(data=streams, cuts=cut_places)
@repeatable
def test_whole_frames_right_or_wrong_mean_the_same_to_both(data: bytes, cuts: list[int]) -> None:
    """The same frames come out, then both refuse with the same code, or neither does."""
    agree(data, cuts, complete=True)


@given(
    data=streams,
    cuts=cut_places,
    changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=4),
    keep=st.integers(0, 3000),
)
@repeatable
def test_damaged_and_cut_streams_mean_the_same_to_both(
    data: bytes, cuts: list[int], changes: list[tuple[int, int]], keep: int
) -> None:
    """A few bytes are changed, and the end is missing."""
    damaged = bytearray(data[:keep] or b"\0")
    for place, byte in changes:
        damaged[place % len(damaged)] = byte
    agree(bytes(damaged), cuts, complete=False)


@given(data=st.binary(max_size=200), cuts=cut_places)
@repeatable
def test_random_bytes_mean_the_same_to_both(data: bytes, cuts: list[int]) -> None:
    """Most are refused at once, some are the beginning of something."""
    agree(data, cuts, complete=False)


def test_the_differences_that_are_named_are_there() -> None:
    """If wsproto changes its mind on one of them, the page above has to."""
    data = client_frame(CLOSE, (1014).to_bytes(2, "big"))
    theirs = WsprotoReader(client=False)
    theirs.feed(data)
    assert (theirs.code, parse([data])) == (1002, ([Close(1014, "")], None))

    surrogate = client_frame(TEXT, b"\xed\xa0\x80")
    theirs = WsprotoReader(client=False)
    theirs.feed(surrogate[:-1])
    assert (theirs.code, parse([surrogate[:-1]])) == (None, ([], 1007))
    theirs.feed(surrogate[-1:])
    assert theirs.code == 1007

    header = client_frame(CONTINUATION, b"a")[:2]
    theirs = WsprotoReader(client=False)
    theirs.feed(header)
    assert (theirs.code, parse([header])) == (None, ([], 1002))


@given(
    payloads=st.lists(st.tuples(st.sampled_from([TEXT, BINARY, PING, PONG]), texts), max_size=6),
    code=st.sampled_from([1000, 1001, 1002, 1007, 1008, 1009, 1011, 1012, 1013, 4001, 4029]),
    reason=st.text(max_size=200),
)
@repeatable
def test_a_wsproto_client_reads_what_we_send(
    payloads: list[tuple[int, str]], code: int, reason: str
) -> None:
    """Messages of any size, control frames, and a close with a reason of any length."""
    data = b""
    expected: list[Frame] = []
    for opcode, text in payloads:
        payload = text.encode()
        short = payload[:125]
        if opcode == TEXT:
            data += text_frame(payload)
            expected.append(Text(payload))
        elif opcode == BINARY:
            data += binary_frame(payload)
            expected.append(Binary(payload))
        elif opcode == PING:
            data += ping_frame(short)
            expected.append(Ping(short))
        else:
            data += pong_frame(short)
            expected.append(Pong(short))
    data += close_frame(code, reason)
    expected.append(Close(code, reason.encode()[:123].decode(errors="ignore")))
    client = WsprotoReader(client=True)
    client.feed(data)
    assert (client.frames, client.code) == (expected, None)
