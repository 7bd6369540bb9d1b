"""Two people in front of browsers; starting those is what takes time, so all tests share them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pages.browser import Person


@pytest.fixture(scope="session")
def ada() -> Iterator[Person]:
    """A person with a wide window."""
    with Person() as person:
        yield person


@pytest.fixture(scope="session")
def grace() -> Iterator[Person]:
    """A person with the narrowest window that the page is made for."""
    with Person(width=320, height=640) as person:
        yield person
