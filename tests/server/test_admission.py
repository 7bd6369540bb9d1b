"""Who may come in as what."""

from __future__ import annotations

import logging
from base64 import urlsafe_b64encode
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from roomactors.errors import AdmissionRefused
from roomactors.server.admission import (
    AdmissionRequest,
    Admit,
    Plan,
    admit_user,
    plan_upgrade,
)
from roomactors.server.head import HttpRefusal, Request
from tests.server.heads import KEY, request_of

Header = tuple[str, str]


def protocols(*names: str) -> Header:
    """The header that offers these subprotocols."""
    return "Sec-WebSocket-Protocol", ", ".join(names)


def bearer(token: str) -> str:
    """A token as a browser sends it."""
    return "bearer." + urlsafe_b64encode(token.encode()).decode().rstrip("=")


def refused(request: Request, allowed: tuple[str, ...] | None = None) -> HttpRefusal:
    """How this upgrade is refused."""
    with pytest.raises(HttpRefusal) as caught:
        plan_upgrade(request, allowed_origins=allowed)
    return caught.value


def planned(start: str = "GET /ws HTTP/1.1", *more: Header) -> Plan:
    """What this upgrade would be."""
    return plan_upgrade(request_of(start, *more), allowed_origins=None)


ORIGIN = ("Origin", "http://evil.example")


@pytest.mark.parametrize(
    ("status", "code", "request_"),
    [
        (404, "not_found", request_of("GET / HTTP/1.1")),
        (404, "not_found", request_of("GET /healthz HTTP/1.1")),
        (404, "not_found", request_of("GET /ws/ HTTP/1.1")),
        (404, "not_found", request_of("GET /raw HTTP/1.1")),
        (400, "bad_room_name", request_of("GET /raw/ HTTP/1.1")),
        (400, "bad_room_name", request_of("GET /raw/$all HTTP/1.1")),
        (400, "bad_room_name", request_of("GET /raw/%0a HTTP/1.1")),
        (400, "bad_room_name", request_of("GET /raw/cafe%cc%81 HTTP/1.1")),
        (400, "bad_room_name", request_of(f"GET /raw/{'x' * 256} HTTP/1.1")),
        (400, "bad_request", request_of("GET /raw/%ff HTTP/1.1")),
        (400, "bad_request", request_of("GET /raw/%zz HTTP/1.1")),
        (405, "method_not_allowed", request_of("POST /ws HTTP/1.1")),
        (405, "method_not_allowed", request_of("get /ws HTTP/1.1")),
        (405, "method_not_allowed", request_of("HEAD /raw/tea HTTP/1.1")),
        (426, "upgrade_required", request_of(without="Upgrade")),
        (426, "upgrade_required", request_of(without="Connection")),
        (426, "upgrade_required", request_of(("GET /ws HTTP/1.1"), base={"Host": "a"})),
        (400, "bad_request", request_of(without="Sec-WebSocket-Version")),
        (
            426,
            "upgrade_required",
            request_of("GET /ws HTTP/1.1", ("Sec-WebSocket-Version", "13")),
        ),
        *(
            (
                426,
                "upgrade_required",
                request_of(
                    "GET /ws HTTP/1.1",
                    ("Sec-WebSocket-Version", version),
                    without="Sec-WebSocket-Version",
                ),
            )
            for version in ("8", "14", "013", "", "13, 8")
        ),
        (400, "bad_request", request_of(without="Sec-WebSocket-Key")),
        (400, "bad_request", request_of("GET /ws HTTP/1.1", ("Sec-WebSocket-Key", KEY))),
        *(
            (
                400,
                "bad_request",
                request_of(
                    "GET /ws HTTP/1.1", ("Sec-WebSocket-Key", key), without="Sec-WebSocket-Key"
                ),
            )
            for key in ("", "AAAA", KEY[:-1], KEY + "=", "A" * 22, "A" * 24, "!" * 22 + "==")
        ),
        (403, "forbidden", request_of("GET /ws HTTP/1.1", ORIGIN)),
        (403, "forbidden", request_of("GET /raw/tea HTTP/1.1", ORIGIN)),
        *(
            (400, "bad_request", request_of("GET /ws HTTP/1.1", protocols(*names)))
            for names in [
                ("",),
                ("a b",),
                ("a", "", "b"),
                ("bearer.",),
                ("bearer.A",),
                ("bearer.a+b",),
                ("bearer.__79",),
                (bearer("a\nb"),),
                (bearer("a"), bearer("b")),
                ("session.",),
                ("session.a", "session.b"),
            ]
        ),
        *(
            (400, "bad_request", request_of("GET /ws HTTP/1.1", ("Authorization", value)))
            for value in ("Bearer", "Bearer  ", "Bearer a b", "bearer a, Bearer b")
        ),
        (
            400,
            "bad_request",
            request_of("GET /ws HTTP/1.1", ("Authorization", "Bearer a"), protocols(bearer("b"))),
        ),
        (400, "bad_request", request_of("GET /ws?session= HTTP/1.1")),
        (400, "bad_request", request_of("GET /ws?session=a%0d HTTP/1.1")),
        (400, "bad_request", request_of("GET /ws?session=a HTTP/1.1", protocols("session.b"))),
        (400, "bad_request", request_of("GET /raw/tea?echo=no HTTP/1.1")),
    ],
)
def test_each_admission_status_has_its_reason(status: int, code: str, request_: Request) -> None:
    """The table of the wire, row by row."""
    refusal = refused(request_)
    assert (refusal.status, refusal.code) == (status, code)


