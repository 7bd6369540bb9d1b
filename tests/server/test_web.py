"""Plain HTTP: errors, health, and the chat page."""

from __future__ import annotations

from importlib.resources import files

import h11
import msgspec
import pytest

from roomactors.server.head import HttpRefusal
from roomactors.server.web import answer, refusal_response, response
from tests.server.heads import request_of

HOST = {"Host": "rooms.example"}


class Answer:
    """A response as an HTTP client reads it."""

    def __init__(self, raw: bytes, method: str = "GET") -> None:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(raw)
        client.receive_data(b"")
        start = client.next_event()
        assert isinstance(start, h11.Response)
        self.status = start.status_code
        self.reason = start.reason
        self.headers = {name.decode(): value.decode() for name, value in start.headers}
        self.body = b""
        while isinstance(event := client.next_event(), h11.Data):
            self.body += event.data
        assert isinstance(event, h11.EndOfMessage)
        assert client.trailing_data == (b"", True)

    @property
    def json(self) -> object:
        """The body, read as JSON."""
        assert self.headers["content-type"] == "application/json"
        return msgspec.json.decode(self.body)


def answered(start: str, *, ready: bool = True) -> Answer:
    """The answer to a request without an upgrade."""
    request = request_of(f"{start} HTTP/1.1", base=HOST)
    return Answer(answer(request, ready=ready), request.method)


def test_a_response_is_whole_and_ends_its_connection() -> None:
    """Length, type and close are always there."""
    read = Answer(response(200, b"hello", content_type="text/plain", headers=(("X-A", "b"),)))
    assert (read.status, read.reason, read.body) == (200, b"OK", b"hello")
    assert read.headers["content-length"] == "5"
    assert read.headers["content-type"] == "text/plain"
    assert read.headers["connection"] == "close"
    assert read.headers["x-content-type-options"] == "nosniff"
    assert read.headers["x-a"] == "b"


def test_a_refusal_is_json_with_code_and_message() -> None:
    """For a program and for a person, and kept by nobody."""
    read = Answer(refusal_response(HttpRefusal(401, "unauthorized", 'say "who"', (("A", "b"),))))
    assert (read.status, read.reason) == (401, b"Unauthorized")
    assert read.json == {"code": "unauthorized", "message": 'say "who"'}
    assert read.headers["a"] == "b"
    assert read.headers["cache-control"] == "no-store"


def test_a_refusal_with_a_status_or_message_of_the_embedders_own_can_be_sent() -> None:
    """Neither an unknown number nor half of a surrogate pair stops it."""
    read = Answer(refusal_response(HttpRefusal(499, "refused", "\ud800 né\r\n")))
    assert (read.status, read.reason) == (499, b"Refused")
    assert read.json == {"code": "refused", "message": "\\ud800 né\r\n"}


@pytest.mark.parametrize("path", ["/ws", "/raw/tea", "/raw/", "/ws?session=x"])
def test_a_websocket_path_asks_for_an_upgrade(path: str) -> None:
    """426 names the protocol and the version, and Connection names Upgrade."""
    read = answered(f"GET {path}")
    assert (read.status, read.reason) == (426, b"Upgrade Required")
    assert read.headers["upgrade"] == "websocket"
    assert read.headers["sec-websocket-version"] == "13"
    assert read.headers["connection"] == "close, Upgrade"
    assert read.json == {"code": "upgrade_required", "message": "this path speaks WebSocket"}


@pytest.mark.parametrize("path", ["/ws", "/raw/tea"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "get"])
def test_a_websocket_path_takes_get_only(method: str, path: str) -> None:
    """405 says what is allowed."""
    read = answered(f"{method} {path}")
    assert read.status == 405
    assert read.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("path", "ready", "status", "body"),
    [
        ("/healthz", True, 200, {"status": "ok"}),
        ("/healthz", False, 200, {"status": "ok"}),
        ("/readyz", True, 200, {"status": "ready"}),
        ("/readyz", False, 503, {"status": "draining"}),
        ("/healthz?verbose", True, 200, {"status": "ok"}),
    ],
)
def test_health_and_readiness_differ_while_draining(
    path: str, ready: bool, status: int, body: dict[str, str]
) -> None:
    """A draining server is alive, and not to be sent anyone."""
    read = answered(f"GET {path}", ready=ready)
    assert (read.status, read.json) == (status, body)
    assert read.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "name", "content_type"),
    [
        ("/", "chat.html", "text/html; charset=utf-8"),
        ("/chat.css", "chat.css", "text/css; charset=utf-8"),
        ("/chat.js", "chat.js", "text/javascript; charset=utf-8"),
    ],
)
def test_the_chat_page_is_served_with_its_files(path: str, name: str, content_type: str) -> None:
    """Each file as it is in the package, with a policy that lets nothing else run."""
    read = answered(f"GET {path}")
    assert read.status == 200
    assert read.body == files("roomactors.server").joinpath("pages", name).read_bytes()
    assert read.body
    assert read.headers["content-type"] == content_type
    assert read.headers["cache-control"] == "no-cache"
    policy = read.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy


def test_every_file_of_the_page_can_be_had() -> None:
    """A file that is added to the folder has to be added to the list."""
    for file in files("roomactors.server").joinpath("pages").iterdir():
        path = "/" if file.name == "chat.html" else f"/{file.name}"
        assert answered(f"GET {path}").status == 200


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/chat.html", "/pages/chat.css", "/../web.py", "/%2e%2e/web.py", "//", "/ws/"],
)
def test_any_other_path_is_not_found(path: str) -> None:
    """Only names on the list are ever looked for."""
    read = answered(f"GET {path}")
    assert read.status == 404
    assert read.json == {"code": "not_found", "message": "there is nothing at this path"}


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/chat.js"])
@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "head"])
def test_pages_and_health_take_get_and_head_only(method: str, path: str) -> None:
    """405 says what is allowed."""
    read = answered(f"{method} {path}")
    assert read.status == 405
    assert read.headers["allow"] == "GET, HEAD"
    assert read.json == {
        "code": "method_not_allowed",
        "message": "this path takes GET, HEAD only",
    }


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/nowhere", "/ws"])
def test_head_is_answered_without_a_body(path: str) -> None:
    """The headers are those of the answer to HEAD's path, and nothing comes after them."""
    raw = answer(request_of(f"HEAD {path} HTTP/1.1", base=HOST), ready=True)
    read = Answer(raw, "HEAD")
    assert raw.endswith(b"\r\n\r\n")
    assert int(read.headers["content-length"]) > 0
