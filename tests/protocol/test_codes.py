"""The codes are those of the protocol, and each exception has one."""

from __future__ import annotations

import inspect

import pytest

from roomactors import errors
from roomactors.protocol.codes import CloseCode, ErrorCode, answer_to


def test_the_error_codes_are_those_of_the_protocol() -> None:
    """All of them, also those that only a later feature sends."""
    assert set(ErrorCode) == {
        *("bad_json", "bad_message", "unknown_type", "bad_room_name", "not_a_member"),
        *("no_such_member", "forbidden", "room_full", "too_many_rooms", "too_large"),
        *("rate_limited", "busy", "ask_failed", "ask_timeout", "not_supported", "internal"),
    }


def test_the_close_codes_are_those_of_the_protocol() -> None:
    """And each says whether a client should come back."""
    come_back = {1001, 1011, 1012, 1013, 4002, 4008, 4029}
    stay_away = {1000, 1002, 1003, 1007, 1008, 1009, 4001, 4003, 4009}
    assert {code for code in CloseCode if code.reconnect} == come_back
    assert {code for code in CloseCode if not code.reconnect} == stay_away


def test_a_close_code_is_its_number_and_says_what_it_means() -> None:
    """The meaning fits the 123 bytes of a close frame's reason."""
    assert CloseCode(4009) is CloseCode.TAKEN_OVER
    assert int(CloseCode.RESTARTING) == 1012
    assert CloseCode.RESTARTING.meaning == "restarting, come back"
    assert all(0 < len(code.meaning.encode()) <= 123 for code in CloseCode)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidDataError("$ is nan"), "bad_message"),
        (errors.RoomNameError("", "is empty"), "bad_room_name"),
        (errors.RoomFullError("tea", 2), "room_full"),
        (errors.TooManyRoomsError("m_1", 2), "too_many_rooms"),
        (errors.MemberIdTakenError("m_1"), "forbidden"),
        (errors.NotAMemberError("tea"), "not_a_member"),
        (errors.ClosedSeatError("tea", "left"), "not_a_member"),
        (errors.NoSuchMemberError("m_1"), "no_such_member"),
        (errors.TooLargeError("info", 2000, 1024), "too_large"),
        (errors.BusyError("tea"), "busy"),
        (errors.DrainingError(), "busy"),
        (errors.ClosedHubError(), "busy"),
    ],
)
def test_a_refusal_is_told_with_its_code_and_its_sentence(error: Exception, code: str) -> None:
    """The sentence is the exception's own."""
    assert answer_to(error) == (code, str(error))


@pytest.mark.parametrize(
    "error", [errors.BrokenRoomError("tea"), KeyError("secret"), errors.UnknownConnectionError(1)]
)
def test_anything_else_is_internal_and_shows_nothing(error: Exception) -> None:
    """What the server's own failure says stays in its log."""
    code, message = answer_to(error)
    assert code == "internal"
    assert "secret" not in message
    assert message == "the server failed at this; it has been reported"


def test_every_refusal_has_a_code_of_its_own() -> None:
    """A refusal that is added to the errors must be added here, or it would be `internal`."""
    for _, cls in inspect.getmembers(errors, inspect.isclass):
        if issubclass(cls, errors.RefusedError) and cls is not errors.RefusedError:
            facts = [1] * (len(inspect.signature(cls).parameters))
            assert answer_to(cls(*facts))[0] != "internal", cls
