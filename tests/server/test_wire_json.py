"""The plain JSON protocol, row by row of `wire.md`, between real bytes and a real hub."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roomactors import AdmissionRequest, HubSettings, RoomSettings, ServerSettings
from roomactors.testing import Client, Closed, MemoryServer, open_test_server
from roomactors.testing.kit import START_MS
from tests.server.moments import at

REFS = ["", "a", "x" * 128, '\u20ac\n"', 0, -(2**63), 2**63 - 1]
"""What may be a `ref`, and comes back as it was."""


async def received(client: Client) -> list[dict[str, Any]]:
    """All that has come by now."""
    await wait_all_tasks_blocked()
    return [await client.receive() for _ in range(len(client.frames))]


async def two_in_tea(server: MemoryServer) -> tuple[Client, Client]:
    ada, bob = await server.connect(), await server.connect()
    await ada.join("tea")
    await bob.join("tea")
    await ada.expect(type="member_joined")
    return ada, bob


def without(frame: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in frame.items() if name not in names}


# Connecting


async def test_the_first_frame_is_welcome(autojump_clock: MockClock) -> None:
    """With all its fields, and no more."""
    async with open_test_server() as server:
        ada = await server.connect()
        assert ada.member.startswith("m_")
        assert len(ada.welcome["session"]) >= 16
        assert without(ada.welcome, "member", "session") == {
            "type": "welcome",
            "user": None,
            "resumed": False,
            "heartbeat": 25.0,
            "limits": {
                "message_bytes": 65536,
                "rooms": 100,
                "members": 10_000,
                "info_bytes": 1024,
                "broadcasts_per_second": 100,
            },
        }


async def test_ids_and_secrets_are_never_the_same(autojump_clock: MockClock) -> None:
    """Not of two connections, and not of each other."""
    async with open_test_server() as server:
        clients = [await server.connect() for _ in range(50)]
        ids = {client.member for client in clients}
        secrets = {client.welcome["session"] for client in clients}
        assert len(ids) == len(secrets) == 50
        assert ids.isdisjoint(secrets)


async def test_the_subprotocol_is_selected_if_offered(autojump_clock: MockClock) -> None:
    """And the token beside it is not sent back."""
    token = base64.urlsafe_b64encode(b"secret").decode().rstrip("=")
    seen = []

    async def admit(request: AdmissionRequest) -> str:
        seen.append(request.token)
        return "ada"

    async with open_test_server(admit=admit) as server:
        plain = await server.connect()
        ada = await server.connect(subprotocols=["roomactors.v1.json", f"bearer.{token}"])
        assert (plain.subprotocol, ada.subprotocol) == (None, "roomactors.v1.json")
        assert seen == [None, "secret"]
        assert ada.welcome["user"] == "ada"


async def test_a_session_to_resume_is_answered_not_supported(autojump_clock: MockClock) -> None:
    """After the welcome of a new one, which works."""
    async with open_test_server() as server:
        for path, subprotocols in [("/ws?session=secret", []), ("/ws", ["session.secret"])]:
            ada = await server.connect(
                path, subprotocols=["roomactors.v1.json", *subprotocols] if subprotocols else []
            )
            assert ada.welcome["resumed"] is False
            error = await ada.expect(type="error", code="not_supported")
            assert set(error) == {"type", "code", "message"}
            await ada.join("tea")


# join


async def test_joined_says_how_the_room_is(autojump_clock: MockClock) -> None:
    """All its fields; the roster is as of `seq` and has oneself in it."""
    async with open_test_server() as server:
        ada, bob = await server.connect(), await server.connect()
        first = await ada.join("tea", ref="r", info={"name": "Ada"})
        assert first == {
            "type": "joined",
            "ref": "r",
            "room": "tea",
            "member": ada.member,
            "epoch": first["epoch"],
            "seq": 0,
            "members": [{"member": ada.member, "user": None, "info": {"name": "Ada"}}],
            "count": 1,
            "policy": "gap",
        }
        second = await bob.join("tea")
        assert second["epoch"] == first["epoch"]
        assert (second["seq"], second["count"]) == (1, 2)
        assert [entry["member"] for entry in second["members"]] == [ada.member, bob.member]
        assert "ref" not in second


async def test_the_others_hear_of_a_join_and_the_joiner_does_not(
    autojump_clock: MockClock,
) -> None:
    """With user and info where there are any."""

    async def admit(request: AdmissionRequest) -> str | None:
        return request.token

    async with open_test_server(admit=admit) as server:
        ada = await server.connect()
        bob = await server.connect(headers=[("Authorization", "Bearer bob")])
        eve = await server.connect()
        await ada.join("tea")
        await bob.join("tea", info=["b"])
        await eve.join("tea")
        assert await received(ada) == [
            {
                "type": "member_joined",
                "room": "tea",
                "seq": 2,
                "member": bob.member,
                "user": "bob",
                "info": ["b"],
            },
            {"type": "member_joined", "room": "tea", "seq": 3, "member": eve.member},
        ]
        assert await received(eve) == []


async def test_joining_twice_is_told_again_and_nobody_else_sees_anything(
    autojump_clock: MockClock,
) -> None:
    """The same `joined`, as of now."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        again = await ada.join("tea", ref=2)
        assert (again["ref"], again["seq"], again["count"]) == (2, 2, 2)
        await bob.expect_nothing()
        await server.hub.room("tea").broadcast("x")
        for client in (ada, bob):
            assert [frame["seq"] for frame in await received(client)] == [3]


