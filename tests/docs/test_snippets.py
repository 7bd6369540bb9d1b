"""What the pages show is true: programs run, commands parse, links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import types
from pathlib import Path

import pytest
import trio

import roomactors
import roomactors.testing
from roomactors import cli
from tests.docs.pages import ROOT, Snippet, anchors, links, name_of, pages, prose, snippets

ALL = [snippet for page in pages() for snippet in snippets(page)]
REFERENCE = ("python.md", "statistics.md", "errors.md", "testing.md")
PATIENCE = 60.0
"""Seconds for a page's programs, on a machine that is busy."""
# Where somebody else writes the page, its programs are tested with it.
ELSEWHERE = {"docs/howto/replace-a-connection-manager.md", "docs/howto/test-your-rooms.md"}


def label(snippet: Snippet) -> str:
    return f"{snippet.page}:{snippet.line}"


@pytest.mark.parametrize("snippet", [snippet for snippet in ALL if snippet.source], ids=label)
def test_an_included_snippet_is_part_of_its_file(snippet: Snippet) -> None:
    """Word for word; so it is tested where the file is."""
    assert snippet.source is not None
    assert snippet.text in (ROOT / snippet.source).read_text()


@pytest.mark.parametrize(
    "page",
    [
        page
        for page in pages()
        if name_of(page) not in ELSEWHERE
        and any(one.language == "python" and not one.source for one in snippets(page))
    ],
    ids=name_of,
)
async def test_the_programs_of_a_page_run(page: Path) -> None:
    """All that are no part of an example: top to bottom, with what was named before."""
    async with roomactors.open_hub() as hub, trio.open_nursery() as nursery:
        names = {
            "hub": hub,
            "nursery": nursery,
            "roomactors": roomactors,
            "trio": trio,
            "__name__": "snippets",
        }
        with trio.fail_after(PATIENCE):
            for snippet in snippets(page):
                if snippet.language == "python" and not snippet.source:
                    await run(snippet, names)
        nursery.cancel_scope.cancel()


async def run(snippet: Snippet, names: dict[str, object]) -> None:
    """Run a snippet, which may use `await` as if it stood in an async function."""
    code = compile(
        "\n" * snippet.line + snippet.text,
        str(ROOT / snippet.page),
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
    )
    result = eval(code, names)
    if inspect.isawaitable(result):
        await result


COMMANDS = [
    (snippet.page, line.removeprefix("$ ").partition(" #")[0].strip())
    for snippet in ALL
    if snippet.language in {"sh", "console"}
    for line in snippet.text.replace("\\\n", "").splitlines()
    if re.match(r"(\$ )?(python -m )?roomactors (?!--version)", line)
]


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_of_a_page_is_understood(page: str, command: str) -> None:
    """By the parser of the command line, which would refuse an option that is gone."""
    words = shlex.split(command.removeprefix("python -m "))
    options = cli._parser().parse_args([word for word in words[1:] if word != "&"])
    assert callable(options.run)


def test_there_are_commands_to_be_understood() -> None:
    """The test above must not pass because it found none."""
    assert {page for page, _ in COMMANDS} >= {"README.md", "docs/tutorial/first-room.md"}


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    """To a file that exists, and to a heading in it."""
    for target in links(page):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_a_page_has_one_sentence_a_line(page: Path) -> None:
    """So that a change of a sentence is a change of a line."""
    for line in prose(page).splitlines():
        if not line.startswith(("|", "<!--", "#", "    ")):
            ends = re.findall(r"(?<!\d)[.?!] (?=[A-Z`\[*])", line)
            assert not ends, line


# Names


def public_names() -> set[str]:
    """What `roomactors` and its public sub-packages offer."""
    names = set()
    for module in (roomactors, roomactors.testing):
        prefix = module.__name__
        for name, value in vars(module).items():
            if not name.startswith("_") and not isinstance(value, types.ModuleType):
                names.add(f"{prefix}.{name}")
    return names


def test_the_reference_lists_the_public_names_and_no_others() -> None:
    """A name is public if it has a heading there, and has one if it is public."""
    listed = [name for page in REFERENCE for name in sections(page)]
    assert sorted(listed) == sorted(public_names())
    table = re.findall(
        r"^\| \[`(roomactors\.\w+)`\]",
        (ROOT / "docs/reference/python.md").read_text(),
        re.MULTILINE,
    )
    assert set(table) == {name for name in listed if not name.startswith("roomactors.testing.")}


@pytest.mark.parametrize("page", REFERENCE)
def test_the_reference_lists_what_public_classes_offer(page: str) -> None:
    """Each public method and field of a class is named in its section."""
    for name, section in sections(page).items():
        module, _, attribute = name.rpartition(".")
        value = getattr(importlib.import_module(module), attribute)
        if not inspect.isclass(value):
            continue
        for member in vars(value):
            if member.startswith("_") or (name, member) in NOT_FOR_PROGRAMS:
                continue
            assert re.search(rf"`[^`]*\b{member}\b[^`]*`", section), (name, member)


def sections(page: str) -> dict[str, str]:
    """The text under each name that has a heading on a page of the reference."""
    text = (ROOT / "docs/reference" / page).read_text()
    parts = re.split(r"^### (roomactors\.[\w.]+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


NOT_FOR_PROGRAMS = {
    ("roomactors.Hub", "keeper"),
    ("roomactors.Hub", "freeze_data"),
    ("roomactors.Hub", "freeze_info"),
    ("roomactors.Hub", "send"),
    ("roomactors.Hub", "members_of"),
    ("roomactors.Hub", "room_statistics"),
    ("roomactors.Server", "run"),
    ("roomactors.Server", "take"),
    ("roomactors.Message", "payload"),
    ("roomactors.Message", "data_size"),
    ("roomactors.MemberJoined", "info_payload"),
    ("roomactors.MemberJoined", "excluded"),
    ("roomactors.MemberJoined", "data_size"),
    ("roomactors.MemberLeft", "excluded"),
    ("roomactors.MemberLeft", "data_size"),
    ("roomactors.MemberInfo", "info_payload"),
    ("roomactors.MemberInfo", "excluded"),
    ("roomactors.MemberInfo", "data_size"),
    ("roomactors.MemberView", "info_payload"),
    ("roomactors.testing.Client", "open"),
}
"""What other parts of the package need of these classes, and programs do not."""
