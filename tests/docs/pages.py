"""The pages that people read, taken apart: snippets, links, headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

import attrs

ROOT: Final = Path(__file__).parents[2]

_FENCE: Final = re.compile(
    r"(?:^<!-- included from (?P<source>\S+) -->\n)?"
    r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_LINK: Final = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)


@final
@attrs.frozen(kw_only=True)
class Snippet:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str
    source: str | None
    """The file that it is a part of; None if it stands for itself."""


def pages() -> list[Path]:
    """README, changelog and all of docs."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    """A page's path as people write it."""
    return page.relative_to(ROOT).as_posix()


def snippets(page: Path) -> list[Snippet]:
    """The fenced blocks of a page, from top to bottom."""
    text = page.read_text()
    return [
        Snippet(
            page=name_of(page),
            line=text.count("\n", 0, found.start("text")),
            language=found["language"],
            text=found["text"],
            source=found["source"],
        )
        for found in _FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def links(page: Path) -> Iterator[str]:
    """Where a page leads, outside its fenced blocks."""
    for found in _LINK.finditer(prose(page)):
        yield found["target"]


def anchors(page: Path) -> set[str]:
    """What may stand behind ``#`` in a link to a page, as GitHub makes it of the headings."""
    return {_anchor(found["text"]) for found in _HEADING.finditer(prose(page))}


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
