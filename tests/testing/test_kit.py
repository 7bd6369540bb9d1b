"""The kit itself: the same in every run, clear about what was expected, and gone when left."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from examples import testing_a_room
from roomactors import (
    AdmissionRefused,
    AdmissionRequest,
    CannotConnectError,
    Hooks,
    HubSettings,
    Message,
    RoomSettings,
    ServerSettings,
)
from roomactors.testing import Closed, open_test_hub, open_test_server
from tests.server.heads import UPGRADE
from tests.server.test_frames import CLOSE, TEXT, client_frame

EXAMPLES = [value for name, value in vars(testing_a_room).items() if name.startswith("test_")]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.__name__)
async def test_an_example_passes(example: object, autojump_clock: MockClock) -> None:
    """Each test of `examples/testing_a_room.py`, as a reader would run it."""
    assert callable(example)
    await example(autojump_clock)


def test_there_are_examples() -> None:
    """The test above must not pass because it found none."""
    assert len(EXAMPLES) == 5


async def test_an_example_fails_when_its_application_is_wrong(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a poll that counts nothing, the sentence says what was expected."""

    async def count_nothing(hub: object) -> None:
        pass

    monkeypatch.setattr(testing_a_room, "count_votes", count_nothing)
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="nothing came for 5 s")):
        await testing_a_room.test_votes_are_counted(autojump_clock)


