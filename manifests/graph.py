"""The references inside one business: every name leads somewhere, every part is used, nothing goes round in a circle."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from manifests.document import Document
from manifests.errors import Problem, did_you_mean, one_of, show
from manifests.schema.business import Business


def check_graph(business: Business, document: Document) -> list[Problem]:
    """What is wrong with the references of a business."""
    problems = [
        document.problem(f"graph.{name}", "a node named unlike every input", show(name), "rename one of the two")
        for name in business.graph
        if name in business.inputs
    ]
    for name, node in business.graph.items():
        for port, reference in node.inputs.items():
            problems += check_reference(f"graph.{name}.in.{port}", reference, business, document, inputs=True)
        if node.model is not None and node.model not in business.models:
            hint = did_you_mean(node.model, business.models) or f"add it to `models`: {{{node.model}: NAME@^1}}"
            problems.append(document.problem(f"graph.{name}.model", one_of(business.models), show(node.model), hint))
    for name, reference in business.outputs.items():
        problems += check_reference(f"outputs.{name}", reference, business, document, inputs=False)
    problems += check_tunable(business, document)
    if problems:
        return problems
    return check_cycles(business, document) or check_unused(business, document)


def head(reference: str) -> str:
    """The input or node that a reference names."""
    return reference.partition(".")[0]


def check_reference(path: str, reference: str, business: Business, document: Document, *, inputs: bool) -> list[Problem]:
    """`camera` (where inputs may be named), `boxes` or `boxes.detections`."""
    name, dot, port = reference.partition(".")
    names = [*(business.inputs if inputs else ()), *business.graph]
    if name in business.inputs and inputs:
        return [document.problem(path, f"`{name}`: an input has no ports", show(reference))] if dot else []
    if name in business.inputs and name not in business.graph:
        hint = "an output is what a node makes of an input"
        return [document.problem(path, f"a node: {one_of(names)}", f"the input {show(reference)}", hint)]
    if name not in business.graph:
        hint = did_you_mean(name, names) or (f"if it is a port, name its node too: `NODE.{name}`" if name and not dot else "")
        return [document.problem(path, one_of(names), show(reference), hint)]
    if dot and (not port or "." in port):
        return [document.problem(path, "`node` or `node.port`", show(reference))]
    return []


def check_tunable(business: Business, document: Document) -> list[Problem]:
    """Keys of `tunable` are `node.key` of nodes that are there."""
    problems = []
    for key in business.tunable:
        node, _, rest = key.partition(".")
        if node not in business.graph:
            hint = did_you_mean(node, business.graph)
            problems.append(document.problem(f"tunable.{key}", f"`node.key` of {one_of(business.graph)}", show(key), hint))
        elif not all(rest.split(".")):
            problems.append(document.problem(f"tunable.{key}", "`node.key`", show(key), f"such as `{node}.score`"))
    return problems


def check_cycles(business: Business, document: Document) -> list[Problem]:
    """Each circle once, as `a -> b -> a` in the direction in which frames would flow."""
    problems = []
    graph = {name: {head(reference) for reference in node.inputs.values()} for name, node in business.graph.items()}
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            cycle = error.args[1]
            path = f"graph.{cycle[-1]}.in"
            problems.append(document.problem(path, "a graph without cycles", " -> ".join(cycle), "frames flow one way only"))
            graph = {name: reads - set(cycle) for name, reads in graph.items() if name not in cycle}
        else:
            return problems


def check_unused(business: Business, document: Document) -> list[Problem]:
    """Inputs, models and nodes that have no effect."""
    read = {head(reference) for node in business.graph.values() for reference in node.inputs.values()}
    kept = {head(reference) for reference in business.outputs.values()}
    models = {node.model for node in business.graph.values()}
    unread = [
        *((f"inputs.{name}", "input", "that a node reads", "one that nothing reads") for name in business.inputs if name not in read),
        *((f"models.{name}", "model", "that a node uses", "one that nothing uses") for name in business.models if name not in models),
        *(
            (f"graph.{name}", "node", "that an output or another node reads", "one that nothing reads")
            for name in business.graph
            if name not in read | kept
        ),
    ]
    return [
        document.problem(path, f"a{'n' if what[0] in 'aeiou' else ''} {what} {expected}", got, "use it or remove it")
        for path, what, expected, got in unread
    ]
