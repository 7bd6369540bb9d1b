"""The page about performance says what was measured."""

import json

from tests.benchmarks.page import IMAGES, PAGE, made_of
from tests.benchmarks.report import FILE


def test_the_page_is_as_the_measurements_say() -> None:
    """Who measures again, or changes the words around it, makes the page again."""
    assert PAGE.read_text() == made_of(json.loads((IMAGES / FILE).read_text()))


def test_every_picture_on_the_page_is_there() -> None:
    """A scenario is drawn when it is measured."""
    scenarios = json.loads((IMAGES / FILE).read_text())
    assert [name for name in scenarios if not (IMAGES / f"bench-{name}.svg").exists()] == []


def test_a_missed_target_is_said() -> None:
    """Nobody has to compare numbers to see it."""
    claim = {
        "text": "messages",
        "unit": "x",
        "median": 3.5,
        "values": [3.0, 3.5, 4.5],
        "better": "at least",
        "target": 4,
        "met": False,
    }
    origin = {
        "machine": {"processor": "P", "cores": 2},
        "versions": {"python": "CPython 3", "trio": "0"},
        "date": "today",
        "repetitions": 3,
        "others_percent": 1.0,
        "command": "python -m tests.benchmarks",
    }
    page = made_of({"pairs": {"title": "Pairs", "claims": [claim], "origin": origin}})
    assert "| messages | 3.5 x | 3 x | 4.5 x | at least 4 x | **missed** |" in page