async def test_joining_twice_with_info_replaces_it(autojump_clock: MockClock) -> None:
    """The others get `member_info`; without `info` it stays as it is."""
    async with open_test_server() as server:
        ada, bob = await server.connect(), await server.connect()
        await bob.join("tea")
        await ada.join("tea", info=1)
        await bob.expect(type="member_joined", info=1)
        await ada.join("tea", info=2)
        assert await received(bob) == [
            {"type": "member_info", "room": "tea", "seq": 3, "member": ada.member, "info": 2}
        ]
        again = await ada.join("tea")
        assert again["members"][1]["info"] == 2
        await bob.expect_nothing()
        await ada.join("tea", info=None)
        await bob.expect(type="member_info", member=ada.member, info=None)


async def test_a_large_roster_comes_in_pages(autojump_clock: MockClock) -> None:
    """200 with `joined`, the rest by `members` with `after`, each member once."""
    async with open_test_server() as server:
        others = [await server.connect("/raw/tea") for _ in range(450)]
        await wait_all_tasks_blocked()
        assert len(others) == 450
        ada = await server.connect()
        page = await ada.join("tea")
        seen = [entry["member"] for entry in page["members"]]
        assert (len(seen), page["count"]) == (200, 451)
        sizes = []
        while "members_next" in page:
            await ada.send(type="members", room="tea", ref=1, after=page["members_next"])
            page = await ada.expect(type="members", ref=1, room="tea", count=451)
            assert (page["epoch"], page["seq"]) == ("epoch-2", 451)
            sizes.append(len(page["members"]))
            seen += [entry["member"] for entry in page["members"]]
        assert sizes == [200, 51]
        assert len(set(seen)) == 451
        await ada.send(type="members", room="tea", ref=2, limit=3)
        page = await ada.expect(type="members", ref=2)
        assert [entry["member"] for entry in page["members"]] == seen[:3]


async def test_a_room_that_is_full_refuses(autojump_clock: MockClock) -> None:
    """With `room_full`; who is in may still join again."""
    settings = HubSettings(room=RoomSettings(max_members=1))
    async with open_test_server(hub_settings=settings) as server:
        ada, bob = await server.connect(), await server.connect()
        await ada.join("tea")
        await bob.send(type="join", room="tea", ref=1)
        await bob.expect(type="error", ref=1, room="tea", code="room_full")
        await ada.join("tea")
        await ada.send(type="leave", room="tea")
        await ada.expect(type="left")
        await bob.join("tea")


