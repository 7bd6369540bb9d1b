"""`/raw/{room}`: frames are messages, of their own kind, and nothing else is said."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roomactors import CannotConnectError, HubSettings, RoomSettings, ServerSettings
from roomactors.testing import Client, Closed, open_test_server
from tests.server.heads import UPGRADE
from tests.server.moments import at, just_before


async def frames_of(client: Client) -> list[str | bytes]:
    """All that has come by now."""
    await wait_all_tasks_blocked()
    frames = list(client.frames)
    client.frames.clear()
    return frames


async def test_text_and_binary_go_to_all_as_they_are(autojump_clock: MockClock) -> None:
    """The sender included; each kind stays what it was, byte for byte."""
    values: list[str | bytes] = [
        "",
        "a",
        'quotes " and \\',
        "ü€𝄞\u2028\0",
        b"",
        b"\0\xff\xfe",
        b"a",
    ]
    async with open_test_server() as server:
        ada, bob = await server.connect("/raw/tea"), await server.connect("/raw/tea")
        for value in values:
            if isinstance(value, str):
                await ada.send_text(value)
            else:
                await ada.send_bytes(value)
        assert await frames_of(ada) == values
        assert await frames_of(bob) == values


async def test_with_echo_0_the_sender_does_not_get_its_own(autojump_clock: MockClock) -> None:
    """The others do, and it gets theirs."""
    async with open_test_server() as server:
        ada, bob = await server.connect("/raw/tea?echo=0"), await server.connect("/raw/tea?echo=1")
        await ada.send_text("from ada")
        await bob.send_text("from bob")
        assert await frames_of(ada) == ["from bob"]
        assert sorted(map(str, await frames_of(bob))) == ["from ada", "from bob"]


async def test_a_fragmented_message_is_one_message(autojump_clock: MockClock) -> None:
    """With a ping between its fragments, which is answered."""
    async with open_test_server() as server:
        ada = await server.connect("/raw/tea")
        await ada.send_part("one ", last=False)
        await ada.ping(b"?")
        await ada.send_part("message", last=True)
        assert await frames_of(ada) == ["one message"]
        assert ada.pongs == [b"?"]


async def test_nobody_is_told_who_comes_and_goes(autojump_clock: MockClock) -> None:
    """No frames of the server's own appear."""
    async with open_test_server() as server:
        ada = await server.connect("/raw/tea")
        for _ in range(30):
            bob = await server.connect("/raw/tea")
            await bob.close()
        assert await frames_of(ada) == []


async def test_raw_members_are_ordinary_members(autojump_clock: MockClock) -> None:
    """The others see them come, in rosters, and go."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        bob = await server.connect("/raw/tea")
        came = await ada.expect(type="member_joined", room="tea")
        assert came["member"] in server.hub.members()
        await ada.send(type="members", room="tea", ref=1)
        page = await ada.expect(type="members", count=2)
        assert page["members"][1] == {"member": came["member"], "user": None, "info": None}
        await bob.close()
        await ada.expect(type="member_left", member=came["member"], reason="left")


@pytest.mark.parametrize(
    ("sent", "data"),
    [
        ("hello", "hello"),
        ('{"a":1}', '{"a":1}'),
        ('"quoted"', '"quoted"'),
        ("\0\u2028é", "\0\u2028é"),
        (b"\0\x01\xff", {"base64": base64.b64encode(b"\0\x01\xff").decode()}),
        (b"", {"base64": ""}),
    ],
)
async def test_json_members_see_text_as_a_string_and_binary_as_base64(
    autojump_clock: MockClock, sent: str | bytes, data: object
) -> None:
    """In the room's log it is a message like any other."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        bob = await server.connect("/raw/tea")
        member = (await ada.expect(type="member_joined"))["member"]
        if isinstance(sent, str):
            await bob.send_text(sent)
        else:
            await bob.send_bytes(sent)
        await ada.expect({"from": member}, type="message", room="tea", seq=3, data=data)


