"""The imports of the package point inward; this reads them and knows the arrows.

`complaints` looks at the source of one module at a time, so that each rule
can also be shown at work on a small made-up module that breaks it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "roomactors"

INNERMOST = frozenset({"errors"})
INNER = INNERMOST | {"core", "protocol"}
NETWORK = INNER | {"server", "cluster", "storage", "library", "manager"}

# What each part of the package may import of the others. "" is the package
# itself, which re-exports the public names: only what is outermost may use them
# from there, since importing it imports everything.
MAY_IMPORT = {
    "errors": frozenset[str](),
    "core": INNERMOST,
    "protocol": INNERMOST | {"core"},
    "server": INNER | {"library"},
    "cluster": INNER,
    "storage": INNER,
    "library": INNER,
    "manager": INNER,
    "client": NETWORK,
    "testing": NETWORK | {"client"},
    "http": NETWORK | {"client", "testing"},
    "": NETWORK | {"client"},
    "terminal": NETWORK | {"client"},
    "cli": NETWORK | {"", "client", "testing", "http", "terminal"},
    "__main__": frozenset({"cli"}),
}

# Core knows nothing of sockets, HTTP or JSON, and of other projects only these.
CORE_LIBRARIES = frozenset({"attrs", "trio"})
NOT_IN_CORE = frozenset({"http", "json", "select", "selectors", "socket", "ssl"})

# These do no I/O and wait for nothing: by prefix, what may not be imported there.
PURE = frozenset({"select", "selectors", "socket", "ssl", "trio", "trio_websocket"})
PURE_MODULES = (
    "roomactors.core.log",
    "roomactors.core.roster",
    "roomactors.protocol",
    "roomactors.server.frames",
)

HANDSHAKE = "roomactors.server.handshake"
PUBLIC_NAMES_ONLY = frozenset({"trio", "trio_websocket"})


@attrs.frozen
class Module:
    """A module as it is imported, and its text."""

    name: str
    source: str
    is_package: bool = False


def modules() -> Iterator[Module]:
    """Every module of the package."""
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        yield Module(name, path.read_text(encoding="utf-8"), is_package)


def part_of(module: str) -> str:
    """The part of the package that a module belongs to; "" for the package itself."""
    return [*module.split("."), ""][1]


def imported(module: Module) -> Iterator[str]:
    """What a module imports, with the name that is taken from it: `trio.abc.Stream`.

    Imports for the type checker alone count: an arrow in a type is an arrow.
    """
    here = module.name.split(".")
    if not module.is_package:
        here = here[:-1]
    for node in ast.walk(ast.parse(module.source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                above = here[: len(here) - level + 1] if level else []
                base = ".".join([*above, *([source] if source else [])])
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called),
                args=[ast.Constant(value=str(name)), *_],
            ) if called in {"import_module", "__import__"}:
                yield name


def private_names(module: Module) -> Iterator[str]:
    """The private names of trio and trio-websocket that a module uses."""

    def is_private(dotted: str) -> bool:
        parts = dotted.split(".")
        return parts[0] in PUBLIC_NAMES_ONLY and any(
            part.startswith("_") and not part.endswith("__") for part in parts
        )

    yield from filter(is_private, imported(module))
    stands_for = {}
    tree = ast.parse(module.source)
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    top = alias.name.partition(".")[0]
                    stands_for[alias.asname or top] = alias.name if alias.asname else top
            case ast.ImportFrom(module=str(source), names=names, level=0):
                for alias in names:
                    stands_for[alias.asname or alias.name] = f"{source}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, dot, rest = ast.unparse(node).partition(".")
            dotted = stands_for.get(first, "") + dot + rest
            if is_private(dotted):
                yield dotted


def arrows(module: Module) -> Iterator[tuple[str, str]]:
    """The parts of the package that a module imports, each with the import that says so."""
    for name in imported(module):
        if name.partition(".")[0] == PACKAGE:
            target = part_of(name)
            # `from roomactors import open_hub` names the package itself.
            yield (target if target in MAY_IMPORT else ""), name


def complaints(module: Module) -> list[str]:
    """What is wrong with a module's imports, as one sentence each."""
    found = []
    part = part_of(module.name)
    if part not in MAY_IMPORT:
        return [f"{module.name} is in no layer; give {part!r} its place in MAY_IMPORT"]
    for target, name in arrows(module):
        if target != part and target not in MAY_IMPORT[part]:
            found.append(f"{module.name} imports {name}, which is not further in")
    libraries = {name.partition(".")[0] for name in imported(module)} - {PACKAGE}
    if part == "core":
        found += [
            f"{module.name} imports {library}, which core must not know"
            for library in sorted(libraries)
            if library in NOT_IN_CORE or library not in sys.stdlib_module_names | CORE_LIBRARIES
        ]
    if f"{module.name}.".startswith(tuple(f"{pure}." for pure in PURE_MODULES)):
        found += [
            f"{module.name} imports {library}, and should do no I/O and wait for nothing"
            for library in sorted(libraries & PURE)
        ]
    if "trio_websocket" in libraries and module.name != HANDSHAKE:
        found.append(f"{module.name} imports trio_websocket; only {HANDSHAKE} may")
    found += [f"{module.name} uses {name}, a private name" for name in private_names(module)]
    return found


