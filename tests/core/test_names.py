"""Which names a room may have."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roomactors.core.names import check_member_id, check_room_name
from roomactors.errors import MemberIdError, RoomNameError


@pytest.mark.parametrize(
    "name",
    [
        *("a", "tea", "a room of one's own", "a/b/c", "a+b", "a$", " ", "x" * 255),
        *("café", "部屋", "é" * 127, "🍵", "\u2028", "\u200d", "\xa0"),
    ],
)
def test_a_good_name_is_returned_as_it_is(name: str) -> None:
    """Any printable text that fits may name a room."""
    assert check_room_name(name) is name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        ("$all", "begins with '$', and such names belong to the server"),
        ("$é", "begins with '$', and such names belong to the server"),
        ("x" * 256, "takes 256 bytes of UTF-8 (limit: 255)"),
        ("é" * 128, "takes 256 bytes of UTF-8 (limit: 255)"),
        ("a\nb", "contains a control character"),
        ("\x00", "contains a control character"),
        ("a\x7f", "contains a control character"),
        ("é\x85", "contains a control character"),
        ("\ud800", "contains half of a surrogate pair"),
        ("cafe\u0301", "is not in the Unicode normal form NFC"),
        ("\u212b", "is not in the Unicode normal form NFC"),
        (b"tea", "must be a string"),
        (7, "must be a string"),
        (None, "must be a string"),
    ],
)
def test_a_bad_name_is_refused_with_its_own_sentence(name: str, problem: str) -> None:
    """Each rule has its words, and the error carries the name."""
    with pytest.raises(RoomNameError) as caught:
        check_room_name(name)
    assert caught.value.problem == problem
    assert caught.value.name == name
    assert str(caught.value) == f"a room's name {problem}"


def test_a_subclass_of_str_is_checked_like_a_str() -> None:
    """The quick path is for plain strings; the others get the same answer."""

    class Name(str):
        __slots__ = ()

    assert check_room_name(Name("tea")) == "tea"
    with pytest.raises(RoomNameError):
        check_room_name(Name("$tea"))


def may_be_a_name(text: str) -> bool:
    """The rule of the wire, written once more without a quick path."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    return (
        1 <= size <= 255
        and not text.startswith("$")
        and all(unicodedata.category(character) != "Cc" for character in text)
        and unicodedata.normalize("NFC", text) == text
    )


@given(st.text(st.characters(codec=None), max_size=300))
@example("x" * 255)
@example("x" * 256)
@example("\x7f")
def test_the_quick_path_and_the_rule_agree(text: str) -> None:
    """For any text the answer is that of the rule."""
    try:
        accepted = check_room_name(text) == text
    except RoomNameError:
        accepted = False
    assert accepted == may_be_a_name(text)


@pytest.mark.parametrize("member", ["a", "m_" + "x" * 62, "Ada Lovelace", "é" * 32, "$x"])
def test_a_member_id_of_up_to_64_bytes_is_taken(member: str) -> None:
    """Bytes count, not characters, and there are no reserved ids."""
    assert check_member_id(member) == member


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        ("", "is empty"),
        ("x" * 65, "takes 65 bytes"),
        ("é" * 33, "takes 66 bytes"),
        ("a\nb", "control character"),
        ("\ud800", "surrogate"),
        (7, "must be a string"),
    ],
)
def test_any_other_member_id_is_refused_with_the_reason(member: str, problem: str) -> None:
    """The error says what is wrong with it."""
    with pytest.raises(MemberIdError, match=problem):
        check_member_id(member)
