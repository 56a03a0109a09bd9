"""Older forms of manifests, brought up to date in memory: one step for every version that was ever written.

A step is a function that changes a plain document in place; it meets documents that nobody has validated yet, and leaves alone what
it does not understand, so that validation can name it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from manifests.document import Document
from manifests.errors import Problem, did_you_mean, nearest, one_of, show
from manifests.schema.common import API_VERSION

Step = Callable[[Document], None]
STEPS: dict[str, tuple[str, Step]] = {}
"""from -> (to, how)."""


def step(before: str, after: str) -> Callable[[Step], Step]:
    """Registers the way from one version to the next."""

    def register(function: Step) -> Step:
        if before in STEPS:
            raise ValueError(f"expected one step from {before}, got a second one to {after}")
        STEPS[before] = (after, function)
        return function

    return register


def migrate(document: Document) -> Problem | None:
    """Brings the document to the current apiVersion, in place; what is wrong with its version, if anything."""
    if not isinstance(document.value, dict):
        return document.problem("", "a mapping that begins with `apiVersion` and `kind`", show(document.value))
    while (version := document.value.get("apiVersion")) != API_VERSION:
        if not isinstance(version, str) or version not in STEPS:
            return unknown(document, version)
        after, change = STEPS[version]
        change(document)
        document.value["apiVersion"] = after
    return None


def unknown(document: Document, version: object) -> Problem:
    """Why a version cannot be read."""
    known = [API_VERSION, *STEPS]
    if "apiVersion" not in document.value:
        written = nearest("apiVersion", document.value)
        hint = f"write `{written}` as `apiVersion`" if written else "is this a manifest?"
        return document.problem("apiVersion", f"`apiVersion: {API_VERSION}`", "no such key", hint)
    newer = isinstance(version, str) and re.fullmatch(r"ace/v[1-9][0-9]*([a-z]+[0-9]*)?", version) and version not in known
    hint = f"written for a newer ACE; update, or write it as {API_VERSION}" if newer else did_you_mean(str(version), known)
    return document.problem("apiVersion", one_of(known), show(version), hint)


@step("ace/v1alpha1", "ace/v1")
def graph_was_called_nodes(document: Document) -> None:
    """In v1alpha1 a Business's `graph` was called `nodes`, and what a node reads `inputs`."""
    if document.value.get("kind") != "Business":
        return
    document.rename("", "nodes", "graph")
    graph = document.value.get("graph")
    for name in list(graph) if isinstance(graph, dict) else ():
        if "." not in name:
            document.rename(f"graph.{name}", "inputs", "in")