def test_reasons_are_found_in_the_order_of_the_table() -> None:
    """A request that is wrong in every way is told the first, then the next one."""
    more = (ORIGIN, protocols("bearer.A"))
    wrong = {"Host": "a"}
    upgrade = {**wrong, "Connection": "Upgrade", "Upgrade": "websocket"}
    version = {**upgrade, "Sec-WebSocket-Version": "13"}
    key = {**version, "Sec-WebSocket-Key": KEY}
    statuses = [
        refused(request_of("POST /nowhere HTTP/1.1", *more, base=wrong)).status,
        refused(request_of("POST /ws HTTP/1.1", *more, base=wrong)).status,
        refused(request_of("GET /ws HTTP/1.1", *more, base=wrong)).status,
        refused(request_of("GET /ws HTTP/1.1", *more, base=version)).status,
        refused(request_of("GET /ws HTTP/1.1", *more, base=key)).status,
        refused(request_of("GET /ws HTTP/1.1", *more[1:], base=key)).status,
    ]
    assert statuses == [404, 405, 426, 400, 403, 400]


def test_refusals_say_what_to_do_instead() -> None:
    """405 has Allow, 426 has Upgrade and the version."""
    assert refused(request_of("POST /ws HTTP/1.1")).headers == (("Allow", "GET"),)
    speaks = ("Sec-WebSocket-Version", "13")
    for request in (
        request_of(without="Upgrade"),
        request_of("GET /ws HTTP/1.1", ("Sec-WebSocket-Version", "8")),
    ):
        assert refused(request).headers == (("Upgrade", "websocket"), speaks)
    assert refused(request_of(without="Sec-WebSocket-Version")).headers == (speaks,)


def test_a_plain_connection_is_json_without_identity() -> None:
    """Nothing needs to be said for the simplest client."""
    assert planned() == Plan(
        protocol="json", subprotocol=None, room=None, echo=True, resume=None, token=None
    )


def test_our_subprotocol_is_selected_where_it_is_offered() -> None:
    """Alone, among others, and split over two headers; no other one ever is."""
    ours = "roomactors.v1.json"
    assert planned("GET /ws HTTP/1.1", protocols(ours)).subprotocol == ours
    assert planned("GET /ws HTTP/1.1", protocols("other", ours)).subprotocol == ours
    assert planned("GET /ws HTTP/1.1", protocols("a"), protocols(ours)).subprotocol == ours
    assert planned("GET /ws HTTP/1.1", protocols("other", bearer("t"))).subprotocol is None


def test_a_token_comes_by_header_or_by_subprotocol() -> None:
    """Both ways give the same token, and the same one twice is one."""
    pair = protocols("roomactors.v1.json", bearer("tökén"))
    assert planned("GET /ws HTTP/1.1", pair).token == "tökén"
    assert planned("GET /ws HTTP/1.1", pair).subprotocol == "roomactors.v1.json"
    authorization = ("Authorization", "bEARER abc.def==")
    assert planned("GET /ws HTTP/1.1", authorization).token == "abc.def=="
    both = (authorization, protocols(bearer("abc.def==")))
    assert planned("GET /ws HTTP/1.1", *both).token == "abc.def=="
    assert planned("GET /ws HTTP/1.1", ("Authorization", "Basic YTpi")).token is None


def test_a_session_comes_by_query_or_by_subprotocol() -> None:
    """Both ways give the same secret; the first in the query counts."""
    assert planned("GET /ws?session=s1&session=s2 HTTP/1.1").resume == "s1"
    assert planned("GET /ws HTTP/1.1", protocols("session.s1")).resume == "s1"
    assert planned("GET /ws?session=s1 HTTP/1.1", protocols("session.s1")).resume == "s1"


