"""What a client's text becomes, and what it is told when it is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomactors.protocol.codec import (
    BroadcastRequest,
    JoinRequest,
    LeaveRequest,
    MembersRequest,
    PingRequest,
    Ref,
    Request,
    RequestError,
    UnsupportedRequest,
    decode,
)
from roomactors.protocol.json_data import Json


def read(**fields: object) -> Request:
    return decode(json.dumps(fields).encode())


def refusal(text: bytes) -> tuple[str, Ref | None, str | None]:
    with pytest.raises(RequestError) as caught:
        decode(text)
    assert str(caught.value) == f"{caught.value.code}: {caught.value.message}"
    return str(caught.value.code), caught.value.ref, caught.value.room


def refused(**fields: object) -> tuple[str, Ref | None, str | None]:
    return refusal(json.dumps(fields).encode())


def broadcast(**fields: object) -> Request:
    return read(type="broadcast", room="tea", data=1, **fields)


def test_join() -> None:
    """With and without info, which null takes away and absence leaves alone."""
    assert read(type="join", room="tea") == JoinRequest("tea", None, None, False)
    assert read(type="join", room="tea", ref=1, info={"n": [1, 2]}) == JoinRequest(
        "tea", 1, Json(b'{"n":[1,2]}'), True
    )
    assert read(type="join", room="tea", ref="", info=None) == JoinRequest("tea", "", None, True)


def test_leave() -> None:
    """A room and perhaps a ref."""
    assert read(type="leave", room="é") == LeaveRequest("é", None)
    assert read(type="leave", room="tea", ref=-(2**63)) == LeaveRequest("tea", -(2**63))


def test_broadcast() -> None:
    """All fields, and their defaults; null is data like any other."""
    assert broadcast() == BroadcastRequest("tea", None, Json(b"1"), True, frozenset(), False)
    assert read(
        type="broadcast",
        room="tea",
        ref="r",
        data=None,
        echo=False,
        volatile=True,
        **{"except": ["m_1", "m_2", "m_1"]},
    ) == BroadcastRequest("tea", "r", Json(b"null"), False, frozenset({"m_1", "m_2"}), True)


def test_members() -> None:
    """A page, from the beginning or after the one before."""
    assert read(type="members", room="tea", ref=1) == MembersRequest("tea", 1, None, 200)
    for after in (0, 7, 10**18 - 1):
        assert read(
            type="members", room="tea", ref="r", after=str(after), limit=1
        ) == MembersRequest("tea", "r", after, 1)


def test_ping() -> None:
    """A ref or none."""
    assert read(type="ping") == PingRequest(None)
    assert read(type="ping", ref="x") == PingRequest("x")


def test_unknown_fields_are_ignored() -> None:
    """A client of a later version may say more than this one reads."""
    assert read(type="ping", ref=1, later={"a": 1}) == PingRequest(1)
    assert read(type="leave", room="tea", id="12345678") == LeaveRequest("tea", None)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_data_arrives_as_it_was_sent(value: object) -> None:
    """Whatever JSON it is, and however the client spaced it."""
    for text in (
        json.dumps({"type": "broadcast", "room": "tea", "data": value}),
        json.dumps(
            {"data": value, "type": "broadcast", "room": "tea"}, ensure_ascii=False, indent=1
        ),
    ):
        request = decode(text.encode())
        assert isinstance(request, BroadcastRequest)
        assert type(request.data) is Json
        assert repr(json.loads(request.data)) == repr(value)
        assert request.data.count(b"\n") == 0


@pytest.mark.parametrize("kind", ["send", "ask", "info", "history"])
def test_a_type_of_a_later_version_is_not_supported(kind: str) -> None:
    """Told by its name alone; `ref` and `room` are carried where they are valid."""
    assert read(type=kind, room="tea", ref=1, to="m_1", data=2) == UnsupportedRequest(
        kind, 1, "tea", kind
    )
    assert read(type=kind) == UnsupportedRequest(kind, None, None, kind)
    assert read(type=kind, ref=None, room="") == UnsupportedRequest(kind, None, None, kind)
    request = read(type=kind, room="$all")
    assert request == UnsupportedRequest(kind, None, "$all", kind)
    assert request.message == f"'{kind}' is not supported here"


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"type": "join", "since": {"epoch": "e", "seq": 1}}, "since"),
        ({"type": "join", "since": None}, "since"),
        ({"type": "join", "params": {}}, "params"),
        ({"type": "join", "params": None, "since": {}}, "params"),
        ({"type": "broadcast", "data": 1, "id": "12345678"}, "id"),
        ({"type": "broadcast", "data": 1, "key": "k"}, "key"),
        ({"type": "broadcast", "data": 1, "key": "k", "id": "short"}, "id"),
    ],
)
def test_a_field_of_a_later_version_is_not_ignored(fields: dict[str, object], what: str) -> None:
    """Who relies on it must not believe that it works."""
    request = read(room="tea", ref="r", **fields)
    assert request == UnsupportedRequest(str(fields["type"]), "r", "tea", what)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b'{"type":"ping","ref":1}x',
        b'{"type":"ping","ref":NaN}',
        b'{"type":"ping","ref":1e999}',
        b'{"type":"ping","ref":18446744073709551616}',
        b'{"type":"ping","ref":"\\ud800"}',
        b'{"type":"ping","type":"ping"}',
        b'{"type":"ping","x":' + b"[" * 64 + b"]" * 64 + b"}",
        b"[" * 100_000,
        b"hello",
    ],
)
def test_what_no_parser_should_take_is_bad_json(text: bytes) -> None:
    """And nothing in it is believed, a `ref` neither."""
    assert refusal(text) == ("bad_json", None, None)


@pytest.mark.parametrize("text", [b"null", b"1", b'"ping"', b"[]", b'[{"type":"ping"}]'])
def test_json_that_is_no_object_is_a_bad_message(text: bytes) -> None:
    """One message is one object."""
    assert refusal(text) == ("bad_message", None, None)


@pytest.mark.parametrize("kind", [None, 1, True, ["join"], {"join": 1}])
def test_a_type_that_is_no_string_is_a_bad_message(kind: object) -> None:
    """The same as none at all."""
    assert refused(type=kind, ref=1, room="tea") == ("bad_message", 1, "tea")
    assert refused(ref="r") == ("bad_message", "r", None)


def test_the_type_is_looked_at_before_the_other_fields() -> None:
    """A type that is unknown is told so, whatever else is wrong."""
    assert refused(type="shout", ref=5, room="tea") == ("unknown_type", 5, "tea")
    assert refused(type="", ref=True, room="\x00") == ("unknown_type", None, None)
    assert refused(type="Join", ref="r" * 129, room=7) == ("unknown_type", None, None)


@pytest.mark.parametrize("ref", [None, True, False, 1.0, 1.5, [], {}, [1], "r" * 129, "é" * 65])
@pytest.mark.parametrize(
    "fields",
    [
        {"type": "join", "room": "tea"},
        {"type": "leave", "room": "tea"},
        {"type": "broadcast", "room": "tea", "data": 1},
        {"type": "members", "room": "tea"},
        {"type": "ping", "room": "tea"},
    ],
)
def test_a_ref_that_is_neither_string_nor_integer_is_refused(
    fields: dict[str, object], ref: object
) -> None:
    """Nor one that is too long; the error has no ref then, and the room still."""
    assert refused(**fields, ref=ref) == ("bad_message", None, "tea")


@pytest.mark.parametrize("ref", [0, 2**64 - 1, -(2**63), "", "r" * 128, "é" * 64, "\x00"])
def test_every_other_ref_comes_back(ref: Ref) -> None:
    """In what was asked, and in the refusal too."""
    assert read(type="ping", ref=ref) == PingRequest(ref)
    assert refused(type="nothing", ref=ref) == ("unknown_type", ref, None)


@pytest.mark.parametrize("kind", ["join", "leave", "broadcast", "members"])
@pytest.mark.parametrize("room", [None, 1, True, ["tea"], {}])
def test_a_room_that_is_no_string_is_a_bad_message(kind: str, room: object) -> None:
    """The same as none at all."""
    assert refused(type=kind, room=room, ref=1, data=1) == ("bad_message", 1, None)
    assert refused(type=kind, ref=1, data=1) == ("bad_message", 1, None)


@pytest.mark.parametrize("kind", ["join", "leave", "broadcast", "members"])
@pytest.mark.parametrize(
    "room", ["", "a" * 256, "é" * 128, "a\x00", "\x7f", "e\u0301", "$", "$ALL"]
)
def test_a_name_that_no_room_may_have_is_refused(kind: str, room: str) -> None:
    """Empty, too long, control characters, not NFC, the server's own."""
    assert refused(type=kind, room=room, ref=1, data=1) == ("bad_room_name", 1, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "broadcast"},
        {"type": "broadcast", "data": 1, "echo": None},
        {"type": "broadcast", "data": 1, "echo": 1},
        {"type": "broadcast", "data": 1, "volatile": "yes"},
        {"type": "broadcast", "data": 1, "volatile": None},
        {"type": "broadcast", "data": 1, "except": None},
        {"type": "broadcast", "data": 1, "except": "m_1"},
        {"type": "broadcast", "data": 1, "except": {"m_1": 1}},
        {"type": "broadcast", "data": 1, "except": [1]},
        {"type": "broadcast", "data": 1, "except": ["m_1", None]},
        {"type": "broadcast", "data": 1, "except": ["m" * 65]},
        {"type": "broadcast", "data": 1, "except": ["é" * 33]},
        {"type": "members", "limit": 0},
        {"type": "members", "limit": 201},
        {"type": "members", "limit": True},
        {"type": "members", "limit": 1.0},
        {"type": "members", "limit": None},
        {"type": "members", "after": None},
        {"type": "members", "after": 1},
        {"type": "members", "after": ""},
        {"type": "members", "after": "-1"},
        {"type": "members", "after": "01"},
        {"type": "members", "after": "1\n"},
        {"type": "members", "after": "١"},
        {"type": "members", "after": "1" * 19},
    ],
)
def test_a_field_of_the_wrong_type_is_a_bad_message(fields: dict[str, object]) -> None:
    """With `ref` and `room`; and before the room's name is looked at."""
    assert refused(**fields, room="tea", ref=1) == ("bad_message", 1, "tea")
    assert refused(**fields, room="$x", ref=1) == ("bad_message", 1, None)


