"""What is let in as JSON, from Python and from the wire, and what is not."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roomactors.errors import InvalidDataError, TooLargeError
from roomactors.protocol.json_data import (
    MAX_DATA_BYTES,
    MAX_DEPTH,
    BadJson,
    Json,
    check_json,
    compact,
    freeze,
)

# --- A plain reference, by the standard library.


class Refused(Exception):
    """The reference does not take this."""


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise Refused("duplicate key")
    return dict(pairs)


def _refuse_constant(name: str) -> object:
    raise Refused(name)


def _depth(value: object) -> int:
    if isinstance(value, list | tuple):
        return 1 + max(map(_depth, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 0


def _leaves_are_fit(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_leaves_are_fit, value.keys())) and all(map(_leaves_are_fit, value.values()))
    if isinstance(value, list):
        return all(map(_leaves_are_fit, value))
    if isinstance(value, str):
        return not any(0xD800 <= ord(character) <= 0xDFFF for character in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return True


def reference(text: bytes) -> object:
    if text.startswith(b"\xef\xbb\xbf"):
        raise Refused("byte order mark")
    try:
        value = json.loads(
            text.decode(), object_pairs_hook=_no_duplicates, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise Refused from error
    if _depth(value) > 64 or not _leaves_are_fit(value):
        raise Refused
    return value


def agree(text: bytes) -> bool:
    """Compare with the reference; whether the text was good."""
    try:
        expected = reference(text)
    except Refused:
        with pytest.raises(BadJson):
            check_json(text)
        return False
    # 1, 1.0 and True are equal to Python; their representations are not.
    assert repr(check_json(text)) == repr(expected)
    return True


# --- Texts: built piece by piece, so that duplicates, spaces and escapes are common.

spaces = st.sampled_from(["", "", "", " ", "\n", "\t\r "])
characters = st.one_of(
    st.sampled_from(
        [
            "a",
            "b",
            '\\"',
            "\\\\",
            "\\/",
            "\\u0061",
            "\\u0000",
            "\\n",
            ":",
            "{",
            "[",
            "]",
            "}",
            ",",
            " ",
        ]
    ),
    st.sampled_from(
        ["\\ud83d\\ude00", "\\ud83d", "\\ude00", "😀", "é", "\u2028", "\x7f", "\\u005c"]
    ),
)
strings = st.lists(characters, max_size=4).map(lambda parts: '"' + "".join(parts) + '"')
numbers = st.one_of(
    st.integers().map(str),
    st.sampled_from(
        [
            str(2**63),
            str(2**64 - 1),
            str(2**64),
            str(-(2**63)),
            str(-(2**63) - 1),
            "1" * 400,
            "1" * 5000,
            "12345678901234567890.5",
            "1e5",
            "1E+5",
            "1e-400",
            "1e400",
            "-1e400",
            "1.0",
            "NaN",
            "Infinity",
            "-Infinity",
            "01",
            "-",
            "1.",
            ".5",
            "+1",
        ]
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
scalars = st.one_of(strings, numbers, st.sampled_from(["true", "false", "null", "nul"]))


def _spaced(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def list_of(items: list[str], space: str) -> str:
        return "[" + space + f"{space},".join(items) + space + "]"

    def object_of(items: list[tuple[str, str]], space: str) -> str:
        return "{" + ",".join(f"{space}{k}{space}:{space}{v}" for k, v in items) + space + "}"

    return st.one_of(
        st.builds(list_of, st.lists(children, max_size=4), spaces),
        st.builds(object_of, st.lists(st.tuples(strings, children), max_size=4), spaces),
    )


texts = st.recursive(scalars, _spaced, max_leaves=12)


@given(st.builds(lambda before, text, after: f"{before}{text}{after}", spaces, texts, spaces))
@example('{"a":1,"a":2}')
@example('{"a":1,"\\u0061":2}')
@example('{"a" : 1, "b" : "c\\":"}')
@example('{"a\\\\":1,"a\\\\":1}')
@example('[{"a":1},{"a":1}]')
@example('"\ufeff"')
@example("\ufeff1")
def test_a_text_is_taken_exactly_when_a_plain_strict_reader_takes_it(text: str) -> None:
    """The short cuts by counting and comparing never decide otherwise than a full look."""
    agree(text.encode())


@given(st.binary(max_size=8), texts)
def test_broken_bytes_are_refused_like_the_reference_does(noise: bytes, text: str) -> None:
    """Cuts and noise, invalid UTF-8 included, end as `BadJson` and nothing else."""
    agree(noise)
    agree(text.encode()[: len(text) // 2] + noise + text.encode()[len(text) // 2 :])


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.text()
        | st.floats(-1e300, 1e300),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_python_writes_is_read_back(value: object) -> None:
    """With the standard library's spaces, its escapes, or neither."""
    assert agree(json.dumps(value).encode())
    assert agree(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    assert agree(json.dumps(value, indent=1).encode())


def _nested(depth: int, kind: str) -> str:
    opening, closing = {"list": ("[", "]"), "object": ('{"a":', "}"), "spaced": ("[ ", " ]")}[kind]
    return opening * depth + "1" + closing * depth


@pytest.mark.parametrize("kind", ["list", "object", "spaced"])
def test_64_levels_are_taken_and_65_are_not(kind: str) -> None:
    """Depth is counted in lists and objects within each other."""
    check_json(_nested(64, kind).encode())
    for depth in (65, 66, 500, 100_000):
        with pytest.raises(BadJson, match="deeper than 64 levels"):
            check_json(_nested(depth, kind).encode())


def test_many_brackets_are_not_taken_for_depth() -> None:
    """Neither side by side nor within strings."""
    side_by_side = b"[" + b",".join([b'{"a":[[]]}'] * 500) + b"]"
    in_a_string = b'["' + b"[" * 500 + b'"]'
    escaped = b'["\\"' + b"[" * 100 + b'","\\\\",' + _nested(63, "list").encode() + b"]"
    for text in (side_by_side, in_a_string, escaped):
        assert agree(text)
    assert not agree(escaped.replace(b"1", b"[]"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b'{"a":1,"a":2}', "an object has the same key twice"),
        (b'{"a":{"b":1,"c":[{"b":1, "b":1}]}}', "an object has the same key twice"),
        (b"18446744073709551616", "an integer needs more than 64 bits"),
        (b'"\xff"', "a string is not valid UTF-8"),
        (b'"\xed\xa0\x80"', "a string is not valid UTF-8"),
        (b'{"a":NaN}', "this is not JSON: invalid character (byte 5)"),
        (b"", "this is not JSON: Input data was truncated"),
    ],
)
def test_a_refusal_says_what_is_wrong(text: bytes, sentence: str) -> None:
    """One sentence for the person who wrote the client."""
    with pytest.raises(BadJson) as caught:
        check_json(text)
    assert str(caught.value) == sentence