@pytest.mark.parametrize(
    ("path", "room"),
    [
        ("/raw/tea", "tea"),
        ("/raw/a/b/", "a/b/"),
        ("/raw/a%2Fb", "a/b"),
        ("/raw/a+b", "a+b"),
        ("/raw/caf%C3%A9", "café"),
        ("/raw//ws", "/ws"),
    ],
)
def test_the_rest_of_a_raw_path_is_one_room_name(path: str, room: str) -> None:
    """Slashes belong to it, and a plus is a plus."""
    plan = planned(f"GET {path} HTTP/1.1")
    assert (plan.protocol, plan.room, plan.echo) == ("raw", room, True)


def test_a_raw_connection_may_do_without_its_own_messages() -> None:
    """`echo=0` in the query; a session means nothing there."""
    plan = planned("GET /raw/tea?echo=0&session=s HTTP/1.1")
    assert (plan.echo, plan.resume) == (False, None)
    assert planned("GET /raw/tea?echo=1 HTTP/1.1").echo is True


def test_a_raw_connection_gets_the_first_subprotocol_that_is_no_secret() -> None:
    """A browser that carries its token beside any name is not hung up on."""
    plan = planned("GET /raw/tea HTTP/1.1", protocols(bearer("t"), "session.s", "chat", "x"))
    assert (plan.subprotocol, plan.token) == ("chat", "t")
    assert planned("GET /raw/tea HTTP/1.1", protocols(bearer("t"))).subprotocol is None


def test_a_plan_shows_no_secrets_when_printed() -> None:
    """Tokens and sessions are not in the repr."""
    plan = planned("GET /ws?session=SECRET HTTP/1.1", ("Authorization", "Bearer SECRET"))
    assert "SECRET" not in repr(plan)


@pytest.mark.parametrize(
    ("host", "origin", "allowed", "comes_in"),
    [
        ("a.example", None, None, True),
        ("a.example", "http://a.example", None, True),
        ("a.example", "https://a.example", None, True),
        ("A.example", "http://a.EXAMPLE", None, True),
        ("a.example:80", "http://a.example", None, True),
        ("a.example", "http://a.example:80", None, True),
        ("a.example:443", "https://a.example", None, True),
        ("a.example:8000", "http://a.example:8000", None, True),
        ("[::1]:8000", "http://[::1]:8000", None, True),
        ("a.example:8000", "http://a.example", None, False),
        ("a.example", "http://a.example:8000", None, False),
        ("a.example:80", "https://a.example", None, False),
        ("a.example", "http://b.example", None, False),
        ("a.example", "http://a.example.evil.example", None, False),
        ("a.example", "http://a.example@evil.example", None, False),
        ("a.example", "http://evil.example/a.example", None, False),
        ("a.example", "ftp://a.example", None, False),
        ("a.example", "a.example", None, False),
        ("a.example", "null", None, False),
        ("a.example", "", None, False),
        ("a.example", "http://a.example, http://a.example", None, False),
        ("a.example", "http://b.example", ("http://b.example",), True),
        ("a.example", "http://a.example", ("http://b.example",), True),
        ("a.example", "http://c.example", ("http://b.example",), False),
        ("a.example", "http://b.example:81", ("http://b.example",), False),
        ("a.example", "https://b.example", ("http://b.example",), False),
        ("a.example", "http://b.example", (), False),
        ("a.example", "http://c.example", ("http://b.example", "*"), True),
        ("a.example", "null", ("*",), True),
    ],
)
def test_a_page_connects_to_its_own_host_or_from_a_listed_origin(
    host: str, origin: str | None, allowed: tuple[str, ...] | None, comes_in: bool
) -> None:
    """No origin, the same host and port, or exactly a listed one."""
    more = [("Host", host)] + ([("Origin", origin)] if origin is not None else [])
    request = request_of("GET /ws HTTP/1.1", *more, without="Host")
    if comes_in:
        assert plan_upgrade(request, allowed_origins=allowed).protocol == "json"
    else:
        assert refused(request, allowed).status == 403


async def ask(admit: Admit | None, *more: Header, path: str = "/ws") -> str | None:
    """What becomes of an upgrade under this admit function, with a deadline of 5 s."""
    request = request_of(f"GET {path} HTTP/1.1", *more, secure=True)
    plan = plan_upgrade(request, allowed_origins=None)
    return await admit_user(request, plan, admit, deadline_seconds=5)


async def test_without_an_admit_function_everyone_comes_in_without_a_name() -> None:
    """A token alone makes nobody known."""
    assert await ask(None, ("Authorization", "Bearer t")) is None


async def test_an_admit_function_sees_the_request_and_says_who_it_is() -> None:
    """Path, query, headers, address, token, origin and room are there; secrets are not printed."""
    seen: list[AdmissionRequest] = []

    async def admit(request: AdmissionRequest) -> str | None:
        seen.append(request)
        return "ada"

    more = (("Authorization", "Bearer SECRET"), ("Origin", "https://rooms.example:8000"))
    assert await ask(admit, *more, path="/raw/t%65a?x=SECRET") == "ada"
    (request,) = seen
    assert (request.path, request.query) == ("/raw/t%65a", {"x": "SECRET"})
    assert (request.remote, request.secure, request.room) == ("192.0.2.7", True, "tea")
    assert (request.token, request.origin) == ("SECRET", "https://rooms.example:8000")
    assert request.header("host") == "rooms.example:8000"
    assert "SECRET" not in repr(request)


