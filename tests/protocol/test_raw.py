"""Frames of `/raw` as values, and values as frames, exactly and both ways."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roomactors.core.data import Data
from roomactors.core.events import Gap, MemberInfo, MemberJoined, MemberLeft, Message
from roomactors.core.ports import Encoder
from roomactors.protocol.json_data import check_json, freeze
from roomactors.protocol.raw import RawEncoder, binary_to_data, text_to_data


def text_frame(payload: bytes) -> bytes:
    assert type(payload) is bytes
    return b"T:" + payload


def binary_frame(payload: bytes) -> bytes:
    assert type(payload) is bytes
    return b"B:" + payload


encoder = RawEncoder(text_frame, binary_frame)


def framed(data: Data) -> bytes:
    return encoder.event(Message(room="tea", seq=1, sender="m_1", at=0, payload=data))


@given(st.text())
@example("")
@example('"\\')
@example("\x00\x1f\x7f\u2028\u2029😀")
@example('{"base64":"QQ=="}')
def test_text_goes_through_as_it_is(text: str) -> None:
    """In the log it is a JSON string, and comes out as the same frame."""
    data = text_to_data(text.encode())
    assert json.loads(data) == text
    assert check_json(bytes(data)) == text
    assert data == freeze(text)
    assert framed(data) == b"T:" + text.encode()


@given(st.binary())
@example(b"")
@example(bytes(range(256)))
def test_binary_goes_through_as_it_is(payload: bytes) -> None:
    """In the log it is `{"base64": …}`, and comes out as the same frame."""
    data = binary_to_data(payload)
    value = {"base64": base64.b64encode(payload).decode()}
    assert json.loads(data) == value
    assert check_json(bytes(data)) == value
    assert data == freeze(value)
    assert framed(data) == b"B:" + payload


@pytest.mark.parametrize(
    ("value", "frame"),
    [
        (None, b"T:null"),
        (1.5, b"T:1.5"),
        (["a", {"b": None}], b'T:["a",{"b":null}]'),
        ({}, b"T:{}"),
        ({"base64": "QUI="}, b"B:AB"),
        ({"base64": "QUI"}, b'T:{"base64":"QUI"}'),
        ({"base64": "QUJ="}, b'T:{"base64":"QUJ="}'),
        ({"base64": "QUI=\n"}, b'T:{"base64":"QUI=\\n"}'),
        ({"base64": "QU I="}, b'T:{"base64":"QU I="}'),
        ({"base64": "-_-_"}, b'T:{"base64":"-_-_"}'),
        ({"base64": "QUI=QUI="}, b'T:{"base64":"QUI=QUI="}'),
        ({"base64": "é"}, 'T:{"base64":"é"}'.encode()),
        ({"base64": 'QU"I='}, b'T:{"base64":"QU\\"I="}'),
        ({"base64": "QUI=", "more": 1}, b'T:{"base64":"QUI=","more":1}'),
        ({"more": 1, "base64": "QUI="}, b'T:{"more":1,"base64":"QUI="}'),
        ({"base64": 1}, b'T:{"base64":1}'),
        ([{"base64": "QUI="}], b'T:[{"base64":"QUI="}]'),
    ],
)
def test_any_other_value_arrives_as_compact_json(value: object, frame: bytes) -> None:
    """Binary is exactly what a binary frame would have become, and nothing like it."""
    assert framed(freeze(value)) == frame


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["base64", "a"]), inner),
    )
)
def test_every_value_makes_a_frame(value: object) -> None:
    """What other protocols may say never fails here."""
    kind, _, payload = framed(freeze(value)).partition(b":")
    if kind == b"B":
        assert value == {"base64": base64.b64encode(payload).decode()}
    elif isinstance(value, str):
        assert payload.decode() == value
    else:
        assert json.loads(payload) == value


def test_who_comes_and_goes_is_no_frame() -> None:
    """Neither alone nor in a run."""
    came = MemberJoined(room="tea", seq=1, member="m_1")
    info = MemberInfo(room="tea", seq=2, member="m_1", info_payload=None)
    left = MemberLeft(room="tea", seq=3, member="m_1", reason="left")
    for event in (came, info, left):
        assert encoder.event(event) == b""
    assert encoder.presence([came, info, left] * 10, 0) == b""


def test_a_gap_has_no_frame() -> None:
    """So the connection must end, which None says and an empty frame would not."""
    port: Encoder = encoder
    assert port.gap(Gap(room="tea", epoch="e", first=1, last=2)) is None