@pytest.mark.parametrize(
    ("data", "heard"),
    [
        ("hello", "hello"),
        ('"', '"'),
        ("\u2028\\n\n", "\u2028\\n\n"),
        ({"base64": "AAH/"}, b"\x00\x01\xff"),
        ({"base64": ""}, b""),
        ({"base64": "no base64"}, '{"base64":"no base64"}'),
        ({"base64": "AAH/", "more": 1}, '{"base64":"AAH/","more":1}'),
        ({"base64": 1}, '{"base64":1}'),
        ({"a": [1, 2.5, None, True]}, '{"a":[1,2.5,null,true]}'),
        (None, "null"),
        (7, "7"),
    ],
)
async def test_what_comes_from_others_arrives_as_text(
    autojump_clock: MockClock, data: object, heard: str | bytes
) -> None:
    """A string as it is, base64 as binary, any other value as compact JSON."""
    async with open_test_server() as server:
        ada = await server.connect()
        bob = await server.connect("/raw/tea")
        await ada.join("tea")
        await ada.send(type="broadcast", room="tea", data=data)
        assert await frames_of(bob) == [heard]
        await server.hub.room("tea").broadcast(data)
        assert await frames_of(bob) == [heard]


async def test_a_broadcast_to_everyone_reaches_raw_members(autojump_clock: MockClock) -> None:
    """Once, as any message."""
    async with open_test_server() as server:
        ada = await server.connect("/raw/tea")
        await server.hub.broadcast("to all")
        assert await frames_of(ada) == ["to all"]


@pytest.mark.parametrize(
    ("path", "room"),
    [
        ("/raw/tea", "tea"),
        ("/raw/tea%20time", "tea time"),
        ("/raw/a/b/c", "a/b/c"),
        ("/raw/a%2Fb", "a/b"),
        ("/raw/1+1", "1+1"),
        ("/raw/caf%C3%A9", "café"),
        ("/raw/%3F%23", "?#"),
    ],
)
async def test_the_rest_of_the_path_is_the_room_s_name(
    autojump_clock: MockClock, path: str, room: str
) -> None:
    """Percent-decoded, slashes allowed, a plus is a plus."""
    async with open_test_server() as server:
        await server.connect(path)
        await wait_all_tasks_blocked()
        assert server.hub.rooms() == [room]


@pytest.mark.parametrize("name", ["", "%24all", "a%00b", "e%CC%81", "%FF", "x" * 256, "%"])
async def test_a_bad_name_is_refused_before_the_upgrade(
    autojump_clock: MockClock, name: str
) -> None:
    """With 400."""
    headers = [(name, value) for name, value in UPGRADE.items() if name != "Host"]
    async with open_test_server() as server:
        assert (await server.get(f"/raw/{name}", headers=headers)).status == 400
        assert server.hub.rooms() == []


async def test_a_bad_echo_is_refused_before_the_upgrade(autojump_clock: MockClock) -> None:
    """It is 0 or 1."""
    async with open_test_server() as server:
        with pytest.raises(CannotConnectError) as caught:
            await server.connect("/raw/tea?echo=2")
        assert caught.value.status == 400


# Ends


async def test_a_kicked_member_is_closed_with_4003(autojump_clock: MockClock) -> None:
    """Out of its one room it is out of everything."""
    async with open_test_server() as server:
        ada, bob = await server.connect("/raw/tea"), await server.connect("/raw/tea")
        await wait_all_tasks_blocked()
        await ada.send_text("before")
        await wait_all_tasks_blocked()
        first, _ = (member.member for member in await server.hub.room("tea").members())
        assert await server.hub.leave(first, "tea")
        await server.hub.room("tea").broadcast("after")
        assert await frames_of(ada) == ["before"]
        assert await frames_of(bob) == ["before", "after"]
        assert [ada.closed, bob.closed] == [Closed(4003, "kicked"), None]


