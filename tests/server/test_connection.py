"""One connection as an object: bytes in, commands out, and how it ends."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from functools import partial
from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roomactors import HubSettings, RoomSettings, ServerSettings
from roomactors.core.events import LeftReason
from roomactors.core.hub import Hub
from roomactors.server.connection import Connection
from roomactors.server.dialogue_json import JsonDialogue
from roomactors.server.dialogue_raw import RawDialogue
from roomactors.server.frames import close_frame, ping_frame, pong_frame, text_frame
from roomactors.testing import open_test_hub
from tests.server.fakes import Acts, FakeDriver, FakeLink, Script, connect, scripted, texts
from tests.server.test_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame

TIGHT = ServerSettings(own_bytes=10)
json_dialogue = partial(JsonDialogue, resume=None)
raw_dialogue = partial(RawDialogue, room="tea", echo=True)


def begin(
    hub: Hub,
    acts: Acts | None = None,
    *,
    settings: ServerSettings | None = None,
    writes_at_once: bool = True,
) -> tuple[Connection, FakeLink, FakeDriver, Script]:
    """An open connection that speaks the script's protocol, and has said its welcome."""
    link, driver = FakeLink(writes_at_once=writes_at_once), FakeDriver()
    made, dialogue = scripted(acts)
    connection = connect(hub, link, driver, dialogue, settings=settings)
    connection.open(b"", b"")
    link.window.wire.clear()
    return connection, link, driver, made[0]


def work_off(connection: Connection) -> None:
    """Go on as a driver does, until nothing is left to be done now."""
    while connection.more:
        connection.work()


def frames_of(link: FakeLink) -> list[dict[str, object]]:
    """The JSON texts that a link has got; all are whole."""
    return list(_texts(bytes(link.window.wire)))


def _texts(wire: bytes) -> Iterator[dict[str, object]]:
    while wire:
        size, start = wire[1], 2
        if size == 126:
            size, start = int.from_bytes(wire[2:4], "big"), 4
        if wire[0] == 0x81:
            yield json.loads(wire[start : start + size])
        wire = wire[start + size :]


def push(payload: bytes) -> Acts:
    """A message "reply" is answered with this."""
    return {b"reply": lambda connection: connection.outlet.push(text_frame(payload))}


# What comes in


async def test_what_came_with_the_request_is_read_after_the_welcome(
    autojump_clock: MockClock,
) -> None:
    """The HTTP response goes first, then the protocol's first frame, then answers."""
    async with open_test_hub() as hub:
        link = FakeLink()
        made, dialogue = scripted(push(b"answer"))
        connection = connect(hub, link, FakeDriver(), dialogue)
        connection.open(b"HTTP 101\r\n", texts(b"reply"))
        expected = b"HTTP 101\r\n" + text_frame(b"welcome") + text_frame(b"answer")
        assert link.window.wire == expected
        assert made[0].heard == [b"reply"]


@pytest.mark.parametrize("count", [15, 16, 17, 32, 100])
async def test_a_turn_ends_after_sixteen_messages(autojump_clock: MockClock, count: int) -> None:
    """The others have theirs; nothing is lost, and the last turn says that there is no more."""
    async with open_test_hub() as hub:
        connection, _, _, script = begin(hub)
        messages = [b"%d" % number for number in range(count)]
        connection.feed(texts(*messages))
        assert len(script.heard) == min(count, 16)
        assert connection.more == (count >= 16)
        work_off(connection)
        assert script.heard == messages


async def test_a_turn_ends_after_16_kib(autojump_clock: MockClock) -> None:
    """Large messages, text or binary, weigh more."""
    async with open_test_hub() as hub:
        connection, _, _, script = begin(hub)
        large = client_frame(BINARY, b"x" * 8192)
        connection.feed(large + large + large)
        assert (len(script.heard), connection.more) == (2, True)
        work_off(connection)
        assert len(script.heard) == 3