@pytest.mark.parametrize("user", [None, "a", "é" * 128, "two words"])
async def test_a_good_user_is_passed_on(user: str | None) -> None:
    """Any text of 1 to 256 bytes, or nobody."""

    async def admit(_: AdmissionRequest) -> str | None:
        return user

    assert await ask(admit) == user


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "unauthorized"), (403, "forbidden"), (429, "rate_limited"), (499, "refused")],
)
async def test_an_admit_function_refuses_with_the_status_that_it_chooses(
    status: int, code: str
) -> None:
    """Its sentence goes to the client; 401 comes with a challenge."""

    async def admit(_: AdmissionRequest) -> str | None:
        raise AdmissionRefused(status, "not you")

    with pytest.raises(HttpRefusal) as caught:
        await ask(admit)
    refusal = caught.value
    assert (refusal.status, refusal.code, refusal.message) == (status, code, "not you")
    challenge = (("WWW-Authenticate", "Bearer"),) if status == 401 else ()
    assert refusal.headers == challenge


async def test_a_refusal_from_inside_a_nursery_is_a_refusal() -> None:
    """trio wraps it in a group, which is not the client's affair."""

    async def admit(_: AdmissionRequest) -> str | None:
        async with trio.open_nursery(), trio.open_nursery():
            raise AdmissionRefused(401, "not you")

    with pytest.raises(HttpRefusal) as caught:
        await ask(admit)
    assert (caught.value.status, caught.value.message) == (401, "not you")


async def test_an_admit_function_that_takes_too_long_is_cancelled(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """After the deadline the client gets 503, and the log says why."""
    ends: list[float] = []

    async def admit(_: AdmissionRequest) -> str | None:
        try:
            await trio.sleep_forever()
        finally:
            ends.append(trio.current_time())

    start = trio.current_time()
    with pytest.raises(HttpRefusal) as caught:
        await ask(admit)
    assert (caught.value.status, caught.value.code) == (503, "unavailable")
    assert ends == [start + 5]
    assert "more than 5 seconds" in caplog.text


async def nothing_is_told(admit: Admit, caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """A client hears 500 and no more; the one log record is returned."""
    with pytest.raises(HttpRefusal) as caught:
        await ask(admit)
    assert (caught.value.status, caught.value.code) == (500, "internal")
    assert "SECRET" not in caught.value.message
    (record,) = caplog.records
    assert record.name == "roomactors"
    return record


async def test_an_admit_function_that_fails_shows_nothing_to_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The traceback is in the log, the client hears 500."""

    async def admit(_: AdmissionRequest) -> str | None:
        raise KeyError("SECRET")

    record = await nothing_is_told(admit, caplog)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


async def test_the_admit_functions_own_timeout_is_a_failure_like_any_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Only our deadline answers 503."""

    async def admit(_: AdmissionRequest) -> str | None:
        raise trio.TooSlowError

    await nothing_is_told(admit, caplog)


@pytest.mark.parametrize("status", [200, 101, 302, 600, 0])
async def test_a_refusal_with_a_status_that_is_no_error_is_a_failure(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is told 200 who is not let in."""

    async def admit(_: AdmissionRequest) -> str | None:
        raise AdmissionRefused(status, "SECRET")

    await nothing_is_told(admit, caplog)


@pytest.mark.parametrize(
    "user", ["", "x" * 257, "é" * 129, "a\nb", "\x7f", "\ud800", 7, b"ada", True]
)
async def test_a_user_that_cannot_be_one_is_a_failure(
    user: object, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes to other members and into logs is checked where it enters."""

    async def admit(_: AdmissionRequest) -> str | None:
        return cast("str | None", user)

    await nothing_is_told(admit, caplog)


async def test_an_admit_function_that_is_not_async_is_a_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The commonest mistake does not let anyone in."""

    def admit(_: AdmissionRequest) -> str:
        return "ada"

    record = await nothing_is_told(cast("Admit", admit), caplog)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], TypeError)


async def test_cancelling_an_admission_cancels_the_admit_function() -> None:
    """Whoever waits for the answer may give up, and nothing is logged or refused."""
    cancelled: list[bool] = []

    async def admit(_: AdmissionRequest) -> str | None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(True)
            raise

    with trio.CancelScope() as scope:
        scope.cancel()
        await ask(admit)
    assert scope.cancelled_caught
    assert cancelled == [True]