async def test_a_disconnected_member_is_closed_with_4003(autojump_clock: MockClock) -> None:
    """And the others see `kicked`."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.join("tea")
        bob = await server.connect("/raw/tea")
        member = (await ada.expect(type="member_joined"))["member"]
        server.hub.disconnect(member)
        assert await bob.wait_closed() == Closed(4003, "kicked")
        await ada.expect(type="member_left", member=member, reason="kicked")


async def test_a_full_room_closes_with_1013(autojump_clock: MockClock) -> None:
    """There is no word for it; coming back later makes sense."""
    settings = HubSettings(room=RoomSettings(max_members=1))
    async with open_test_server(hub_settings=settings) as server:
        ada, bob = await server.connect("/raw/tea"), await server.connect("/raw/tea")
        assert (await bob.wait_closed()).code == 1013
        assert ada.closed is None


async def test_a_message_over_the_limit_is_1009(autojump_clock: MockClock) -> None:
    """One byte over it; the limit itself is fine."""
    async with open_test_server() as server:
        ada = await server.connect("/raw/tea")
        await ada.send_bytes(b"x" * 65536)
        assert await frames_of(ada) == [b"x" * 65536]
        with suppress(trio.BrokenResourceError):
            await ada.send_bytes(b"x" * 65537)
        assert (await ada.wait_closed()).code == 1009


# Rate


async def test_above_the_rate_the_socket_is_read_more_slowly(autojump_clock: MockClock) -> None:
    """After a burst of 200, 100 a second; nothing is dropped, and nobody is closed."""
    async with open_test_server() as server:
        ada, bob = await server.connect("/raw/tea?echo=0"), await server.connect("/raw/tea")
        for number in range(700):
            await ada.send_text(str(number))
        await at(0)
        assert 200 <= len(bob.frames) <= 202
        await at(2.5)
        assert 448 <= len(bob.frames) <= 453
        await at(5.1)
        assert await frames_of(bob) == [str(number) for number in range(700)]
        assert ada.closed is None


async def test_a_slowed_client_feels_it(autojump_clock: MockClock) -> None:
    """Its own writes wait, since nobody takes the bytes: that is what slows it."""
    async with open_test_server(settings=ServerSettings(broadcasts_per_second=1)) as server:
        ada = await server.connect("/raw/tea", capacity=1000)
        times = []
        for _ in range(8):
            await ada.send_bytes(b"x" * 900)
            times.append(trio.current_time())
        # Two are free, one is owed, and one waits in the socket.
        assert times == [0, 0, 0, 0, 1, 2, 3, 4]


async def test_a_slowed_client_that_goes_is_gone_at_once(autojump_clock: MockClock) -> None:
    """While it is not read its end cannot be seen, but a write to it can: nobody waits for ever."""
    async with open_test_server(settings=ServerSettings(broadcasts_per_second=1)) as server:
        ada = await server.connect("/raw/tea?echo=0")
        for _ in range(5):
            await ada.send_text("x")
        await just_before(1)
        ada.reset()
        await at(5)
        assert server.server.statistics().sockets == 0


async def test_a_rate_of_0_is_no_limit(autojump_clock: MockClock) -> None:
    """All at once."""
    async with open_test_server(settings=ServerSettings(broadcasts_per_second=0)) as server:
        ada = await server.connect("/raw/tea")
        for number in range(1000):
            await ada.send_text(str(number))
        assert len(await frames_of(ada)) == 1000
        assert trio.current_time() == 0


async def test_json_and_raw_members_agree_on_the_order(autojump_clock: MockClock) -> None:
    """One sequence for all, whoever speaks."""
    async with open_test_server() as server:
        ada, bob = await server.connect(), await server.connect("/raw/tea")
        await ada.join("tea")
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(bob.send_text, f"raw {number}")
                await ada.send(type="broadcast", room="tea", data=f"json {number}")
        await wait_all_tasks_blocked()
        by_ada = [json.loads(frame).get("data") for frame in ada.frames]
        assert [data for data in by_ada if data is not None] == list(bob.frames)
        assert len(bob.frames) == 60
