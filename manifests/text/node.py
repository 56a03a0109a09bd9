"""A value as written, with its position, before aliases are expanded; and the bounds that no manifest may pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manifests.errors import ManifestError, Problem
from manifests.position import Position

MAX_BYTES = 1 << 20
"""Of one file."""
MAX_DEPTH = 32
"""Of nesting, aliases expanded."""
MAX_NODES = 50_000
"""Of one file, aliases expanded; a text counts one more for every 64 characters."""
MAX_ALIASES = 1000
"""Of anchors and aliases in one document."""
MAX_KEY = 128
"""Characters of a key."""
MAX_PATHS = 16 << 20
"""Characters of all paths of one document together."""


@dataclass(slots=True)
class Node:
    """A scalar (`value`), a list (`items`) or a mapping (`members`: key -> where the key stands, value).

    `size` counts its nodes with aliases expanded, `height` its levels.
    """

    position: Position
    value: Any = None
    items: list[Node] | None = None
    members: dict[str, tuple[Position, Node]] | None = None
    size: int = 1
    height: int = 1

    def grow(self, child: Node, key: str = "") -> None:
        """Counts a child."""
        self.size += child.size + weight(key)
        self.height = max(self.height, child.height + 1)


def weight(text: str) -> int:
    """What a text adds to the size of its node."""
    return len(text) // 64


def too_much(position: Position, what: str, limit: int) -> ManifestError:
    """The error of a file that passes a bound."""
    return ManifestError([Problem(position, "", f"at most {limit:,} {what}", "more", "split the manifest, or remove what it repeats")])


def check_bounds(position: Position, size: int, depth: int) -> None:
    """Raises ManifestError when a file has grown past `MAX_NODES` or `MAX_DEPTH`."""
    if size > MAX_NODES:
        raise too_much(position, "values in one file", MAX_NODES)
    if depth > MAX_DEPTH:
        raise too_much(position, "levels of nesting", MAX_DEPTH)


def key_problem(key: str, position: Position, members: dict[str, tuple[Position, Node]]) -> Problem | None:
    """What is wrong with a key that would join these members, if anything."""
    if not 0 < len(key) <= MAX_KEY:
        return Problem(position, "", f"a key of 1 to {MAX_KEY} characters", f"one of {len(key)}")
    if key in members:
        first = members[key][0]
        return Problem(position, "", "every key once", f"`{key}` twice", f"it stands on line {first.line} already")
    return None


def expand(root: Node) -> tuple[Any, dict[str, Position]]:
    """The plain value (dict, list, str, int, float, bool, None; nothing shared), and dotted path -> position.

    A member of a mapping stands where its key stands, an item of a list where it begins. Raises ManifestError when the paths grow
    past `MAX_PATHS`.
    """
    positions: dict[str, Position] = {}
    spent = 0

    def visit(node: Node, path: str, position: Position) -> Any:
        nonlocal spent
        positions[path] = position
        spent += len(path)
        if spent > MAX_PATHS:
            raise too_much(position, "characters of keys on the way to all values", MAX_PATHS)
        prefix = f"{path}." if path else ""
        if node.items is not None:
            return [visit(item, f"{prefix}{index}", item.position) for index, item in enumerate(node.items)]
        if node.members is not None:
            return {key: visit(member, prefix + key, where) for key, (where, member) in node.members.items()}
        return node.value

    return visit(root, "", root.position), positions