def test_the_kit_asks_for_no_test_runner() -> None:
    """It can be imported where there is no pytest."""
    program = (
        "import sys; sys.modules.update({'pytest': None, '_pytest': None});"
        "import roomactors.testing"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# The same in every run


async def test_two_runs_are_the_same(autojump_clock: MockClock) -> None:
    """Epochs, numbers and times; only the random ids differ."""

    async def run() -> list[object]:
        async with open_test_server() as server:
            ada, bob = await server.connect(), await server.connect(latency=0.1)
            await ada.join("tea")
            await bob.join("tea")
            await bob.send(type="broadcast", room="tea", data=1)
            await trio.sleep(1)
            frames = [json.loads(frame) for frame in [*ada.frames, *bob.frames]]
            seen: list[object] = []
            for frame in frames:
                frame.pop("member", None)
                frame.pop("from", None)
                seen.append(frame)
            return seen

    first = await run()
    assert len(first) == 3
    assert await run() == first


async def test_epochs_are_counted_and_the_clock_goes_with_trio(autojump_clock: MockClock) -> None:
    """From a fixed time on, whenever the test runs."""
    async with open_test_hub() as hub:
        await trio.sleep(5)
        async with hub.room("tea").join("ada") as seat, hub.room("hall").join("ada") as other:
            assert [seat.arrival.epoch, other.arrival.epoch] == ["epoch-2", "epoch-3"]
            await hub.room("tea").broadcast(1)
            event = await seat.receive()
            assert isinstance(event, Message)
            assert event.at == 1_000_000_005_000


async def test_settings_hooks_and_admission_are_handed_on(autojump_clock: MockClock) -> None:
    """To the server and to its hub."""
    told = []

    async def occupied(room: str) -> None:
        told.append(room)

    async def admit(request: AdmissionRequest) -> str:
        if request.token is None:
            raise AdmissionRefused(401, "who are you?")
        return request.token

    async with open_test_server(
        settings=ServerSettings(heartbeat_seconds=7),
        hub_settings=HubSettings(room=RoomSettings(max_members=1)),
        admit=admit,
        hooks=Hooks(room_occupied=occupied),
    ) as server:
        with pytest.raises(CannotConnectError, match="who are you") as caught:
            await server.connect()
        assert caught.value.status == 401
        ada = await server.connect(headers=[("Authorization", "Bearer ada")])
        assert (ada.welcome["heartbeat"], ada.welcome["user"]) == (7, "ada")
        await ada.join("tea")
        bob = await server.connect(headers=[("Authorization", "Bearer bob")])
        await bob.send(type="join", room="tea")
        await bob.expect(type="error", code="room_full")
        assert told == ["tea"]


async def test_leaving_ends_everything(autojump_clock: MockClock) -> None:
    """Clients, connections, rooms: no task is left, and nobody waits."""
    before = trio.lowlevel.current_statistics().tasks_living
    async with open_test_server() as server:
        for _ in range(5):
            client = await server.connect(latency=1)
            await client.join("tea")
        server.open_stream()
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert server.server.statistics().sockets == 0


async def test_what_a_test_raises_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    """In no group, so that pytest shows the line that failed."""

    async def fail() -> None:
        async with open_test_server() as server:
            await server.connect()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_cancelling_a_test_ends_its_server(autojump_clock: MockClock) -> None:
    """A deadline around the block works as around anything else."""
    with trio.move_on_after(3) as scope:
        async with open_test_server() as server:
            await server.connect()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == 3


# What is expected and does not come


async def test_a_frame_that_does_not_come_fails_at_the_deadline(
    autojump_clock: MockClock,
) -> None:
    """With what was expected, in a sentence."""
    async with open_test_server() as server:
        ada = await server.connect()
        with pytest.raises(AssertionError) as caught:
            await ada.expect(type="joined", room="tea")
        assert str(caught.value) == (
            "expected a frame with {'type': 'joined', 'room': 'tea'}, and nothing came for 5 s"
        )
        assert trio.current_time() == 5
        with pytest.raises(AssertionError, match=r"nothing came for 0\.5 s"):
            await ada.receive(within=0.5)


async def test_another_frame_than_the_expected_one_fails_at_once(
    autojump_clock: MockClock,
) -> None:
    """With both; a field that is absent is another one, and so is a value."""
    async with open_test_server() as server:
        ada = await server.connect()
        for wanted in ({"type": "pong", "ref": 2}, {"type": "joined"}, {"from": None}):
            await ada.send(type="ping", ref=1)
            with pytest.raises(AssertionError, match=r"but the next one is \{'type': 'pong'"):
                await ada.expect(wanted)
        assert trio.current_time() == 0


async def test_a_connection_that_ends_fails_who_waits(autojump_clock: MockClock) -> None:
    """With its code and reason; what came before the end is still to be had."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.send(type="ping")
        await ada.send_bytes(b"")
        await ada.wait_closed()
        await ada.expect(type="pong")
        with pytest.raises(AssertionError, match=r"ended with 1003 \('binary frame"):
            await ada.expect(type="pong")


async def test_text_that_is_no_json_object_fails(autojump_clock: MockClock) -> None:
    """Broken JSON, NaN, other values, binary: it is shown."""
    async with open_test_server() as server:
        ada = await server.connect("/raw/tea")
        for text in ("no json", "[1]", '{"a":NaN}'):
            await ada.send_text(text)
            with pytest.raises(AssertionError, match="this is no JSON object"):
                await ada.receive()
        await ada.send_bytes(b"{}")
        with pytest.raises(AssertionError, match=r"no JSON object: b'{}'"):
            await ada.receive()


async def test_expecting_nothing_fails_if_something_came(autojump_clock: MockClock) -> None:
    """Also if it only comes once everybody has done their work."""
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.expect_nothing()
        await ada.send(type="ping")
        with pytest.raises(AssertionError, match=r"expected nothing, but this came: .*pong"):
            await ada.expect_nothing()


async def test_a_connection_that_does_not_end_fails_who_waits_for_it(
    autojump_clock: MockClock,
) -> None:
    """After so many seconds."""
    async with open_test_server() as server:
        ada = await server.connect()
        with pytest.raises(AssertionError, match="it is open after 3 s"):
            await ada.wait_closed(within=3)


# A client's ends


async def test_close_waits_for_the_server_s_answer(autojump_clock: MockClock) -> None:
    """And returns its code and reason."""
    async with open_test_server() as server:
        ada = await server.connect(latency=0.5)
        began = trio.current_time()
        assert await ada.close(4123, "bye") == Closed(4123, "")
        assert trio.current_time() == began + 1


async def test_a_reset_and_an_end_of_file_have_no_code(autojump_clock: MockClock) -> None:
    """1006, from either side."""
    async with open_test_server() as server:
        ada, bob = await server.connect(), await server.connect()
        ada.reset()
        await bob.eof()
        assert await ada.wait_closed() == await bob.wait_closed() == Closed(1006, "")


async def test_raw_bytes_go_out_as_they_are(autojump_clock: MockClock) -> None:
    """Half a frame, then the other half; and a close frame of one's own making."""
    frame = client_frame(TEXT, b'{"type":"ping","ref":1}')
    async with open_test_server() as server:
        ada = await server.connect()
        await ada.send_raw(frame[:9])
        await ada.expect_nothing()
        await ada.send_raw(frame[9:])
        await ada.expect(type="pong", ref=1)
        await ada.send_raw(client_frame(CLOSE, b""))
        assert (await ada.wait_closed()).code == 1000


async def test_frames_sent_by_several_tasks_do_not_mix(autojump_clock: MockClock) -> None:
    """Though each must wait for room on the wire."""
    async with open_test_server() as server:
        ada = await server.connect("/raw/tea", capacity=100)
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(ada.send_text, str(number) * 100)
        await wait_all_tasks_blocked()
        assert sorted(map(str, ada.frames)) == sorted(str(number) * 100 for number in range(50))


async def test_a_refusal_has_its_status_and_a_hang_up_none(autojump_clock: MockClock) -> None:
    """An upgrade that fails says how."""
    async with open_test_server() as server:
        with pytest.raises(CannotConnectError) as caught:
            await server.connect("/nowhere")
        assert caught.value.status == 404
        stream = server.open_stream()
        stream.incoming.cut_after(10)
        with pytest.raises(CannotConnectError) as caught:
            await server.connect(stream=stream)
        assert caught.value.status is None
        stream = server.open_stream()
        stream.incoming.cut_after(10, reset=False)
        with pytest.raises(CannotConnectError, match="hung up"):
            await server.connect(stream=stream)


async def test_http_is_answered_with_status_headers_and_body(autojump_clock: MockClock) -> None:
    """On a connection of its own; HEAD has no body."""
    async with open_test_server() as server:
        answer = await server.get("/healthz")
        assert (answer.status, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["content-type"] == "application/json"
        assert (await server.get("/healthz", method="HEAD")).body == b""
        assert (await server.get("/nothing")).status == 404
        assert (await server.get("/ws", headers=[("X-Other", "1")])).status == 426
        await wait_all_tasks_blocked()
        assert server.server.statistics().sockets == 0


async def test_a_close_frame_can_be_sent_without_waiting(autojump_clock: MockClock) -> None:
    """So that a test can look at what happens meanwhile."""
    async with open_test_server() as server:
        ada = await server.connect(latency=1)
        await ada.send_close(1001, "bye")
        assert ada.closed is None
        assert (await ada.wait_closed()).code == 1001


async def test_an_http_answer_that_does_not_come_fails(autojump_clock: MockClock) -> None:
    """With a sentence: after a time, or when the server has hung up."""

    async def admit(_request: object) -> None:
        await trio.sleep_forever()

    headers = [(name, value) for name, value in UPGRADE.items() if name != "Host"]
    async with open_test_server(admit=admit) as server:
        with pytest.raises(AssertionError, match="none came for 5 s"):
            await server.get("/ws", headers=headers)
    async with open_test_server() as server:
        with pytest.raises(AssertionError, match=r"expected an HTTP response, but .*101"):
            await server.get("/ws", headers=headers)