async def test_a_connection_is_in_at_most_so_many_rooms(autojump_clock: MockClock) -> None:
    """One more is `too_many_rooms`; `$all` does not count; a leave makes room."""
    async with open_test_server(hub_settings=HubSettings(max_rooms_per_member=2)) as server:
        ada = await server.connect()
        assert ada.welcome["limits"]["rooms"] == 2
        await ada.join("one")
        await ada.join("two")
        await ada.join("$all")
        await ada.send(type="join", room="three", ref=1)
        await ada.expect(type="error", ref=1, room="three", code="too_many_rooms")
        await ada.send(type="leave", room="one")
        await ada.expect(type="left")
        await ada.join("three")


async def test_there_are_at_most_so_many_rooms(autojump_clock: MockClock) -> None:
    """One more is `busy`."""
    async with open_test_server(hub_settings=HubSettings(max_rooms=1)) as server:
        ada = await server.connect()
        await ada.join("one")
        await ada.send(type="join", room="two", ref=1)
        await ada.expect(type="error", ref=1, room="two", code="busy")


# leave


async def test_leave_is_answered_with_left_and_seen_by_the_others(
    autojump_clock: MockClock,
) -> None:
    """`seq` is the last event that it was served."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        await server.hub.room("tea").broadcast("x")
        await bob.expect(type="message", seq=3)
        await bob.send(type="leave", room="tea", ref="r")
        assert await bob.receive() == {
            "type": "left",
            "ref": "r",
            "room": "tea",
            "seq": 3,
            "reason": "left",
        }
        await ada.expect(type="message")
        assert await ada.receive() == {
            "type": "member_left",
            "room": "tea",
            "seq": 4,
            "member": bob.member,
            "reason": "left",
        }
        await server.hub.room("tea").broadcast("y")
        await bob.expect_nothing()


async def test_leaving_a_room_one_is_not_in_is_answered_with_left(
    autojump_clock: MockClock,
) -> None:
    """Without a `seq`; the room is not made for it."""
    async with open_test_server() as server:
        ada = await server.connect()
        for room in ("tea", "tea"):
            await ada.send(type="leave", room=room, ref=1)
            assert await ada.receive() == {
                "type": "left",
                "ref": 1,
                "room": "tea",
                "reason": "left",
            }
        await ada.join("tea")
        await ada.send(type="leave", room="tea")
        await ada.expect(type="left", seq=1)
        await ada.send(type="leave", room="tea")
        assert await ada.receive() == {"type": "left", "room": "tea", "reason": "left"}
        assert server.hub.rooms() == []


async def test_the_ways_out_have_their_reasons(autojump_clock: MockClock) -> None:
    """As the others are told them."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")

        async def one_more() -> Client:
            client = await server.connect()
            await client.join("tea")
            await ada.expect(type="member_joined", member=client.member)
            return client

        async def expect_left(reason: str) -> None:
            await ada.expect(type="member_left", reason=reason)
            await ada.expect_nothing()

        for code, reason in [(1000, "left"), (1001, "left"), (1006 + 2000, "disconnected")]:
            await (await one_more()).close(code)
            await expect_left(reason)
        (await one_more()).reset()
        await expect_left("disconnected")
        await (await one_more()).eof()
        await expect_left("disconnected")
        kicked = await one_more()
        assert await server.hub.leave(kicked.member, "tea")
        await kicked.expect(type="left", room="tea", reason="kicked")
        await expect_left("kicked")
        assert kicked.closed is None
        ended = await one_more()
        server.hub.disconnect(ended.member)
        assert await ended.wait_closed() == Closed(4003, "kicked")
        await expect_left("kicked")


async def test_the_server_can_put_a_client_into_a_room(autojump_clock: MockClock) -> None:
    """It gets a `joined` without `ref`, and is a member like any other."""
    async with open_test_server() as server:
        ada = await server.connect()
        await server.hub.join(ada.member, "tea")
        frame = await ada.expect(type="joined", room="tea", member=ada.member)
        assert "ref" not in frame
        await ada.send(type="broadcast", room="tea", data=1, ref=1)
        assert {frame["type"] for frame in await received(ada)} == {"ack", "message"}