def test_imports_point_inward() -> None:
    """No module of the package breaks a rule."""
    assert [complaint for module in modules() for complaint in complaints(module)] == []


def test_one_module_imports_trio_websocket() -> None:
    """The workarounds that trio-websocket needs have one place."""
    importers = [
        module.name
        for module in modules()
        if any(name.partition(".")[0] == "trio_websocket" for name in imported(module))
    ]
    assert importers == [HANDSHAKE]


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        ("errors", "import roomactors.core", "imports roomactors.core,"),
        (
            "core.room",
            "from roomactors.protocol import codec",
            "imports roomactors.protocol.codec,",
        ),
        ("core.room", "from roomactors import protocol", "imports roomactors.protocol,"),
        ("core.room", "from ..protocol import codec", "imports roomactors.protocol.codec,"),
        ("core.room", "from .. import protocol", "imports roomactors.protocol,"),
        ("core.room", "from roomactors import open_hub", "imports roomactors.open_hub,"),
        ("core.room", "def late():\n    import roomactors.server", "imports roomactors.server,"),
        (
            "core.room",
            "if TYPE_CHECKING:\n    from roomactors.server import config",
            "imports roomactors.server.config,",
        ),
        (
            "core.room",
            "importlib.import_module('roomactors.server')",
            "imports roomactors.server,",
        ),
        ("protocol.codec", "from roomactors.server import frames", "roomactors.server.frames,"),
        ("server.listen", "import roomactors.client", "imports roomactors.client,"),
        ("server.listen", "import roomactors.storage", "imports roomactors.storage,"),
        ("manager", "from roomactors.server.listen import x", "roomactors.server.listen.x,"),
        ("library", "from roomactors.server.listen import x", "roomactors.server.listen.x,"),
        ("client", "from roomactors.testing import x", "imports roomactors.testing.x,"),
        ("testing.network", "import roomactors.http", "imports roomactors.http,"),
        ("terminal", "import roomactors.cli", "imports roomactors.cli,"),
        ("http.api", "import roomactors.cli", "imports roomactors.cli,"),
        ("http.api", "import roomactors", "imports roomactors,"),
        ("__main__", "from roomactors.server import listen", "imports roomactors.server.listen,"),
        ("elsewhere", "", "'elsewhere' its place"),
        ("core.room", "import socket", "imports socket, which core must not know"),
        ("core.room", "import http.client", "imports http, which core must not know"),
        ("core.room", "from json import dumps", "imports json, which core must not know"),
        ("core.room", "import msgspec", "imports msgspec, which core must not know"),
        ("core.log", "import trio", "imports trio, and should do no I/O"),
        ("protocol.codec", "from trio import abc", "imports trio, and should do no I/O"),
        ("server.frames", "import socket", "imports socket, and should do no I/O"),
        ("server.listen", "import trio_websocket", "only roomactors.server.handshake may"),
        ("client", "from trio_websocket import x", "only roomactors.server.handshake may"),
        ("server.listen", "from trio._core import x", "uses trio._core.x, a private name"),
        ("server.listen", "from trio import _core", "uses trio._core, a private name"),
        ("server.listen", "import trio\ntrio._core.x()", "uses trio._core.x, a private name"),
        ("server.listen", "import trio as t\nt.lowlevel._x", "uses trio.lowlevel._x, a private"),
        ("server.listen", "from trio import Path as P\nP._wrap", "uses trio.Path._wrap, a private"),
        (
            "server.handshake",
            "import trio_websocket\ntrio_websocket._impl",
            "uses trio_websocket._impl, a private name",
        ),
    ],
)
def test_a_wrong_import_is_found(name: str, source: str, complaint: str) -> None:
    """A made-up module that breaks one rule is told which."""
    assert complaint in "\n".join(complaints(Module(f"{PACKAGE}.{name}", source)))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("core.room", "import math, trio, attrs, trio.abc\nfrom roomactors.errors import X"),
        ("core.room", "from roomactors.core.log import Log"),
        ("protocol.codec", "import json, msgspec\nfrom roomactors.core import events"),
        ("server.handshake", "import trio, trio_websocket\ntrio.__version__"),
        ("client", "from roomactors.server import handshake"),
        ("server.listen", "from roomactors.library import open_hub"),
        ("cli", "from roomactors import serve\nimport roomactors.testing, roomactors.terminal"),
        ("__main__", "from roomactors.cli import main"),
    ],
)
def test_a_right_import_is_left_alone(name: str, source: str) -> None:
    """A made-up module that keeps to the rules is not complained about."""
    assert complaints(Module(f"{PACKAGE}.{name}", source)) == []


def test_a_package_s_relative_imports_start_in_it() -> None:
    """`from . import x` in a package's own file means its neighbour inside."""
    package = Module("roomactors.core", "from . import log\nfrom .. import cli", is_package=True)
    assert complaints(package) == [
        "roomactors.core imports roomactors.cli, which is not further in"
    ]
