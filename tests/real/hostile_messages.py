"""Attacks with messages: broken JSON, JSON of wrong shape, what nobody may do."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Final

from tests.real.attacks import MESSAGE_BYTES, Attack
from tests.real.frames import CLOSE, TEXT, frame
from tests.real.peer import say
from tests.real.processes import Observed


def _refused(code: str, text: bytes, server: Observed) -> None:
    """Be told what is wrong with a message, by one who stays connected and in its room."""
    with server.peer() as peer:
        peer.join("abused")
        peer.send(frame(TEXT, text))
        error = peer.hear("error", "ack", "joined", "left", "message", "pong")
        assert (error["type"], error.get("code")) == ("error", code)
        assert "Traceback" not in error["message"]
        assert len(json.dumps(error)) < 2000
        if b'"ref":7' in text and code != "bad_json":
            assert error["ref"] == 7
        peer.say("broadcast", room="abused", data="still in", ref=1)
        assert {peer.hear("ack", "message")["type"] for _ in range(2)} == {"ack", "message"}
        assert peer.farewell() == 1000


def _broadcast(data: str) -> bytes:
    return f'{{"type":"broadcast","room":"abused","ref":7,"data":{data}}}'.encode()


_DEPTH_OF_THE_MESSAGE: Final = 1
_NAMES: Final = {
    "an empty name": "",
    "a name of 256 bytes": "a" * 256,
    "a name of 255 characters in 510 bytes": "é" * 255,
    "a name with a control character": "a\x07b",
    "a name with a line end": "a\nb",
    "a name that is not NFC": "cafe\u0301",
    "a name of the server's": "$metrics",
}
_BAD: Final[dict[str, tuple[str, bytes]]] = {
    "nothing": ("bad_json", b""),
    "half an object": ("bad_json", b'{"type":"ping"'),
    "two objects": ("bad_json", b'{"type":"ping"}{"type":"ping"}'),
    "no JSON": ("bad_json", b"ping"),
    "NaN": ("bad_json", _broadcast("NaN")),
    "minus Infinity": ("bad_json", _broadcast("-Infinity")),
    "1e999": ("bad_json", _broadcast("1e999")),
    "-1e999 in depth": ("bad_json", _broadcast('[[{"a":-1e999}]]')),
    "an integer of 65 bits": ("bad_json", _broadcast(str(2**64))),
    "5,000 digits": ("bad_json", _broadcast("9" * 5000)),
    "60,000 digits": ("bad_json", _broadcast("9" * 60_000)),
    "a lone surrogate": ("bad_json", _broadcast(r'"\ud800"')),
    "a lone low surrogate as a key": ("bad_json", _broadcast(r'{"\udc00":1}')),
    "a broken escape": ("bad_json", _broadcast(r'"\u12"')),
    "duplicate keys": ("bad_json", _broadcast('{"a":1,"a":2}')),
    "duplicate keys of the message": ("bad_json", b'{"type":"ping","type":"leave","room":"a"}'),
    "duplicate keys, one of them escaped": ("bad_json", _broadcast(r'{"a":1,"\u0061":2}')),
    "65 levels": (
        "bad_json",
        _broadcast("[" * (65 - _DEPTH_OF_THE_MESSAGE) + "]" * (65 - _DEPTH_OF_THE_MESSAGE)),
    ),
    "30,000 levels": ("bad_json", _broadcast("[" * 30_000 + "]" * 30_000)),
    "60,000 brackets that never close": ("bad_json", b"[" * 60_000),
    "10,000 objects within each other": ("bad_json", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "a control character in a string": ("bad_json", _broadcast('"a\x01b"')),
    "a list": ("bad_message", b'[{"type":"ping"}]'),
    "null": ("bad_message", b"null"),
    "no type": ("bad_message", b'{"room":"abused","ref":7}'),
    "a type that is a number": ("bad_message", b'{"type":1,"ref":7}'),
    "an unknown type": ("unknown_type", b'{"type":"explode","ref":7}'),
    "a type of the server's": ("unknown_type", b'{"type":"welcome","ref":7}'),
    "a room that is a number": ("bad_message", b'{"type":"join","room":5,"ref":7}'),
    "no room": ("bad_message", b'{"type":"join","ref":7}'),
    "a ref that is a list": ("bad_message", b'{"type":"join","room":"a","ref":[7]}'),
    "a ref that is true": ("bad_message", b'{"type":"join","room":"a","ref":true}'),
    "a ref of 1,000 characters": (
        "bad_message",
        b'{"type":"ping","ref":"' + b"r" * 1000 + b'"}',
    ),
    "a broadcast without data": ("bad_message", b'{"type":"broadcast","room":"abused","ref":7}'),
    "an echo that is a string": (
        "bad_message",
        b'{"type":"broadcast","room":"abused","data":1,"echo":"no","ref":7}',
    ),
    "an except that is a string": (
        "bad_message",
        b'{"type":"broadcast","room":"abused","data":1,"except":"m_1","ref":7}',
    ),
    "an info of 1,025 bytes": (
        "too_large",
        b'{"type":"join","room":"abused","ref":7,"info":"' + b"i" * 1023 + b'"}',
    ),
    "a limit below zero": (
        "bad_message",
        b'{"type":"members","room":"abused","ref":7,"limit":-1}',
    ),
    "a members_next of one's own making": (
        "bad_message",
        b'{"type":"members","room":"abused","ref":7,"after":"../../etc/passwd"}',
    ),
    "a broadcast to a room that one is not in": (
        "not_a_member",
        b'{"type":"broadcast","room":"elsewhere","data":1,"ref":7}',
    ),
    "members of a room that one is not in": (
        "not_a_member",
        b'{"type":"members","room":"elsewhere","ref":7}',
    ),
    "a broadcast to everyone": (
        "forbidden",
        b'{"type":"broadcast","room":"$all","data":1,"ref":7}',
    ),
    "what a later version brings": ("not_supported", b'{"type":"history","room":"a","ref":7}'),
    "an idempotency key": (
        "not_supported",
        b'{"type":"broadcast","room":"abused","data":1,"id":"0123456789abcdef","ref":7}',
    ),
    **{
        name: (
            "bad_room_name",
            json.dumps({"type": "join", "room": room, "ref": 7}, separators=(",", ":")).encode(),
        )
        for name, room in _NAMES.items()
    },
}


def _hundred_thousand_brackets(server: Observed) -> None:
    """It is too large before anybody counts its brackets."""
    with server.peer() as peer:
        peer.send_to_the_end(frame(TEXT, b"[" * 100_000))
        assert peer.close_code() == 1009


def _sixty_four_levels(server: Observed) -> None:
    """As deep as allowed comes back as it went in."""
    depth = 64 - _DEPTH_OF_THE_MESSAGE
    text = "[" * depth + "]" * depth
    with server.peer() as peer:
        peer.join("deep")
        peer.send(
            frame(TEXT, _broadcast(text).replace(b"abused", b"deep").replace(b',"ref":7', b""))
        )
        assert json.dumps(peer.hear("message")["data"]) == text


def _unreadable_without_end(server: Observed) -> None:
    """Twenty messages that cannot be read are enough."""
    with server.peer() as peer:
        peer.send_to_the_end(frame(TEXT, b"{") * 40)
        for _ in range(20):
            assert peer.hear("error")["code"] == "bad_json"
        closing = peer.next_message()
        assert (closing.opcode, closing.close_code) == (CLOSE, 1008)
        assert b"unreadable" in closing.payload


def _joining_twice(server: Observed) -> None:
    """It is told again how the room is; nobody else sees anything."""
    with server.peer() as witness, server.peer() as peer:
        witness.join("twice")
        first = peer.join("twice")
        peer.send(say("join", room="twice", ref="again") * 10)
        for _ in range(10):
            again = peer.hear("joined")
            assert (again["ref"], again["epoch"], again["count"]) == ("again", first["epoch"], 2)
        peer.say("broadcast", room="twice", data="now")
        seen = [witness.next_message().payload for _ in range(2)]
        assert [json.loads(text)["type"] for text in seen] == ["member_joined", "message"]


def _leaving_twice(server: Observed) -> None:
    """The second leave is answered like the first, and the others see one."""
    with server.peer() as witness, server.peer() as peer:
        witness.join("leaving")
        peer.join("leaving")
        peer.send(say("leave", room="leaving", ref=1) + say("leave", room="leaving", ref=2))
        for ref in (1, 2):
            left = peer.hear("left")
            assert (left["ref"], left["reason"]) == (ref, "left")
        peer.say("leave", room="never joined", ref=3)
        assert peer.hear("left")["ref"] == 3
        witness.say("broadcast", room="leaving", data="now")
        seen = [json.loads(witness.next_message().payload)["type"] for _ in range(3)]
        assert seen == ["member_joined", "member_left", "message"]


def _message_leave_message(server: Observed) -> None:
    """A turn that holds a message, a leave, a message: the first counts, the last is refused."""
    with server.peer() as witness, server.peer() as peer:
        witness.join("turn")
        peer.join("turn")
        peer.send(
            say("broadcast", room="turn", data="before", ref=1)
            + say("leave", room="turn", ref=2)
            + say("broadcast", room="turn", data="after", ref=3)
        )
        answers = [peer.hear("ack", "message", "left", "error") for _ in range(4)]
        kinds = [(answer["type"], answer.get("ref"), answer.get("code")) for answer in answers]
        assert ("ack", 1, None) in kinds
        assert ("error", 3, "not_a_member") in kinds
        assert kinds.index(("left", 2, None)) > kinds.index(("message", None, None))
        assert witness.hear("message")["data"] == "before"
        witness.say("ping", ref="end")
        assert witness.hear("message", "pong")["type"] == "pong"


def _above_the_rate(server: Observed) -> None:
    """More than the burst is refused with the time to wait, and is not applied."""
    with server.peer() as peer:
        peer.join("fast")
        peer.send(say("broadcast", room="fast", data=1, ref=1, echo=False) * 260)
        answers = [peer.hear("ack", "error") for _ in range(260)]
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert 0 < len(refused) <= 60
        assert {answer["code"] for answer in refused} == {"rate_limited"}
        assert all(answer["retry_after"] > 0 for answer in refused)


def _too_many_rooms(server: Observed) -> None:
    """The 101st room of one connection is refused; all hundred end with it."""
    with server.peer() as peer:
        for number in range(101):
            peer.say("join", room=f"many {number}", ref=number)
        for _ in range(100):
            peer.hear("joined")
        assert peer.hear("error")["code"] == "too_many_rooms"
    server.wait_for_rest("members", "sockets")


def _one_byte_over_with_json(server: Observed) -> None:
    """A perfect message of one byte too many is not looked at."""
    text = _broadcast('"' + "x" * MESSAGE_BYTES)[: MESSAGE_BYTES - 1] + b'"}'
    with server.peer() as peer:
        peer.join("abused")
        peer.send_to_the_end(frame(TEXT, text))
        closing = peer.next_message()
        assert (len(text), closing.opcode) == (MESSAGE_BYTES + 1, CLOSE)
        assert closing.close_code == 1009


def _bind(attack: Callable[..., None], *arguments: object) -> Attack:
    return partial(attack, *arguments)


ATTACKS: Final[dict[str, Attack]] = {
    **{name: _bind(_refused, code, text) for name, (code, text) in _BAD.items()},
    "100,000 brackets": _hundred_thousand_brackets,
    "64 levels, which are allowed": _sixty_four_levels,
    "unreadable messages without end": _unreadable_without_end,
    "joining twice": _joining_twice,
    "leaving twice": _leaving_twice,
    "a message, a leave, a message": _message_leave_message,
    "broadcasts above the rate": _above_the_rate,
    "101 rooms": _too_many_rooms,
    "a broadcast of one byte too many": _one_byte_over_with_json,
}