async def test_an_error_of_ours_in_a_message_closes_this_one_with_1011(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its traceback, and nothing of it is told to the client."""

    def fail(_connection: Connection) -> None:
        raise ZeroDivisionError("a secret")

    async with open_test_hub() as hub:
        connection, link, _, script = begin(hub, {b"bug": fail})
        connection.feed(texts(b"bug", b"more"))
        assert link.window.wire == close_frame(1011, "internal error")
        assert script.heard == [b"bug"]
        assert "a secret" in caplog.text
        assert not hub.members()


async def test_a_ping_is_answered_and_a_pong_is_not(autojump_clock: MockClock) -> None:
    """With its payload, whatever comes before and after."""
    async with open_test_hub() as hub:
        connection, link, _, _ = begin(hub)
        connection.feed(
            client_frame(PONG, b"no") + client_frame(PING, b"a") + client_frame(PING, b"b")
        )
        assert link.window.wire == pong_frame(b"a") + pong_frame(b"b")


async def test_nothing_is_handled_once_the_peer_is_lost(autojump_clock: MockClock) -> None:
    """The rest of a piece, of which one message ended the connection, does nothing any more."""
    async with open_test_hub() as hub:
        connection, link, driver, script = begin(hub, {b"go": lambda it: it.lose()})
        connection.feed(texts(b"go", b"on"))
        assert script.heard == [b"go"]
        assert (connection.more, connection.paused) == (False, False)
        assert link.done == ["abort"]
        due = len(driver.due)
        connection.feed(texts(b"and on")[:5])
        assert script.heard == [b"go"]
        assert len(driver.due) == due


# Not read on


async def test_replies_over_the_bound_pause_it_until_the_peer_takes_them(
    autojump_clock: MockClock,
) -> None:
    """A byte bound admits one whole reply; the next message is handled when there is room."""
    async with open_test_hub() as hub:
        connection, link, driver, script = begin(hub, push(b"x" * 30), settings=TIGHT)
        link.window.then = 0
        connection.feed(texts(b"reply", b"reply", b"end"))
        assert (script.heard, connection.paused, connection.more) == ([b"reply"], True, False)
        assert (driver.writers, connection.outlet.own_bytes) == (1, 32)
        link.window.then = None
        connection.outlet.unblock()
        connection.written()
        assert driver.resumed == 1
        connection.work()
        work_off(connection)
        assert script.heard == [b"reply", b"reply", b"end"]
        assert link.window.wire == text_frame(b"x" * 30) * 2


async def test_replies_over_the_bound_that_are_taken_at_once_hold_up_nothing(
    autojump_clock: MockClock,
) -> None:
    """It goes on by itself with what it has buffered: no further byte need come for that."""
    async with open_test_hub() as hub:
        connection, link, driver, script = begin(hub, push(b"x" * 30), settings=TIGHT)
        connection.feed(texts(b"reply", b"reply", b"end"))
        assert driver.writers == 0
        work_off(connection)
        assert script.heard == [b"reply", b"reply", b"end"]
        assert link.window.wire == text_frame(b"x" * 30) * 2


async def test_work_writes_what_rooms_have_queued_and_goes_on(autojump_clock: MockClock) -> None:
    """What is over the bound and has only not been written yet is no reason to stay paused."""
    async with open_test_hub() as hub:
        connection, _, _, script = begin(hub, {b"wait": lambda it: it.pause_for(5)}, settings=TIGHT)
        connection.feed(texts(b"wait", b"end"))
        connection.outlet.push(text_frame(b"x" * 30))
        assert connection.check(trio.current_time() + 5) is not None
        connection.work()
        work_off(connection)
        assert script.heard == [b"wait", b"end"]


async def test_a_full_mailbox_pauses_it_until_the_command_has_its_place(
    autojump_clock: MockClock,
) -> None:
    """The one command waits in the connection, and all that was sent behind it in its buffer."""
    settings = HubSettings(room=RoomSettings(mailbox_share=1))
    async with open_test_hub(settings=settings) as hub:
        link, driver = FakeLink(), FakeDriver()
        connection = connect(hub, link, driver, json_dialogue)
        join, ping = b'{"type":"join","room":"tea","ref":%d}', b'{"type":"ping"}'
        connection.open(b"", texts(join % 1, join % 2, ping))
        assert (connection.paused, connection.more, driver.resumed) == (True, False, 0)
        assert connection.check(trio.current_time() + 1000) == trio.current_time() + 1025
        await wait_all_tasks_blocked()
        assert driver.resumed > 0
        assert not connection.paused
        connection.work()
        kinds = [(frame["type"], frame.get("ref")) for frame in frames_of(link)]
        assert kinds == [("welcome", None), ("joined", 1), ("joined", 2), ("pong", None)]


async def test_a_command_that_waits_is_withdrawn_when_the_connection_ends(
    autojump_clock: MockClock,
) -> None:
    """It was never taken in, so it is never done."""
    settings = HubSettings(room=RoomSettings(mailbox_share=1))
    async with open_test_hub(settings=settings) as hub:
        async with hub.room("tea").join("bob") as bob:
            connection = connect(hub, FakeLink(), FakeDriver(), json_dialogue)
            say = b'{"type":"broadcast","room":"tea","data":1}'
            connection.open(b"", texts(b'{"type":"join","room":"tea"}', say))
            assert hub.room("tea").statistics().mailbox_waiting == 1
            connection.lose()
            assert hub.room("tea").statistics().mailbox_waiting == 0
            await hub.room("tea").broadcast("end")
            event = await bob.receive()
        assert getattr(event, "data", None) == "end"


@pytest.mark.parametrize("most", [1, 4])
async def test_joins_under_way_are_few(autojump_clock: MockClock, most: int) -> None:
    """Each may be answered with a page of a large roster, so no more than fit are asked for."""
    settings = ServerSettings(own_bytes=most * 32 * 1024 - 1)
    async with open_test_hub() as hub:
        link, driver = FakeLink(), FakeDriver()
        connection = connect(hub, link, driver, json_dialogue, settings=settings)
        requests = [b'{"type":"join","room":"r%d"}' % number for number in range(40)]
        connection.open(b"", texts(*requests))
        joined = 0
        while joined < 40:
            assert len(hub.keeper.rooms) - 1 <= joined + most
            await wait_all_tasks_blocked()
            joined = sum(frame["type"] == "joined" for frame in frames_of(link))
            assert driver.resumed > 0
            connection.work()


async def test_joins_of_one_that_reads_nothing_are_bounded_by_their_answers(
    autojump_clock: MockClock,
) -> None:
    """A seat that is behind is answered with `joined` later; what waits counts with its size."""
    async with open_test_hub() as hub:
        link, driver = FakeLink(), FakeDriver()
        connection = connect(hub, link, driver, json_dialogue)
        connection.open(b"", texts(b'{"type":"join","room":"tea"}'))
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(sit, hub, f"someone-{number}", "y" * 900)
            await wait_all_tasks_blocked()
            link.window.then = 0
            await hub.room("tea").broadcast("behind")
            connection.feed(texts(*[b'{"type":"join","room":"tea"}'] * 1000))
            for _ in range(200):
                connection.work()
                await wait_all_tasks_blocked()
            held = sum(len(getattr(item, "frame", b"")) for item in connection.outlet._own)
            nursery.cancel_scope.cancel()
        assert connection.paused
        assert 256 * 1024 < held < 3 * 1024 * 1024
        assert held <= connection.outlet.own_bytes


async def sit(hub: Hub, member: str, info: str) -> None:
    async with hub.room("tea").join(member, info=info):
        await trio.sleep_forever()


async def test_above_its_rate_a_raw_connection_is_paused_for_as_long_as_it_owes(
    autojump_clock: MockClock,
) -> None:
    """Two are free at one a second, the third is owed and paid for a second later."""
    settings = ServerSettings(broadcasts_per_second=1)
    async with open_test_hub() as hub:
        link, driver = FakeLink(), FakeDriver()
        connection = connect(hub, link, driver, raw_dialogue, settings=settings)
        connection.open(b"", texts(b"1", b"2", b"3", b"4"))
        assert (connection.paused, connection.more) == (True, False)
        await wait_all_tasks_blocked()
        assert link.window.wire == b"".join(map(text_frame, (b"1", b"2", b"3")))
        assert min(driver.due) == 1
        assert connection.check(0.5) == 1
        assert (connection.paused, driver.resumed) == (True, 0)
        autojump_clock.jump(1)
        assert connection.check(1) == 1 + 25
        assert (connection.paused, driver.resumed) == (False, 1)


# Times


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_a_control_frame_in_two_pieces_is_no_message_that_does_not_end(
    autojump_clock: MockClock, opcode: int
) -> None:
    """Once it is complete, nothing is under way that could take too long."""
    async with open_test_hub() as hub:
        connection, link, _, script = begin(
            hub, {b"join": lambda it: setattr(it, "_roomless", None)}
        )
        connection.feed(texts(b"join"))
        frame = client_frame(opcode, b"payload")
        connection.feed(frame[:3])
        connection.feed(frame[3:])
        for second in range(1, 100):
            autojump_clock.jump(1)
            connection.feed(client_frame(PONG, b""))
            connection.check(second)
        assert connection.is_open
        assert b"\x88" not in link.window.wire
        assert script.heard == [b"join"]


@pytest.mark.parametrize("pings", [False, True])
async def test_a_fragmented_message_has_its_time_whatever_comes_between(
    autojump_clock: MockClock, pings: bool
) -> None:
    """30 seconds from its first byte; control frames between its fragments give it no more."""
    async with open_test_hub() as hub:
        connection, link, _, _ = begin(hub)
        connection.feed(client_frame(TEXT, b"begun", fin=False))
        for second in range(1, 30):
            autojump_clock.jump(1)
            between = client_frame(PING, b"") if pings else b""
            connection.feed(between + client_frame(CONTINUATION, b"", fin=False))
            connection.check(second)
            assert connection.is_open
        autojump_clock.jump(1)
        connection.check(30)
        assert link.window.wire.endswith(close_frame(1008, "a message took too long to arrive"))


async def test_a_message_has_its_time_again_after_a_pause(autojump_clock: MockClock) -> None:
    """While nothing is read, nothing of it can arrive."""
    async with open_test_hub() as hub:
        connection, link, _, _ = begin(hub, settings=TIGHT)
        connection.feed(client_frame(TEXT, b"begun", fin=False))
        link.window.then = 0
        connection.feed(client_frame(PING, b"x" * 100))
        assert connection.paused
        autojump_clock.jump(20)
        take(connection, link)
        assert not connection.paused
        autojump_clock.jump(29)
        connection.feed(client_frame(CONTINUATION, b"", fin=False))
        connection.check(49)
        assert connection.is_open
        connection.check(50)
        assert link.window.wire.endswith(close_frame(1008, "a message took too long to arrive"))


async def test_a_hub_that_stops_is_said_in_the_protocol(autojump_clock: MockClock) -> None:
    """Where it is not the server's own, it may stop before the server does."""
    async with open_test_hub() as hub:
        link, raw_link, late_link = FakeLink(), FakeLink(), FakeLink()
        connection = connect(hub, link, FakeDriver(), json_dialogue, member="m_1")
        connection.open(b"", texts(b'{"type":"join","room":"tea"}'))
        raw = connect(hub, raw_link, FakeDriver(), raw_dialogue, member="m_2")
        raw.open(b"", b"")
        late = connect(hub, late_link, FakeDriver(), raw_dialogue, member="m_3")
        await wait_all_tasks_blocked()
        hub.keeper.draining = True
        requests = [
            b'{"type":"leave","room":"tea","ref":1}',
            b'{"type":"broadcast","room":"tea","data":1,"ref":2}',
            b'{"type":"members","room":"tea","ref":3}',
            b'{"type":"join","room":"hall","ref":4}',
        ]
        connection.feed(texts(*requests))
        answers = [frame for frame in frames_of(link) if frame["type"] == "error"]
        assert [(answer["ref"], answer["code"]) for answer in answers] == [
            (ref, "busy") for ref in (1, 2, 3, 4)
        ]
        raw.announce_drain(1)
        raw.feed(texts(b"ignored"))
        assert raw.is_open
        raw.draining = False
        raw.feed(texts(b"refused"))
        assert raw_link.window.wire[2:4] == (1013).to_bytes(2, "big")
        late.open(b"", b"")
        assert late_link.window.wire[2:4] == (1013).to_bytes(2, "big")
        hub.keeper.draining = False


async def test_the_room_of_everyone_has_no_roster_to_ask_for(autojump_clock: MockClock) -> None:
    """Who is in it is nobody's business, also of one who is."""
    async with open_test_hub() as hub:
        link = FakeLink()
        connection = connect(hub, link, FakeDriver(), json_dialogue)
        connection.open(b"", texts(b'{"type":"join","room":"$all"}'))
        await wait_all_tasks_blocked()
        connection.feed(texts(b'{"type":"members","room":"$all","ref":1}'))
        await wait_all_tasks_blocked()
        assert frames_of(link)[-1]["code"] == "forbidden"


async def test_who_is_lost_is_not_looked_at_any_more(autojump_clock: MockClock) -> None:
    """There is nothing to expect of it."""
    async with open_test_hub() as hub:
        connection, _, _, _ = begin(hub)
        connection.lose()
        assert connection.check(inf) is None


async def test_a_check_never_asks_for_a_moment_that_has_passed(autojump_clock: MockClock) -> None:
    """Whatever state it is in: the task of all due times would spin."""
    async with open_test_hub() as hub:
        for settings in (ServerSettings(), ServerSettings(heartbeat_seconds=0.1, pong_seconds=0.1)):
            connection, link, _, _ = begin(hub, settings=settings)
            now = trio.current_time()
            while (due := connection.check(trio.current_time())) is not None:
                assert due > trio.current_time()
                autojump_clock.jump(due - trio.current_time())
            assert trio.current_time() < now + 70
            assert "reset" in link.done


# Bad messages


async def test_too_many_unreadable_messages_in_ten_seconds_end_it(
    autojump_clock: MockClock,
) -> None:
    """The twentieth within ten seconds; those before do not count once they are older."""
    async with open_test_hub() as hub:
        link = FakeLink()
        connection = connect(hub, link, FakeDriver(), json_dialogue)
        connection.open(b"", b"")
        for _ in range(60):
            connection.feed(texts(b"{"))
            autojump_clock.jump(0.53)
        autojump_clock.jump(10)
        for _ in range(20):
            assert connection.is_open
            connection.feed(texts(b"{"))
            autojump_clock.jump(0.52)
        assert not connection.is_open
        assert link.window.wire.endswith(close_frame(1008, "too many unreadable messages"))


async def test_one_unreadable_message_may_be_too_many(autojump_clock: MockClock) -> None:
    """A bound of one."""
    async with open_test_hub() as hub:
        connection = connect(
            hub, FakeLink(), FakeDriver(), json_dialogue, settings=ServerSettings(bad_messages=1)
        )
        connection.open(b"", texts(b"{"))
        assert not connection.is_open


# The end


async def test_the_server_s_close_waits_for_the_peer_s_half(autojump_clock: MockClock) -> None:
    """The close frame, the end of what is sent, and two seconds; what comes is thrown away."""
    async with open_test_hub() as hub:
        connection, link, driver, script = begin(hub)
        connection.close(1012)
        assert link.window.wire == close_frame(1012, "restarting, come back")
        assert (link.done, driver.ends, driver.resumed) == (["eof"], 1, 1)
        assert connection.check(1.9) == 2
        connection.feed(texts(b"too late") + client_frame(PING, b"") + client_frame(PONG, b""))
        assert script.heard == []
        connection.close(1000)
        connection.feed(client_frame(CLOSE, b""))
        assert link.done == ["eof", "abort"]
        assert link.window.wire == close_frame(1012, "restarting, come back")
        assert connection.check(inf) is None or link.done == ["eof", "abort"]


async def test_a_close_that_is_not_answered_in_two_seconds_is_given_up(
    autojump_clock: MockClock,
) -> None:
    """And then it is over, also if it is looked at again."""
    async with open_test_hub() as hub:
        connection, link, _, _ = begin(hub)
        connection.close(1012)
        assert connection.check(2) is None
        assert link.done == ["eof", "abort"]
        assert connection.check(3) is None


async def test_more_than_is_thrown_away_cuts_it_off(autojump_clock: MockClock) -> None:
    """The bound itself is thrown away, one byte more is not."""
    settings = ServerSettings(close_discard_bytes=100)
    async with open_test_hub() as hub:
        connection, link, _, _ = begin(hub, settings=settings)
        connection.close(1012)
        connection.feed(b"x" * 100)
        assert link.done == ["eof"]
        connection.feed(b"x")
        assert link.done == ["eof", "abort"]


@pytest.mark.parametrize(
    ("payload", "code", "left"),
    [
        (b"", 1000, "disconnected"),
        (b"\x03\xe8", 1000, "left"),
        (b"\x03\xe9", 1001, "left"),
        (b"\x0b\xb8", 3000, "disconnected"),
    ],
)
async def test_the_peer_s_close_is_answered_and_ends_it(
    autojump_clock: MockClock, payload: bytes, code: int, left: LeftReason
) -> None:
    """The code is echoed, and says whether it went on purpose."""
    async with open_test_hub() as hub, hub.room("tea").join("bob") as bob:
        link = FakeLink()
        connection = connect(hub, link, FakeDriver(), json_dialogue)
        connection.open(b"", texts(b'{"type":"join","room":"tea"}'))
        await wait_all_tasks_blocked()
        connection.feed(client_frame(CLOSE, payload) + texts(b"{}"))
        await wait_all_tasks_blocked()
        assert link.done == ["abort"]
        assert b"\x88" in link.window.wire
        sent = link.window.wire[link.window.wire.rindex(b"\x88") :]
        assert sent[2:4] == code.to_bytes(2, "big")
        await bob.receive()
        event = await bob.receive()
        assert getattr(event, "reason", None) == left


@pytest.mark.parametrize("writes_at_once", [True, False])
async def test_a_close_frame_that_cannot_leave_yet_is_waited_for(
    autojump_clock: MockClock, writes_at_once: bool
) -> None:
    """The peer's close frame crosses ours, which is half on its way: it is written to its end."""
    async with open_test_hub() as hub:
        connection, link, _, _ = begin(hub, writes_at_once=writes_at_once)
        outlet = connection.outlet
        if writes_at_once:
            link.window.takes.append(3)
            link.window.then = 0
        else:
            while (piece := outlet.next_piece()) is not None:
                outlet.piece_taken(piece, len(piece.buffer))
            outlet.rest()
        connection.close(1012)
        # A stream that cannot write at once has it in the hands of its writer.
        piece = None if writes_at_once else outlet.next_piece()
        connection.feed(client_frame(CLOSE, b"\x03\xe8"))
        assert link.done == []
        assert not outlet.emptied
        if piece is None:
            link.window.then = None
            outlet.unblock()
        else:
            outlet.piece_taken(piece, len(piece.buffer))
        connection.written()
        assert link.done == ["abort"]


async def test_a_blocked_peer_has_as_long_to_take_the_close_as_to_take_anything(
    autojump_clock: MockClock,
) -> None:
    """Ten seconds for the rest of what was cut and the close frame, then two for its answer."""
    async with open_test_hub() as hub:
        connection, link, driver, _ = begin(hub, push(b"x" * 30))
        link.window.takes.append(5)
        link.window.then = 0
        connection.feed(texts(b"reply"))
        connection.close(1012)
        assert connection.check(9.9) == 10
        assert link.done == []
        autojump_clock.jump(9.9)
        link.window.then = None
        connection.outlet.unblock()
        connection.written()
        assert link.done == ["eof"]
        expected = text_frame(b"x" * 30) + close_frame(1012, "restarting, come back")
        assert link.window.wire == expected
        assert connection.check(11.8) == pytest.approx(11.9)
        assert driver.due[-1] == pytest.approx(11.9)


async def test_a_blocked_peer_that_never_takes_the_close_is_reset(
    autojump_clock: MockClock,
) -> None:
    """What the kernel holds for it is let go too."""
    async with open_test_hub() as hub:
        connection, link, _, _ = begin(hub, push(b"x" * 30))
        link.window.then = 0
        connection.feed(texts(b"reply"))
        connection.close(1012)
        assert connection.check(10) is None
        assert link.done == ["reset"]


async def test_a_peer_that_takes_nothing_is_cut_off_with_what_it_can_be_told(
    autojump_clock: MockClock,
) -> None:
    """The rest of a frame and 4008, if they go at the last moment; else not half of them."""
    for takes, done in ((None, "abort"), (0, "reset")):
        async with open_test_hub() as hub:
            connection, link, _, _ = begin(hub, push(b"x" * 30))
            link.window.takes.append(5)
            link.window.then = 0
            connection.feed(texts(b"reply"))
            due = connection.outlet.progress + 10
            assert connection.check(due - 0.1) == due
            link.window.then = takes
            assert connection.check(due) is None
            assert link.done == [done]
            frames = text_frame(b"x" * 30) + close_frame(4008, "too slow")
            assert link.window.wire == (frames if takes is None else frames[:5])
            assert not hub.members()


async def test_a_write_that_fails_ends_it(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The peer is gone: nothing is logged, unless the error is one of ours."""
    for error, logged in ((ConnectionResetError(), False), (ZeroDivisionError(), True)):
        caplog.clear()
        async with open_test_hub() as hub:
            connection, link, _, _ = begin(hub, push(b"x"))
            link.window.error = error
            connection.feed(texts(b"reply"))
            assert link.done == ["abort"]
            assert not hub.members()
            errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
            assert bool(errors) == logged


async def test_the_peer_s_end_without_a_close_is_the_end(autojump_clock: MockClock) -> None:
    """It will read nothing that needs an answer."""
    async with open_test_hub() as hub:
        connection, link, _, _ = begin(hub)
        connection.feed_eof()
        connection.feed_eof()
        assert link.done == ["abort"]
        assert not connection.is_open


async def test_a_pong_is_waited_for(autojump_clock: MockClock) -> None:
    """A ping after 25 seconds of silence, and ten seconds for any byte."""
    async with open_test_hub() as hub:
        connection, link, _, _ = begin(hub)
        assert connection.check(25) == 35
        assert link.window.wire == ping_frame(b"")
        assert connection.check(34) == 35
        assert connection.check(35) is None
        assert link.done == ["reset"]


# Waiting for what is to go out


async def test_all_is_written_when_nothing_waits(autojump_clock: MockClock) -> None:
    """At once if so; else when the writer has written all, or the end has begun."""
    async with open_test_hub() as hub:
        connection, link, _, _ = begin(hub, push(b"x" * 30))
        await connection.wait_written()
        link.window.then = 0
        connection.feed(texts(b"reply"))
        for act in (partial(take, connection, link), partial(connection.close, 1012)):
            with trio.fail_after(1):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(connection.wait_written)
                    await wait_all_tasks_blocked()
                    assert nursery.child_tasks
                    connection.written()
                    await wait_all_tasks_blocked()
                    assert nursery.child_tasks
                    act()
            link.window.then = 0
            connection.feed(texts(b"reply"))


def take(connection: Connection, link: FakeLink) -> None:
    link.window.then = None
    connection.outlet.unblock()
    connection.written()


async def test_what_a_room_has_not_come_to_is_written_before_the_end(
    autojump_clock: MockClock,
) -> None:
    """A seat that is behind for a moment, in the midst of a fan-out, is served from the log."""
    async with open_test_hub() as hub:
        link = FakeLink()
        connection = connect(hub, link, FakeDriver(), json_dialogue)
        connection.open(b"", texts(b'{"type":"join","room":"tea"}'))
        await wait_all_tasks_blocked()
        await hub.room("tea").broadcast("x")
        # As it is before the fan-out has come to this one.
        connection.outlet.members["tea"].cursor -= 1
        assert connection.outlet.free
        with trio.fail_after(1):
            await connection.wait_written()
        assert [frame.get("data") for frame in frames_of(link)] == [None, None, "x", "x"]
