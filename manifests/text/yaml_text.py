"""YAML, one or more documents, without what makes YAML dangerous: no tags, no merge keys, aliases only within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manifests.errors import ManifestError, Problem, did_you_mean, show
from manifests.position import Position
from manifests.text.node import MAX_ALIASES, Node, check_bounds, key_problem, too_much, weight
from manifests.text.scalar import ScalarError, resolve


def compose(text: str, file: str, problems: list[Problem]) -> Iterator[Node]:
    """The documents, empty ones left out. What can be passed over is added to `problems`. Raises ManifestError for the rest."""
    import yaml

    loader: Any = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader
    size = 0
    try:
        events = yaml.parse(text, Loader=loader)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                composer = Composer(events, file, problems, size)
                root = composer.node(next(events), 1)
                size = composer.size
                if root.value is not None or root.items is not None or root.members is not None:
                    yield root
    except yaml.YAMLError as error:
        raise ManifestError([syntax_problem(error, file, text)]) from None


class Composer:
    """Builds one document from parser events; `size` counts the values of the file so far, aliases expanded."""

    def __init__(self, events: Iterator[Any], file: str, problems: list[Problem], size: int) -> None:
        import yaml

        self.yaml: Any = yaml
        self.events = events
        self.file = file
        self.problems = problems
        self.size = size
        self.anchors: dict[str, Node | None] = {}
        self.aliases = 0

    def node(self, event: Any, depth: int) -> Node:
        """The value that begins with this event."""
        position = self.position(event)
        self.size += 1
        check_bounds(position, self.size, depth)
        if isinstance(event, self.yaml.AliasEvent):
            return self.alias(event.anchor, position, depth)
        if event.anchor is not None:
            self.count_alias(position)
            self.anchors[event.anchor] = None
        if event.tag is not None:
            hint = "remove the tag; text that looks like a number goes in quotes"
            self.problems.append(Problem(position, "", "a value without a tag", f"`{event.tag}`", hint))
        if isinstance(event, self.yaml.ScalarEvent):
            node = self.scalar(event, position)
        elif isinstance(event, self.yaml.SequenceStartEvent):
            node = self.sequence(position, depth)
        else:
            node = self.mapping(position, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def scalar(self, event: Any, position: Position) -> Node:
        extra = weight(event.value)
        self.size += extra
        node = Node(position, event.value, size=1 + extra)
        if event.style is None or event.style == "":
            try:
                node.value = resolve(event.value)
            except ScalarError as error:
                self.problems.append(Problem(position, "", error.expected, show(event.value), error.hint))
        elif any("\ud800" <= character <= "\udfff" for character in event.value):
            self.problems.append(Problem(position, "", "text", "half a surrogate pair", "write the character itself"))
        return node

    def sequence(self, position: Position, depth: int) -> Node:
        node = Node(position, items=[])
        assert node.items is not None
        while not isinstance(event := next(self.events), self.yaml.SequenceEndEvent):
            item = self.node(event, depth + 1)
            node.items.append(item)
            node.grow(item)
        return node

    def mapping(self, position: Position, depth: int) -> Node:
        node = Node(position, members={})
        assert node.members is not None
        while not isinstance(event := next(self.events), self.yaml.MappingEndEvent):
            where = self.position(event)
            key = self.key(event, where, depth)
            member = self.node(next(self.events), depth + 1)
            if key is None:
                continue
            if problem := key_problem(key, where, node.members):
                self.problems.append(problem)
                continue
            node.members[key] = (where, member)
            node.grow(member, key)
        return node

    def key(self, event: Any, position: Position, depth: int) -> str | None:
        """The key, always text as in JSON; None for one that was refused."""
        if not isinstance(event, self.yaml.ScalarEvent):
            self.node(event, depth + 1)
            self.problems.append(Problem(position, "", "a key that is plain text", "a list, mapping or alias"))
            return None
        if event.value == "<<" and not event.style:
            hint = "write the keys out, or give the whole value an anchor"
            self.problems.append(Problem(position, "", "no merge keys", "`<<`", hint))
            return None
        if event.tag is not None or event.anchor is not None:
            self.problems.append(Problem(position, "", "a key without tag or anchor", show(event.tag or f"&{event.anchor}")))
            return None
        self.size += weight(event.value)
        return str(event.value)

    def alias(self, name: str, position: Position, depth: int) -> Node:
        self.count_alias(position)
        if name not in self.anchors:
            hint = did_you_mean(name, self.anchors)
            self.problems.append(Problem(position, "", f"an anchor &{name} before this alias", f"`*{name}`", hint))
            return Node(position)
        node = self.anchors[name]
        if node is None:
            raise ManifestError([Problem(position, "", "an alias of something else", f"`*{name}` inside what it stands for")])
        self.size += node.size - 1
        check_bounds(position, self.size, depth + node.height - 1)
        return node

    def count_alias(self, position: Position) -> None:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise too_much(position, "anchors and aliases", MAX_ALIASES)

    def position(self, event: Any) -> Position:
        return Position(self.file, event.start_mark.line + 1, event.start_mark.column + 1)


def syntax_problem(error: Any, file: str, text: str) -> Problem:
    """What the parser says, at the place it says."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    position = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file)
    said = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "something else")
    context = getattr(error, "context", None)
    line = (text.split("\n")[mark.line :] or [""])[0][mark.column :] if mark else ""
    hint = ""
    if "tab character" in said or ("cannot start any token" in said and line.startswith("\t")):
        hint = "indent with spaces, not with tabs"
    elif "mapping values are not allowed" in said:
        hint = "check the indentation, or put text that contains `: ` in quotes"
    elif "cannot start any token" in said:
        hint = "put the text in quotes"
    return Problem(position, "", "well-formed YAML", "what does not parse: " + said + (f" ({context})" if context else ""), hint)