# broadcast


async def test_a_message_reaches_every_member_the_sender_included(
    autojump_clock: MockClock,
) -> None:
    """With its fields; only one with `ref` is acked."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        await at(2)
        await ada.send(type="broadcast", room="tea", data={"n": [1, "ü", None]})
        message = {
            "type": "message",
            "room": "tea",
            "seq": 3,
            "from": ada.member,
            "at": START_MS + 2000,
            "data": {"n": [1, "ü", None]},
        }
        assert await received(ada) == [message]
        assert await received(bob) == [message]
        await ada.send(type="broadcast", room="tea", data=1, ref=0)
        frames = await received(ada)
        assert {"type": "ack", "ref": 0, "room": "tea", "epoch": "epoch-2", "seq": 4} in frames


async def test_a_message_names_the_user_of_its_sender(autojump_clock: MockClock) -> None:
    """Where the server knows one; the server's own have `from: null`."""

    async def admit(_request: object) -> str:
        return "Ada Lovelace"

    async with open_test_server(admit=admit) as server:
        ada = await server.connect()
        await ada.join("tea")
        await ada.send(type="broadcast", room="tea", data=1)
        await ada.expect({"from": ada.member}, type="message", user="Ada Lovelace")
        await server.hub.room("tea").broadcast(2)
        frame = await ada.expect({"from": None}, type="message")
        assert "user" not in frame


async def test_echo_false_leaves_the_sender_out(autojump_clock: MockClock) -> None:
    """It still gets its ack, and a hole in the numbers."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        await ada.send(type="broadcast", room="tea", data=1, echo=False, ref=1)
        await ada.send(type="broadcast", room="tea", data=2, echo=True)
        ack, message = await received(ada)
        assert (ack["type"], ack["seq"], message["seq"], message["data"]) == ("ack", 3, 4, 2)
        assert [frame["data"] for frame in await received(bob)] == [1, 2]


async def test_except_leaves_members_out(autojump_clock: MockClock) -> None:
    """The others get it; unknown ids are nobody; an empty list is no one."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        for data, ids in [(1, [bob.member]), (2, [ada.member]), (3, ["m_nobody"]), (4, [])]:
            await ada.send({"except": ids}, type="broadcast", room="tea", data=data)
        assert [frame["data"] for frame in await received(ada)] == [1, 3, 4]
        assert [frame["data"] for frame in await received(bob)] == [2, 3, 4]


async def test_volatile_messages_have_no_number(autojump_clock: MockClock) -> None:
    """Nor has their ack, and the log does not hold them."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        await ada.send(type="broadcast", room="tea", data=1, volatile=True, ref="v", echo=False)
        assert await received(ada) == [{"type": "ack", "ref": "v", "room": "tea"}]
        (frame,) = await received(bob)
        assert "seq" not in frame
        assert without(frame, "at") == {
            "type": "message",
            "room": "tea",
            "from": ada.member,
            "data": 1,
        }
        assert server.hub.room("tea").statistics().seq == 2


async def test_a_broadcast_to_everyone_is_a_message_of_all(autojump_clock: MockClock) -> None:
    """Once, in whatever rooms one is, with `epoch` and `seq` of its own room."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        await bob.join("hall")
        joined = await ada.join("$all")
        assert (joined["epoch"], joined["seq"]) == ("epoch-1", 0)
        assert "members" not in joined
        eve = await server.connect()
        receipt = await server.hub.broadcast("news")
        assert (receipt.room, receipt.seq) == ("$all", 1)
        for client in (ada, bob, eve):
            (frame,) = await received(client)
            assert without(frame, "at") == {
                "type": "message",
                "room": "$all",
                "seq": 1,
                "from": None,
                "data": "news",
            }


# What is asked and refused


