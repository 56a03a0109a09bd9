"""The documents say what is there: fields, operators, tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ops import catalog

HOUSE = Path(__file__).resolve().parents[1]
DOCS = HOUSE / "docs"


def library() -> list[str]:
    """The table of operators as docs/operators.md must show it."""
    rows = []
    for name, kind in catalog.all().items():
        if kind.__module__.startswith("ops."):
            about = catalog.describe(kind)
            does = about.doc.partition("\n")[0].replace("|", "\\|")
            rows.append(f"| `{name}` | {about.kind} | {does} |")
    return ["| operator | kind | does |", "| --- | --- | --- |", *rows]


def test_the_table_of_operators_is_the_library() -> None:
    text = (DOCS / "operators.md").read_text()
    table = text[text.index("## The library") :].splitlines()
    wanted = library()
    assert [line for line in table if line.startswith("|")] == wanted, "the table must be:\n" + "\n".join(wanted)


@pytest.mark.parametrize("kind", ["Model", "Business", "Device"])
def test_every_field_of_a_manifest_is_in_its_reference(kind: str) -> None:
    import manifests

    text = (DOCS / "manifests.md").read_text()
    section = text[text.index(f"## {kind}\n") :]
    section = section[: section.index("\n## ", 1)]
    for name in fields(getattr(manifests, kind)):
        assert f"`{name}`" in section, f"docs/manifests.md does not say what {name} of {kind} is"


def fields(model: object) -> set[str]:
    """Names of all fields of a manifest, nested ones included, as they are written in YAML."""
    schema = model.model_json_schema(by_alias=True)  # type: ignore[attr-defined]
    found = set(schema["properties"])
    for each in schema.get("$defs", {}).values():
        found.update(each.get("properties", {}))
    return found


@pytest.mark.parametrize("document", [*sorted(DOCS.glob("*.md")), HOUSE / "README.md"], ids=lambda path: path.name)
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    for path, name in re.findall(r"`(tests/[\w/.-]+\.py)(?:::(\w+))?`", document.read_text()):
        assert (HOUSE / path).is_file(), f"{document.name} names {path}, which is not there"
        assert not name or f"def {name}(" in (HOUSE / path).read_text(), f"{document.name} names {name} of {path}, which is not there"


@pytest.mark.parametrize("document", [*sorted(DOCS.glob("*.md")), HOUSE / "README.md"], ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name} links to {target}, which is not there"


def test_every_capability_names_a_test() -> None:
    text = (DOCS / "capabilities.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| capability"))]
    assert rows
    for row in rows:
        assert re.search(r"`tests/[\w/.-]+\.py(::\w+)?`", row.rsplit("|", 2)[1]), f"no test proves: {row}"