def test_a_kept_value_has_no_white_space_outside_its_strings() -> None:
    """So it can stand in a frame that ends at a newline; and it is never much longer."""
    kept = compact(check_json(b'{ "a" :\n[ 1 ,\t"b c\\n" , 1e15 ] }'))
    assert kept == b'{"a":[1,"b c\\n",1000000000000000.0]}'
    assert isinstance(kept, Json)
    long = b"[" + b",".join([b"1e15"] * 1000) + b"]"
    assert len(compact(check_json(long))) <= 3.8 * len(long)


# --- freeze


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Word(str):
    __slots__ = ()


class Count(int):
    pass


class Share(float):
    pass


Point = namedtuple("Point", "x y")


class Grumpy(list[int]):
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = None


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text()
    | st.floats(-1e300, 1e300),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


def _without_tuples(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_without_tuples(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_tuples(item) for key, item in value.items()}
    return value


@given(plain)
def test_a_value_is_kept_as_strict_json_of_itself(value: object) -> None:
    """Whatever is frozen, the strict reader takes and gives back."""
    frozen = freeze(value)
    assert repr(json.loads(frozen)) == repr(_without_tuples(value))
    assert repr(check_json(bytes(frozen))) == repr(_without_tuples(value))
    assert frozen == compact(_without_tuples(value))


def test_each_value_taken_out_is_a_fresh_one() -> None:
    """What a member does to the value that it got is seen by nobody else."""
    frozen = freeze({"a": [1]})
    first = frozen.value()
    assert first == {"a": [1]}
    assert isinstance(first, dict)
    first["a"].append(2)
    assert frozen.value() == {"a": [1]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Colour.RED, b'"red"'),
        (Size.BIG, b"3"),
        (Word("w"), b'"w"'),
        (Count(4), b"4"),
        (Share(0.5), b"0.5"),
        (Point(1, 2), b"[1,2]"),
        (OrderedDict(a=1), b'{"a":1}'),
        (Grumpy([1, 2]), b"[1,2]"),
        ((Colour.RED, Size.BIG, True, None), b'["red",3,true,null]'),
        ({Word("k"): (Colour.RED,)}, b'{"k":["red"]}'),
        (2**64 - 1, b"18446744073709551615"),
        (-(2**63), b"-9223372036854775808"),
        ("\u2028\x00😀", '"\u2028\\u0000😀"'.encode()),
    ],
)
def test_subclasses_become_the_plain_value(value: object, text: bytes) -> None:
    """Enums, named tuples and the like, alone or beside something that needs a closer look."""
    assert freeze(value) == text
    assert freeze((value,)) == b"[" + text + b"]"


