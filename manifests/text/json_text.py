"""JSON (RFC 8259), one document, with the position of every value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]

from manifests.errors import ManifestError, Problem, show
from manifests.position import Position
from manifests.text.node import Node, check_bounds, key_problem, weight
from manifests.text.scalar import ScalarError, integer, real

SPACE = re.compile(r"[ \t\r\n]*")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
WORDS = {"true": True, "false": False, "null": None}


def compose(text: str, file: str, problems: list[Problem]) -> Iterator[Node]:
    """The document. What can be passed over is added to `problems`. Raises ManifestError for the rest."""
    yield Composer(text, file, problems).document()


class Composer:
    """Recursive descent over the text; `at` is the next character."""

    def __init__(self, text: str, file: str, problems: list[Problem]) -> None:
        self.text, self.file, self.problems = text, file, problems
        self.at = 0
        self.size = 0
        self.line, self.line_start = 1, 0

    def document(self) -> Node:
        root = self.node(1)
        self.skip()
        if self.at < len(self.text):
            raise self.wrong("the end of the file after one value")
        return root

    def node(self, depth: int) -> Node:
        self.skip()
        position = self.position()
        self.size += 1
        check_bounds(position, self.size, depth)
        match self.text[self.at : self.at + 1]:
            case "{":
                return self.mapping(position, depth)
            case "[":
                return self.sequence(position, depth)
            case '"':
                value = self.string()
                self.size += weight(value)
                return Node(position, value, size=1 + weight(value))
        for word, constant in WORDS.items():
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return Node(position, constant)
        if number := NUMBER.match(self.text, self.at):
            self.at = number.end()
            return Node(position, self.number(number, position))
        raise self.wrong("a JSON value")

    def number(self, match: re.Match[str], position: Position) -> int | float:
        try:
            return real(match[0]) if match[1] or match[2] else integer(match[0])
        except ScalarError as error:
            self.problems.append(Problem(position, "", error.expected, show(match[0]), error.hint))
            return 0

    def sequence(self, position: Position, depth: int) -> Node:
        node = Node(position, items=[])
        assert node.items is not None
        if self.opens_empty("]"):
            return node
        while True:
            item = self.node(depth + 1)
            node.items.append(item)
            node.grow(item)
            if self.closes("]"):
                return node

    def mapping(self, position: Position, depth: int) -> Node:
        node = Node(position, members={})
        assert node.members is not None
        if self.opens_empty("}"):
            return node
        while True:
            self.skip()
            where = self.position()
            if not self.text.startswith('"', self.at):
                raise self.wrong("a key in double quotes")
            key = self.string()
            self.size += weight(key)
            self.skip()
            self.take(":", "`:` after the key")
            member = self.node(depth + 1)
            if problem := key_problem(key, where, node.members):
                self.problems.append(problem)
            else:
                node.members[key] = (where, member)
                node.grow(member, key)
            if self.closes("}"):
                return node

    def opens_empty(self, end: str) -> bool:
        self.at += 1
        self.skip()
        if self.text.startswith(end, self.at):
            self.at += 1
            return True
        return False

    def closes(self, end: str) -> bool:
        """Takes a comma or the end of a collection; True for the end."""
        self.skip()
        if self.text.startswith(end, self.at):
            self.at += 1
            return True
        self.take(",", f"`,` or `{end}`")
        return False

    def take(self, character: str, expected: str) -> None:
        if not self.text.startswith(character, self.at):
            raise self.wrong(expected)
        self.at += 1

    def string(self) -> str:
        position = self.position()
        try:
            value: str
            value, self.at = scanstring(self.text, self.at + 1)
        except JSONDecodeError as error:
            raise ManifestError([Problem(position, "", "text in double quotes", error.msg)]) from None
        if any("\ud800" <= character <= "\udfff" for character in value):
            self.problems.append(Problem(position, "", "text", "half a surrogate pair", "write the character itself"))
        return value

    def skip(self) -> None:
        match = SPACE.match(self.text, self.at)
        assert match is not None
        if lines := self.text.count("\n", self.at, match.end()):
            self.line += lines
            self.line_start = self.text.rindex("\n", self.at, match.end()) + 1
        self.at = match.end()

    def position(self) -> Position:
        return Position(self.file, self.line, self.at - self.line_start + 1)

    def wrong(self, expected: str) -> ManifestError:
        got = f"`{self.text[self.at]}`" if self.at < len(self.text) else "the end of the file"
        return ManifestError([Problem(self.position(), "", expected, got)])