@pytest.mark.parametrize("ref", REFS)
async def test_a_ref_comes_back_as_it_was(autojump_clock: MockClock, ref: str | int) -> None:
    """With every kind of reply, errors included."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.send(type="ping", ref=ref)
        assert await ada.receive() == {"type": "pong", "ref": ref}
        await ada.join("tea", ref=ref)
        requests: list[tuple[dict[str, object], str]] = [
            ({"type": "join", "room": "tea"}, "joined"),
            ({"type": "broadcast", "room": "tea", "data": 1, "echo": False}, "ack"),
            ({"type": "members", "room": "tea"}, "members"),
            ({"type": "leave", "room": "tea"}, "left"),
            ({"type": "broadcast", "room": "tea", "data": 1}, "error"),
            ({"type": "nonsense"}, "error"),
            ({"type": "history", "room": "tea"}, "error"),
            ({"type": "join"}, "error"),
        ]
        for fields, kind in requests:
            await ada.send(fields, ref=ref)
            await ada.expect(type=kind, ref=ref)


@pytest.mark.parametrize("ref", [None, True, 1.5, [], {}, "x" * 129, "€" * 43, 2**64])
async def test_a_bad_ref_is_a_bad_message_and_does_not_come_back(
    autojump_clock: MockClock, ref: object
) -> None:
    """Over 64 bits it is no JSON that everyone can read."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.send(type="ping", ref=ref)
        error = await ada.expect(type="error")
        assert error["code"] == ("bad_json" if ref == 2**64 else "bad_message")
        assert set(error) == {"type", "code", "message"}


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "broadcast", "room": "tea", "data": 1},
        {"type": "broadcast", "room": "tea", "data": 1, "volatile": True},
        {"type": "members", "room": "tea"},
    ],
)
async def test_without_a_seat_it_is_not_a_member(
    autojump_clock: MockClock, fields: dict[str, object]
) -> None:
    """Before the join and after the leave; the rooms in which one is do not help."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("hall")
        for _ in range(2):
            await ada.send(ref=1, **fields)
            await ada.expect(type="error", ref=1, room="tea", code="not_a_member")
            await ada.send(type="join", room="tea")
            await ada.send(type="leave", room="tea")
            await received(ada)
        assert server.hub.rooms() == ["hall"]


async def test_who_has_asked_to_join_may_speak_at_once(autojump_clock: MockClock) -> None:
    """Commands of one connection are done in their order."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.send(type="join", room="tea")
        await ada.send(type="broadcast", room="tea", data=1, ref=1)
        await ada.send(type="members", room="tea", ref=2)
        await ada.send(type="leave", room="tea")
        await ada.send(type="broadcast", room="tea", data=2, ref=3)
        kinds = [frame["type"] for frame in await received(ada)]
        assert sorted(kinds) == ["ack", "error", "joined", "left", "members", "message"]
        assert kinds[0] == "joined"
        assert kinds[-1] == "error"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_json"),
        ("{", "bad_json"),
        ('{"type":"ping"} x', "bad_json"),
        ('{"type":"ping","type":"ping"}', "bad_json"),
        ('{"type":"ping","ref":NaN}', "bad_json"),
        ('{"type":"broadcast","room":"tea","data":1e999}', "bad_json"),
        ('{"type":"broadcast","room":"tea","data":"\\ud800"}', "bad_json"),
        ('{"type":"broadcast","room":"tea","data":18446744073709551616}', "bad_json"),
        ('{"type":"broadcast","room":"tea","data":' + "[" * 64 + "]" * 64 + "}", "bad_json"),
        ("[" * 30_000, "bad_json"),
        ("1" * 5000, "bad_json"),
        ("[]", "bad_message"),
        ("null", "bad_message"),
        ('"ping"', "bad_message"),
        ("{}", "bad_message"),
        ('{"type":1}', "bad_message"),
        ('{"type":null}', "bad_message"),
        ('{"type":"Ping"}', "unknown_type"),
        ('{"type":""}', "unknown_type"),
        ('{"type":"welcome"}', "unknown_type"),
        ('{"type":"join"}', "bad_message"),
        ('{"type":"join","room":1}', "bad_message"),
        ('{"type":"join","room":null}', "bad_message"),
        ('{"type":"join","room":""}', "bad_room_name"),
        ('{"type":"join","room":"$tea"}', "bad_room_name"),
        ('{"type":"join","room":"a\\u0000"}', "bad_room_name"),
        ('{"type":"join","room":"a\\u007f"}', "bad_room_name"),
        ('{"type":"join","room":"e\\u0301"}', "bad_room_name"),
        ('{"type":"join","room":"' + "x" * 256 + '"}', "bad_room_name"),
        ('{"type":"join","room":"tea","info":"' + "x" * 1023 + '"}', "too_large"),
        ('{"type":"leave"}', "bad_message"),
        ('{"type":"leave","room":"$all"}', "forbidden"),
        ('{"type":"broadcast","room":"tea"}', "bad_message"),
        ('{"type":"broadcast","data":1}', "bad_message"),
        ('{"type":"broadcast","room":"$all","data":1}', "forbidden"),
        ('{"type":"broadcast","room":"tea","data":1,"echo":1}', "bad_message"),
        ('{"type":"broadcast","room":"tea","data":1,"echo":null}', "bad_message"),
        ('{"type":"broadcast","room":"tea","data":1,"volatile":"yes"}', "bad_message"),
        ('{"type":"broadcast","room":"tea","data":1,"except":"m_1"}', "bad_message"),
        ('{"type":"broadcast","room":"tea","data":1,"except":[1]}', "bad_message"),
        ('{"type":"broadcast","room":"tea","data":1,"except":null}', "bad_message"),
        (
            json.dumps({"type": "broadcast", "room": "tea", "data": 1, "except": ["m"] * 1001}),
            "too_large",
        ),
        ('{"type":"members","room":"tea"}', "bad_message"),
        ('{"type":"members","room":"tea","ref":1,"limit":0}', "bad_message"),
        ('{"type":"members","room":"tea","ref":1,"limit":201}', "bad_message"),
        ('{"type":"members","room":"tea","ref":1,"limit":true}', "bad_message"),
        ('{"type":"members","room":"tea","ref":1,"after":1}', "bad_message"),
        ('{"type":"members","room":"tea","ref":1,"after":"-1"}', "bad_message"),
        ('{"type":"members","room":"tea","ref":1,"after":"nonsense"}', "bad_message"),
        ('{"type":"members","room":"$all","ref":1}', "forbidden"),
        ('{"type":"ping","ref":1.0}', "bad_message"),
        # For a later issue: refused, and not ignored.
        ('{"type":"join","room":"tea","since":{"epoch":"e","seq":1}}', "not_supported"),
        ('{"type":"join","room":"tea","params":{}}', "not_supported"),
        ('{"type":"broadcast","room":"tea","data":1,"id":"0123456789"}', "not_supported"),
        ('{"type":"broadcast","room":"tea","data":1,"key":"k"}', "not_supported"),
        ('{"type":"send","room":"tea","to":"m_1","data":1}', "not_supported"),
        ('{"type":"ask","room":"tea","event":"e","ref":1}', "not_supported"),
        ('{"type":"info","room":"tea","info":1}', "not_supported"),
        ('{"type":"history","room":"tea","ref":1}', "not_supported"),
    ],
)
async def test_a_request_that_is_wrong_is_answered_and_changes_nothing(
    autojump_clock: MockClock, text: str, code: str
) -> None:
    """With one error; the connection goes on, and the others notice nothing."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        seq = server.hub.room("tea").statistics().seq
        await ada.send_text(text)
        (error,) = await received(ada)
        assert (error["type"], error["code"]) == ("error", code)
        assert error["message"]
        assert ("ref" in error) == ('"ref":1' in text and '"ref":1.0' not in text)
        await bob.expect_nothing()
        assert server.hub.room("tea").statistics().seq == seq
        assert ada.closed is None
        await ada.send(type="ping", ref="still here")
        await ada.expect(type="pong", ref="still here")


async def test_unknown_fields_are_ignored(autojump_clock: MockClock) -> None:
    """In every message."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea", color="red")
        await ada.send(type="broadcast", room="tea", data=1, echo=False, ref=1, Data=2)
        await ada.expect(type="ack")
        await ada.send(type="members", room="tea", ref=1, page=2)
        await ada.expect(type="members")
        await ada.send(type="ping", since=1)
        await ada.expect(type="pong")
        await ada.send(type="leave", room="tea", why="tired")
        await ada.expect(type="left")