def _cycle() -> object:
    cycle: list[object] = []
    cycle.append({"again": cycle})
    return cycle


def _deep(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "$ is nan, which JSON has no word for"),
        ({"a": [0, 1, 2, float("inf")]}, "$.a[3] is inf, which JSON has no word for"),
        ([(-math.inf,)], "$[0][0] is -inf, which JSON has no word for"),
        ({"a b": 2**64}, "$['a b'] is an integer of more than 64 bits"),
        ([-(2**63) - 1], "$[0] is an integer of more than 64 bits"),
        ("\ud800", "$ is a string with a lone surrogate"),
        ({"a": {"\udfff": 1}}, "$.a has a key that is a string with a lone surrogate"),
        ({"a": {1: 2}}, "$.a has a key of type int, and keys are strings"),
        ({None: 2}, "$ has a key of type NoneType, and keys are strings"),
        ({"s": {1, 2}}, "$.s is of type set"),
        (b"bytes", "$ is of type bytes"),
        ([deque([1])], "$[0] is of type deque"),
        ([object()], "$[0] is of type object"),
        ({"k" * 50: {1}}, f"$['{'k' * 40}…'] is of type set"),
        (_deep(65), f"${'[0]' * 5}…{'[0]' * 5} is nested deeper than 64 levels"),
        (_deep(5000), f"${'[0]' * 5}…{'[0]' * 5} is nested deeper than 64 levels"),
        (
            _cycle(),
            "$[0].again[0].again[0]….again[0].again[0].again is nested deeper than 64 levels",
        ),
    ],
)
def test_what_json_cannot_carry_is_named_with_its_place(value: object, problem: str) -> None:
    """The caller gets the error, and it says where to look."""
    with pytest.raises(InvalidDataError) as caught:
        freeze(value)
    assert caught.value.problem == problem


@pytest.mark.parametrize(
    "make", [lambda inner: [inner], lambda inner: {"a": inner}, lambda i: (i,)]
)
def test_64_levels_can_be_sent(make: Callable[[object], object]) -> None:
    """The limit itself is allowed, one more is not."""
    value: object = "["
    for _ in range(MAX_DEPTH):
        value = make(value)
    assert check_json(bytes(freeze(value))) == _without_tuples(value)
    with pytest.raises(InvalidDataError):
        freeze(make(value))


def test_the_size_limit_is_of_the_json_text() -> None:
    """Exactly the limit is taken; the error has the facts."""
    assert len(freeze("é" * ((MAX_DATA_BYTES - 2) // 2))) == MAX_DATA_BYTES
    with pytest.raises(TooLargeError) as caught:
        freeze("a" * (MAX_DATA_BYTES - 1))
    assert (caught.value.what, caught.value.size, caught.value.limit) == ("the data", 65537, 65536)
    with pytest.raises(TooLargeError, match=r"^info takes 6 bytes as JSON \(limit: 5\)$"):
        freeze(["aa"], max_bytes=5, what="info")
    assert len(freeze("a" * 100_000, max_bytes=0)) == 100_002
