"""The frames of the plain JSON protocol, each as the exact JSON that the protocol says."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomactors.core.events import (
    Gap,
    LogEvent,
    MemberInfo,
    MemberJoined,
    MemberLeft,
    Message,
)
from roomactors.protocol.codes import ErrorCode
from roomactors.protocol.json_data import freeze
from roomactors.protocol.json_v1 import JsonEncoder, member_entry

MembershipEvent = MemberJoined | MemberLeft | MemberInfo


def frame(payload: bytes) -> bytes:
    """A frame that a test can read: its length, and then the payload."""
    return b"T%d:%b" % (len(payload), payload)


encoder = JsonEncoder(frame)


def payload(framed: bytes | None) -> bytes:
    assert framed is not None
    length, _, text = framed.removeprefix(b"T").partition(b":")
    assert framed.startswith(b"T")
    assert int(length) == len(text)
    return text


def say(framed: bytes | None) -> dict[str, object]:
    said = json.loads(payload(framed))
    assert isinstance(said, dict)
    return said


def message(**fields: object) -> Message:
    given = {
        "room": "tea",
        "seq": 7,
        "sender": "m_1",
        "at": 1_700_000_000_000,
        "payload": freeze({"text": "hi"}),
    }
    return Message(**(given | fields))  # type: ignore[arg-type]


# --- Events


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            message(user="ada", excluded=frozenset({"m_9"})),
            {
                "type": "message",
                "room": "tea",
                "seq": 7,
                "from": "m_1",
                "user": "ada",
                "at": 1_700_000_000_000,
                "data": {"text": "hi"},
            },
        ),
        (
            message(seq=None, sender=None, payload=freeze(None)),
            {
                "type": "message",
                "room": "tea",
                "from": None,
                "at": 1_700_000_000_000,
                "data": None,
            },
        ),
        (
            MemberJoined(room="tea", seq=1, member="m_1"),
            {"type": "member_joined", "room": "tea", "seq": 1, "member": "m_1"},
        ),
        (
            MemberJoined(
                room="tea", seq=1, member="m_1", user="ada", info_payload=freeze({"n": "Ada"})
            ),
            {
                "type": "member_joined",
                "room": "tea",
                "seq": 1,
                "member": "m_1",
                "user": "ada",
                "info": {"n": "Ada"},
            },
        ),
        (
            MemberLeft(room="tea", seq=2, member="m_1", reason="lagged"),
            {"type": "member_left", "room": "tea", "seq": 2, "member": "m_1", "reason": "lagged"},
        ),
        (
            MemberLeft(room="tea", seq=2, member="m_1", user="ada", reason="left"),
            {
                "type": "member_left",
                "room": "tea",
                "seq": 2,
                "member": "m_1",
                "user": "ada",
                "reason": "left",
            },
        ),
        (
            MemberInfo(room="tea", seq=3, member="m_1", info_payload=freeze([1])),
            {"type": "member_info", "room": "tea", "seq": 3, "member": "m_1", "info": [1]},
        ),
        (
            MemberInfo(room="tea", seq=3, member="m_1", info_payload=None),
            {"type": "member_info", "room": "tea", "seq": 3, "member": "m_1", "info": None},
        ),
    ],
)
def test_an_event_is_one_frame(event: LogEvent, said: dict[str, object]) -> None:
    """With what it has, and without what it has not."""
    assert say(encoder.event(event)) == said


def test_a_message_is_these_bytes() -> None:
    """Its `type` first, and its data copied as it is kept."""
    assert encoder.event(message()) == (
        b'T92:{"type":"message","room":"tea","seq":7,"from":"m_1","at":1700000000000,'
        b'"data":{"text":"hi"}}'
    )


def test_a_gap_is_told() -> None:
    """`roster` only if membership changes were among what is lost."""
    gap = Gap(room="tea", epoch="e1", first=3, last=9)
    said = {
        "type": "gap",
        "room": "tea",
        "epoch": "e1",
        "from": 3,
        "to": 9,
        "reason": "lagged",
    }
    assert say(encoder.gap(gap)) == said
    gap = Gap(room="tea", epoch="e1", first=3, last=9, roster=True)
    assert say(encoder.gap(gap)) == said | {"roster": True}


# --- Presence


def joins(first: int, last: int) -> list[MembershipEvent]:
    return [MemberJoined(room="tea", seq=seq, member=f"m_{seq}") for seq in range(first, last + 1)]


def test_a_run_of_16_is_sent_one_by_one() -> None:
    """Only more than that is worth a frame of another kind."""
    assert encoder.presence(joins(1, 16), 16) is None
    assert encoder.presence(joins(1, 17), 17) is not None


def test_a_run_is_one_frame() -> None:
    """Who came and went is left out; who went and came again is in both lists."""

    def left(seq: int, member: str, reason: Literal["left", "kicked"] = "left") -> MemberLeft:
        return MemberLeft(room="tea", seq=seq, member=member, reason=reason)

    def joined(seq: int, member: str, info: object) -> MemberJoined:
        payload = None if info is None else freeze(info)
        return MemberJoined(room="tea", seq=seq, member=member, user="u", info_payload=payload)

    def info(seq: int, member: str, info: object) -> MemberInfo:
        return MemberInfo(room="tea", seq=seq, member=member, info_payload=freeze(info))

    run: list[MembershipEvent] = [
        joined(10, "new", None),
        left(11, "old", "kicked"),
        joined(12, "guest", 1),
        left(13, "guest"),
        left(14, "back"),
        joined(15, "back", 2),
        info(16, "new", 3),
        left(17, "twice"),
        joined(18, "twice", 4),
        left(19, "twice", "kicked"),
        joined(20, "late", 5),
        left(21, "late"),
        joined(22, "late", 6),
        info(23, "going", 7),
        left(24, "going"),
        joined(25, "guest2", 8),
        left(26, "guest2"),
    ]
    assert say(encoder.presence(run, 5)) == {
        "type": "presence",
        "room": "tea",
        "from": 10,
        "seq": 26,
        "joined": [
            {"member": "new", "user": "u", "info": 3},
            {"member": "back", "user": "u", "info": 2},
            {"member": "late", "user": "u", "info": 6},
        ],
        "left": [
            {"member": "old", "reason": "kicked"},
            {"member": "back", "reason": "left"},
            {"member": "twice", "reason": "kicked"},
            {"member": "going", "reason": "left"},
        ],
        "count": 5,
    }


def test_a_new_info_of_one_who_stayed_is_not_lost_in_a_run() -> None:
    """`presence` has no word for it, so the run is sent one by one."""
    run = joins(1, 17)
    renewal = MemberInfo(room="tea", seq=18, member="there", info_payload=None)
    assert encoder.presence([*run, renewal], 18) is None
    gone = MemberLeft(room="tea", seq=19, member="there", reason="left")
    assert say(encoder.presence([*run, renewal, gone], 17))["left"] == [
        {"member": "there", "reason": "left"}
    ]


@given(
    st.sets(st.sampled_from("abcdef")),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), min_size=17, max_size=40),
)
def test_a_run_read_as_one_frame_gives_the_same_roster(
    before: set[str], steps: list[tuple[str, bool]]
) -> None:
    """A reader that takes `left` and then `joined` ends where one with the single events ends."""
    one_by_one: dict[str, object] = dict.fromkeys(sorted(before))
    run: list[MembershipEvent] = []
    stayed = set(before)
    for seq, (member, renew) in enumerate(steps):
        if member not in one_by_one:
            run.append(MemberJoined(room="tea", seq=seq, member=member, info_payload=freeze(seq)))
            one_by_one[member] = seq
        elif renew:
            run.append(MemberInfo(room="tea", seq=seq, member=member, info_payload=freeze(seq)))
            one_by_one[member] = seq
        else:
            run.append(MemberLeft(room="tea", seq=seq, member=member, reason="left"))
            del one_by_one[member]
            stayed.discard(member)
    renewed = any(one_by_one[member] is not None for member in stayed)

    framed = encoder.presence(run, len(one_by_one))
    assert (framed is None) == renewed
    if framed is not None:
        at_once: dict[str, object] = dict.fromkeys(sorted(before))
        said = json.loads(payload(framed))
        for gone in said["left"]:
            del at_once[gone["member"]]
        for came in said["joined"]:
            assert came["member"] not in at_once
            at_once[came["member"]] = came["info"]
        assert list(at_once.items()) == list(one_by_one.items())
        assert {gone["member"] for gone in said["left"]} == before - stayed


# --- The server's own frames


def test_welcome() -> None:
    """The first frame; `user` is null where there is none."""
    limits = {"message_bytes": 65536, "rooms": 100}
    said = {
        "type": "welcome",
        "member": "m_1",
        "session": "SECRET",
        "user": None,
        "resumed": False,
        "heartbeat": 25.0,
        "limits": limits,
    }
    assert say(encoder.welcome("m_1", "SECRET", None, 25.0, limits)) == said
    assert say(encoder.welcome("m_1", "SECRET", "ada", 25.0, limits)) == said | {"user": "ada"}


def test_joined() -> None:
    """A roster of entries made before, or none where presence is off."""
    said: dict[str, object] = {
        "type": "joined",
        "room": "tea",
        "member": "m_1",
        "epoch": "e1",
        "seq": 41,
        "count": 2,
        "policy": "gap",
    }
    assert say(encoder.joined(None, "tea", "m_1", "e1", 41, None, 2, None)) == said
    entries = [member_entry("m_1", None, None), member_entry("m_2", "ada", freeze({"n": 1}))]
    assert say(encoder.joined(0, "tea", "m_1", "e1", 41, iter(entries), 2, 17)) == said | {
        "ref": 0,
        "members": [
            {"member": "m_1", "user": None, "info": None},
            {"member": "m_2", "user": "ada", "info": {"n": 1}},
        ],
        "members_next": "17",
    }
    assert say(encoder.joined("", "tea", "m_1", "e1", 41, [], 2, 0, policy="latest")) == said | {
        "ref": "",
        "members": [],
        "members_next": "0",
        "policy": "latest",
    }


def test_left() -> None:
    """`seq` only if the seat was served anything."""
    said: dict[str, object] = {"type": "left", "room": "tea", "reason": "kicked"}
    assert say(encoder.left(None, "tea", None, "kicked")) == said
    assert say(encoder.left("r", "tea", 0, "kicked")) == said | {"ref": "r", "seq": 0}


def test_ack() -> None:
    """A volatile broadcast has neither epoch nor `seq`."""
    said: dict[str, object] = {"type": "ack", "ref": 1, "room": "tea"}
    assert say(encoder.ack(1, "tea", None, None)) == said
    assert say(encoder.ack(1, "tea", "e1", 7)) == said | {"epoch": "e1", "seq": 7}


def test_error() -> None:
    """What is not known is absent."""
    said: dict[str, object] = {"type": "error", "code": "bad_json", "message": "no"}
    assert say(encoder.error(None, None, ErrorCode.BAD_JSON, "no")) == said
    assert say(
        encoder.error(2**64 - 1, "tea", ErrorCode.RATE_LIMITED, "slower", retry_after=0.0)
    ) == {
        "type": "error",
        "ref": 2**64 - 1,
        "room": "tea",
        "code": "rate_limited",
        "message": "slower",
        "retry_after": 0.0,
    }


def test_closing() -> None:
    """Why, and after how many seconds to come back."""
    assert say(encoder.closing("restarting", 2.5)) == {
        "type": "closing",
        "reason": "restarting",
        "reconnect_after": 2.5,
    }


def test_pong() -> None:
    """With the `ref` of the ping if it had one."""
    assert encoder.pong(None) == frame(b'{"type":"pong"}')
    assert encoder.pong("x") == frame(b'{"type":"pong","ref":"x"}')


def test_members() -> None:
    """A page of a roster, and where the next one begins."""
    said: dict[str, object] = {
        "type": "members",
        "ref": "r",
        "room": "tea",
        "epoch": "e1",
        "seq": 41,
        "members": [{"member": "m_1", "user": None, "info": None}],
        "count": 2,
    }
    entries = [member_entry("m_1", None, None)]
    assert say(encoder.members("r", "tea", "e1", 41, entries, 2, None)) == said
    assert say(encoder.members("r", "tea", "e1", 41, entries, 2, 9)) == said | {"members_next": "9"}


@given(st.text(), st.text(), st.text(), st.text())
def test_any_text_in_any_place_is_valid_json(room: str, member: str, user: str, more: str) -> None:
    """Quotes, control characters and all else of Unicode come out as they went in."""
    said = say(encoder.event(message(room=room, sender=member, user=user, payload=freeze(more))))
    assert (said["room"], said["from"], said["user"], said["data"]) == (room, member, user, more)
    entry = member_entry(member, user, freeze({more: more}))
    page = say(encoder.members(more, room, user, 1, [entry, entry], 2, None))
    assert page["members"] == [{"member": member, "user": user, "info": {more: more}}] * 2
    assert (page["ref"], page["room"], page["epoch"]) == (more, room, user)
    said = say(encoder.error(user, room, ErrorCode.INTERNAL, more))
    assert (said["ref"], said["room"], said["message"]) == (user, room, more)
    assert say(encoder.closing(more, 1.0))["reason"] == more
