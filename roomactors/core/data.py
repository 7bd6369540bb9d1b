"""A value as immutable bytes: checked once where it enters, then only copied."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable


class Data(bytes):
    """A value in the form in which it travels.

    The core never looks inside. Whoever made it (a codec, or the library's
    own `freeze`) has checked it; encoding it again cannot fail.
    """

    __slots__ = ()

    @abstractmethod
    def value(self) -> object:
        """A fresh Python value, shared with nobody."""


Freeze = Callable[[object], Data]
"""Checks a Python value and makes `Data` of it; raises `InvalidDataError`."""