def test_members_needs_a_ref() -> None:
    """Without one its reply could not be told from another page's."""
    assert refused(type="members", room="tea") == ("bad_message", None, "tea")


def test_the_room_of_everyone_can_be_joined_and_no_more() -> None:
    """Its seats are hidden, and what is said there is the server's."""
    assert read(type="join", room="$all", ref=1) == JoinRequest("$all", 1, None, False)
    for kind in ("leave", "broadcast", "members"):
        assert refused(type=kind, room="$all", ref=1, data=1) == ("forbidden", 1, "$all")


def test_what_may_not_be_said_is_refused_before_what_cannot_be_done() -> None:
    """The room's name is looked at before fields of a later version."""
    assert refused(type="join", room="$x", since={}) == ("bad_room_name", None, None)
    assert refused(type="broadcast", room="", data=1, id=5) == ("bad_room_name", None, None)
    assert refused(type="broadcast", room="$all", data=1, id=5) == ("forbidden", None, "$all")


@given(
    st.dictionaries(
        st.sampled_from(
            ["type", "room", "ref", "data", "info", "echo", "except", "volatile", "after", "limit"]
        ),
        st.sampled_from(
            ["join", "leave", "broadcast", "members", "ping", "send", "tea", "$all", "$x", "", "7"]
        )
        | st.sampled_from([None, True, 1, 201, -1, 0.5])
        | st.lists(st.sampled_from(["m", 1, None, []]), max_size=2).map(list),
    )
)
def test_no_message_ends_in_anything_but_a_request_or_a_refusal(fields: dict[str, object]) -> None:
    """And what can be read of `ref` is in either."""
    ref = fields.get("ref")
    valid = ref if type(ref) in (str, int) else None
    answer: Request | RequestError
    try:
        answer = read(**fields)
    except RequestError as error:
        answer = error
    assert answer.ref == valid


def test_the_bounds_are_allowed_and_one_more_is_not() -> None:
    """Of `except`, and of a page of members."""
    request = broadcast(**{"except": [f"{i}{'m' * 60}" for i in range(1000)]})
    assert isinstance(request, BroadcastRequest)
    assert len(request.except_) == 1000
    broadcast(**{"except": ["m" * 64, "é" * 32]})
    assert refused(type="broadcast", room="tea", data=1, ref=1, **{"except": ["m"] * 1001}) == (
        "too_large",
        1,
        "tea",
    )

    request = read(type="members", room="tea", ref=1, limit=200)
    assert isinstance(request, MembersRequest)
    assert request.limit == 200