async def test_data_may_be_any_json(autojump_clock: MockClock) -> None:
    """As deep and as large as it may be, and comes out as it went in."""
    deep: object = 1
    for _ in range(63):
        deep = [deep]
    values = [
        None,
        True,
        0,
        -(2**63),
        2**64 - 1,
        1.5,
        1e300,
        "",
        "\0\u2028𝄞",
        [],
        {},
        {"": {}},
        deep,
    ]
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        for value in values:
            await ada.send(type="broadcast", room="tea", data=value)
        assert [frame["data"] for frame in await received(ada)] == values


# Limits of one connection


async def test_twenty_bad_messages_in_ten_seconds_are_closed_with_1008(
    autojump_clock: MockClock,
) -> None:
    """The twentieth is answered, and then it is over."""
    async with open_test_server() as server:
        ada = await server.connect()
        for number in range(19):
            await ada.send_text("no json" if number % 2 else '{"type":"nonsense"}')
        assert len(await received(ada)) == 19
        await at(9.9)
        assert ada.closed is None
        await ada.send_text("{}")
        assert (await ada.wait_closed()).code == 1008
        await ada.expect(type="error", code="bad_message")


async def test_bad_messages_now_and_then_are_forgiven(autojump_clock: MockClock) -> None:
    """Nineteen in ten seconds, again and again; and refusals of good requests do not count."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("hall")
        for round_ in range(5):
            await at(round_ * 10.1)
            for _ in range(19):
                await ada.send_text("no json")
            for _ in range(50):
                await ada.send(type="broadcast", room="tea", data=1)
            await received(ada)
            assert ada.closed is None


async def test_a_binary_frame_is_closed_with_1003(autojump_clock: MockClock) -> None:
    """This protocol is text."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.send_bytes(b'{"type":"ping"}')
        assert (await ada.wait_closed()).code == 1003


