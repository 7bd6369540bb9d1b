"""One line that is replaced, and the tests that must notice."""

from __future__ import annotations

import ast
from pathlib import Path

import attrs


class PatchError(Exception):
    """A patch says something about the code that is not so."""


@attrs.frozen(kw_only=True)
class Patch:
    """A way to break a promise by changing one line."""

    promise: str
    """Its name in `PROMISES`."""
    breaks: str
    """What goes wrong with it, in words: "the place of a member that left stays taken"."""
    file: str
    """The file from the top of the checkout: "roomactors/core/roster.py"."""
    old: str
    """The whole line as it is, without its indentation; there is exactly one such line."""
    new: str
    """The line instead, which gets the same indentation; `pass` takes a line away."""
    tests: tuple[str, ...]
    """What pytest calls the tests that fail then, all of them."""
    within: str = ""
    """The function or class to look in, as in "Room.run", where the file has more such lines."""

    def applied_to(self, text: str) -> str:
        """The text of the file with the line replaced.

        Raises:
          PatchError: the line is not there once, or what comes out is no Python.
        """
        lines = text.splitlines(keepends=True)
        first, last = self._range(text)
        places = [index for index in range(first, last) if lines[index].strip() == self.old.strip()]
        if len(places) != 1:
            where = f"{self.file}, {self.within}" if self.within else self.file
            raise PatchError(f"{where}: {len(places)} lines are {self.old.strip()!r}, not one")
        line = lines[places[0]]
        indentation = line[: len(line) - len(line.lstrip())]
        lines[places[0]] = f"{indentation}{self.new.strip()}\n"
        patched = "".join(lines)
        if ast.dump(_parsed(patched, self)) == ast.dump(ast.parse(text)):
            raise PatchError(f"{self.file}: {self.new.strip()!r} means the same as the old line")
        return patched

    def check(self, root: Path) -> None:
        """See that the patch and its tests are about what is there.

        Raises:
          PatchError: the line, or a test, is not there.
        """
        self.applied_to((root / self.file).read_text(encoding="utf-8"))
        if not self.tests:
            raise PatchError(f"{self.file}: {self.old.strip()!r} names no test")
        for test in self.tests:
            path, _, name = test.partition("::")
            function = name.partition("[")[0].rpartition("::")[2]
            file = root / path
            if not file.is_file() or f"def {function}(" not in file.read_text(encoding="utf-8"):
                raise PatchError(f"there is no test {test}")

    def _range(self, text: str) -> tuple[int, int]:
        """The lines to look in, as a half-open range counted from 0."""
        if not self.within:
            return 0, len(text.splitlines())
        body: list[ast.stmt] = ast.parse(text).body
        found: ast.stmt | None = None
        for name in self.within.split("."):
            found = next((node for node in body if getattr(node, "name", None) == name), None)
            if not isinstance(found, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                raise PatchError(f"{self.file}: there is no {self.within}")
            body = found.body
        assert found is not None
        assert found.end_lineno is not None
        return found.lineno - 1, found.end_lineno


def _parsed(patched: str, patch: Patch) -> ast.Module:
    try:
        return ast.parse(patched)
    except SyntaxError as error:
        # Any test fails on a module that does not even load: that would prove nothing.
        raise PatchError(f"{patch.file}: {patch.new.strip()!r} is no Python there") from error
