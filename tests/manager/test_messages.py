"""What a connection is sent, and how: text and binary, by the method that it has."""

from __future__ import annotations

import pytest

import roomactors
from roomactors import ConnectionManager, InvalidDataError, MemberIdError, TooLargeError
from roomactors.manager.manager import OWN_HUB
from tests.manager.fakes import SMALL, put
from tests.manager.textbook import Peer

# How a connection is sent to


class TrioWebsocketShape:
    def __init__(self) -> None:
        self.got: list[tuple[str, str | bytes]] = []

    async def send_message(self, message: str | bytes) -> None:
        self.got.append(("send_message", message))


class StarletteShape:
    def __init__(self) -> None:
        self.got: list[tuple[str, str | bytes]] = []

    async def send_text(self, data: str) -> None:
        self.got.append(("send_text", data))

    async def send_bytes(self, data: bytes) -> None:
        self.got.append(("send_bytes", data))

    async def send(self, message: dict[str, object]) -> None:
        raise AssertionError("an ASGI message is not what the manager has")


class QuartShape:
    def __init__(self) -> None:
        self.got: list[tuple[str, str | bytes]] = []

    async def send(self, data: str | bytes) -> None:
        self.got.append(("send", data))


class EveryShape(TrioWebsocketShape):
    send_text = send_bytes = send = None


class HalfShape(QuartShape):
    async def send_text(self, data: str) -> None:
        raise AssertionError("there is no send_bytes beside it")


@pytest.mark.parametrize(
    ("shape", "text_by", "binary_by"),
    [
        (TrioWebsocketShape, "send_message", "send_message"),
        (StarletteShape, "send_text", "send_bytes"),
        (QuartShape, "send", "send"),
        (EveryShape, "send_message", "send_message"),
        (HalfShape, "send", "send"),
    ],
)
async def test_a_connection_is_sent_to_by_the_method_it_has(
    shape: type[TrioWebsocketShape | StarletteShape | QuartShape], text_by: str, binary_by: str
) -> None:
    """Text goes out as str and binary as bytes, by the first of the documented names."""
    connection = shape()
    async with ConnectionManager() as manager:
        await manager.add_connection("ada", connection)
        await manager.join_room("ada", "tea")
        await manager.broadcast_to_room("tea", "text")
        await manager.broadcast_to_room("tea", b"binary")
    assert connection.got == [(text_by, "text"), (binary_by, b"binary")]


async def test_a_send_that_is_given_comes_before_all_names() -> None:
    """`send=` is used even where the object has a method of its own."""
    connection, got = TrioWebsocketShape(), []

    async def send(message: str | bytes) -> None:
        got.append(message)

    async with ConnectionManager() as manager:
        await manager.add_connection("ada", connection, send=send)
        await manager.broadcast_to_all("hello")
    assert (got, connection.got) == (["hello"], [])


async def test_an_object_that_cannot_be_sent_to_is_refused() -> None:
    """The error names what is missing, and the id stays free."""
    async with ConnectionManager() as manager:
        with pytest.raises(TypeError, match="a object has no send_message, no send_text with"):
            await manager.add_connection("ada", object())
        await manager.add_connection("ada", Peer())


@pytest.mark.parametrize("wrong", [7, None, b"ada", "", "a\nb", "x" * 65])
async def test_an_id_is_one_that_a_member_may_have(wrong: object) -> None:
    """Rosters name connections by their ids, so ids are what a roster can hold."""
    async with ConnectionManager() as manager:
        with pytest.raises(MemberIdError):
            await manager.add_connection(wrong, Peer())  # type: ignore[arg-type]
        assert manager.hub.members() == []


# What is sent

TEXTS = (
    *("", '"', "\\", '\\"', "\0", "\u2028", "é😀", "null", "x" * 100_000),
    *('{"base64":"AA=="}', "[1, 2]", "\ufeffbom"),
)
BINARIES = (b"", b"\0", bytes(range(256)) * 1000, b'"text"', b'{"base64":"AA=="}', b"\xff\xfe")


@pytest.mark.parametrize("message", [*TEXTS, *BINARIES], ids=lambda message: repr(message[:12]))
async def test_text_stays_text_and_binary_stays_binary(message: str | bytes) -> None:
    """What arrives is equal to what was sent, and of its type, whatever is in it."""
    peer = Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=peer)
        await manager.broadcast_to_room("tea", message)
    assert peer.got == [message]
    assert type(peer.got[0]) is type(message)


@pytest.mark.parametrize("message", [None, 1, {"a": 1}, ["a"], bytearray(b"a")])
async def test_a_message_is_text_or_binary(message: object) -> None:
    """Any other value is refused to the one who sends it; nothing is sent."""
    peer = Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=peer)
        for broadcast in (
            manager.broadcast_to_all(message),  # type: ignore[arg-type]
            manager.broadcast_to_room("tea", message),  # type: ignore[arg-type]
            manager.broadcast_to_room("nowhere", message),  # type: ignore[arg-type]
        ):
            with pytest.raises(TypeError, match="a message is a str or bytes, not a "):
                await broadcast
    assert peer.asked == []


async def test_half_of_a_surrogate_pair_is_refused() -> None:
    """It has no UTF-8, so no connection could be sent it."""
    peer = Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=peer)
        with pytest.raises(InvalidDataError):
            await manager.broadcast_to_room("tea", "\ud800")
    assert peer.asked == []


@pytest.mark.parametrize(
    ("largest", "over"),
    [("x" * 98, "x" * 99), ("\n" * 49, "\n" * 50), (b"x" * 63, b"x" * 64)],
    ids=["text", "escaped", "binary"],
)
async def test_the_size_of_a_message_is_what_the_hub_says(
    largest: str | bytes, over: str | bytes
) -> None:
    """`data_bytes` holds for the message as JSON, to the byte."""
    peer = Peer()
    async with roomactors.open_hub(settings=SMALL) as hub, ConnectionManager(hub) as manager:
        await put(manager, "tea", ada=peer)
        await manager.broadcast_to_room("tea", largest)
        with pytest.raises(TooLargeError, match="the message takes"):
            await manager.broadcast_to_room("tea", over)
        with pytest.raises(TooLargeError):
            await manager.broadcast_to_all(over)
    assert peer.got == [largest]


@pytest.mark.parametrize("message", ["x" * 2**20, b"x" * 2**20], ids=["text", "binary"])
async def test_a_manager_s_own_hub_takes_what_trio_websocket_takes(message: str | bytes) -> None:
    """A message of 1 MiB, in either kind; twice that is refused."""
    peer = Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=peer)
        await manager.broadcast_to_room("tea", message)
        with pytest.raises(TooLargeError) as refused:
            await manager.broadcast_to_room("tea", message * 2)
        assert refused.value.limit == OWN_HUB.data_bytes
        await manager.hub.room("tea").broadcast("x" * 2**20)
    assert peer.got == [message, "x" * 2**20]