async def test_a_message_of_the_limit_is_taken_and_one_byte_more_is_1009(
    autojump_clock: MockClock,
) -> None:
    """The size is that of the whole message."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        frame = json.dumps({"type": "broadcast", "room": "tea", "data": ""})
        text = frame.replace('""', '"' + "x" * (65536 - len(frame)) + '"')
        assert len(text) == 65536
        await ada.send_text(text)
        await ada.expect(type="message")
        await ada.send_text(text + " ")
        assert (await ada.wait_closed()).code == 1009


async def test_over_the_rate_it_is_refused_with_retry_after(autojump_clock: MockClock) -> None:
    """After a burst of 200; one that waits so long is let through."""
    async with open_test_server() as server:
        ada, bob = await two_in_tea(server)
        for number in range(201):
            await ada.send(type="broadcast", room="tea", data=number, ref=number, echo=False)
        frames = await received(ada)
        # Acks wait for the room's turns, a refusal does not.
        (error,) = (frame for frame in frames if frame["type"] != "ack")
        assert sorted(frame["ref"] for frame in frames) == list(range(201))
        assert without(error, "message") == {
            "type": "error",
            "ref": 200,
            "room": "tea",
            "code": "rate_limited",
            "retry_after": 0.01,
        }
        assert len(await received(bob)) == 200
        await trio.sleep(error["retry_after"])
        await ada.send(type="broadcast", room="tea", data="again", ref="again", echo=False)
        await ada.expect(type="ack", ref="again")


async def test_ten_seconds_of_excess_are_closed_with_4029(autojump_clock: MockClock) -> None:
    """Refused all the while, and then closed."""
    async with open_test_server(settings=ServerSettings(broadcasts_per_second=10)) as server:
        ada = await server.connect()
        await ada.join("tea")
        for _ in range(21):
            await ada.send(type="broadcast", room="tea", data=1, echo=False)
        await ada.expect(type="error", code="rate_limited")
        for tenth in range(1, 100):
            await at(tenth / 10)
            await ada.send(type="broadcast", room="tea", data=1, echo=False)
            await ada.send(type="broadcast", room="tea", data=1, echo=False)
        await wait_all_tasks_blocked()
        assert ada.closed is None
        await at(10.05)
        await ada.send(type="broadcast", room="tea", data=1, echo=False)
        await ada.send(type="broadcast", room="tea", data=1, echo=False)
        assert await ada.wait_closed() == Closed(4029, "rate limit")


async def test_excess_with_pauses_is_not_closed(autojump_clock: MockClock) -> None:
    """Once the burst is there again, the ten seconds begin anew."""
    async with open_test_server(settings=ServerSettings(broadcasts_per_second=10)) as server:
        ada = await server.connect()
        await ada.join("tea")
        for round_ in range(10):
            await at(round_ * 3)
            for _ in range(25):
                await ada.send(type="broadcast", room="tea", data=1, echo=False)
        await wait_all_tasks_blocked()
        assert ada.closed is None


async def test_who_waits_as_long_as_told_is_let_through(autojump_clock: MockClock) -> None:
    """`retry_after` is never too short, whatever the rate; and never nothing."""
    for rate in (0.3, 3, 7, 10, 30, 99.9):
        async with open_test_server(settings=ServerSettings(broadcasts_per_second=rate)) as server:
            ada = await server.connect()
            await ada.join("tea")
            refused = 0
            while refused < 20:
                await ada.send(type="broadcast", room="tea", data=1, ref=1, echo=False)
                answer = await ada.receive()
                if answer["type"] == "ack":
                    continue
                refused += 1
                assert 0 < answer["retry_after"] < 1 / rate + 0.002
                await trio.sleep(answer["retry_after"])
                await ada.send(type="broadcast", room="tea", data=1, ref=2, echo=False)
                await ada.expect(type="ack", ref=2)
                await trio.sleep(2 / rate + 3)  # the burst is whole again


async def test_other_commands_have_no_rate(autojump_clock: MockClock) -> None:
    """Pings and members are bounded by what they cause."""
    async with open_test_server(settings=ServerSettings(broadcasts_per_second=1)) as server:
        ada = await server.connect()
        await ada.join("tea")
        for number in range(500):
            await ada.send(type="members", room="tea", ref=number)
        assert [frame["type"] for frame in await received(ada)] == ["members"] * 500


# A crowd


async def test_a_crowd_that_comes_at_once_is_one_presence(autojump_clock: MockClock) -> None:
    """More than 16 membership events with no message between; who came and went is left out."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        crowd = [await server.connect() for _ in range(20)]
        for number, client in enumerate(crowd):
            await client.send(type="join", room="tea", info=number)
        frames = await received(ada)
        if len(frames) == 20:
            assert {frame["type"] for frame in frames} == {"member_joined"}
        # Read from the log in one piece, it is one frame for certain.
        ada.incoming.take(then=0)
        for client in crowd:
            await client.send(type="leave", room="tea")
        await wait_all_tasks_blocked()
        ada.incoming.take()
        frames = await received(ada)
        folded = [frame for frame in frames if frame["type"] == "presence"]
        gone = {entry["member"] for frame in folded for entry in frame["left"]}
        gone |= {frame["member"] for frame in frames if frame["type"] == "member_left"}
        assert folded
        assert gone == {client.member for client in crowd}
        assert folded[-1]["count"] == 1
        assert folded[-1]["joined"] == []
