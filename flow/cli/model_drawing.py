"""A model as a drawing: its nodes as the file has them, the steps they became, and the memory that these take while they run."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from flow.plan.drawing import STYLE

if TYPE_CHECKING:
    from devices.native.describe import Compiled
    from flow.cli.graphs import GraphNode, Graphs

ROW, HEAD, MARGIN = 19, 92, 28
LEFT, RIGHT, BETWEEN = 330, 470, 130
MAP, MAP_HEIGHT = 620, 420
LETTER = 6.1
PALETTE = {"conv": "#e07b24", "dense": "#c2577e", "move": "#7a8896", "quantize": "#8b5cd6", "pool": "#0f9d8a", "other": "#3b82d0"}
KINDS = (
    ("conv", ("conv",)), ("dense", ("gemm", "matmul", "dense")), ("quantize", ("quantize", "table", "flipsign")),
    ("pool", ("pool", "reduce", "mean", "resize", "softmax")),
    ("move", ("transpose", "reshape", "view", "concat", "slice", "pad", "split", "gather", "flatten", "reorder")),
)  # fmt: skip


def drawing(found: Graphs) -> str:
    """The model as SVG text: compiled by native where that covers it, else by the engine that runs it."""
    from flow.cli.graphs import NATIVE, TITLES, kernels, steps, summary

    name = f"{found.model.name}@{found.model.version}"
    facts = summary(found.native) if found.native is not None else [f"native lacks {', '.join(found.missing)}"]
    draws_memory = found.native is not None and bool(found.native.buffers)
    compiler, after = (found.engine, found.after) if found.native is None else (NATIVE, steps(found.native))
    rows = max(len(found.before), len(after))
    width = 2 * MARGIN + LEFT + BETWEEN + RIGHT + (MAP + 60 if draws_memory else 0)
    top = HEAD + 15 * len(facts)
    height = max(top + ROW * rows, top + MAP_HEIGHT + 60 if draws_memory else 0) + MARGIN
    place = {node["name"]: number for number, node in enumerate(found.before)}
    right = MARGIN + LEFT + BETWEEN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(name)}</title><style>{STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        _text(MARGIN, 28, f"{name} runs on {found.engine}", "h1"),
        _text(MARGIN, 47, found.why, "soft"),
        *(_text(MARGIN, 66 + 15 * number, line.strip(), "soft") for number, line in enumerate(facts)),
        _text(MARGIN, top - 8, f"{found.model.path.name}: {len(found.before)} nodes", "h2"),
        _text(right, top - 8, f"compiled by {TITLES.get(compiler, compiler)}: {len(after)} steps", "h2"),
    ]
    for number, node in enumerate(after):
        if (source := place.get(node["name"])) is not None:
            y, end = top + ROW * source + 8, top + ROW * number + 8
            x, stop = MARGIN + LEFT + 2, right - 2
            parts.append(f'<path class="wire" d="M{x} {y}C{x + 60} {y} {stop - 60} {end} {stop} {end}"/>')
    parts += _column(found.before, MARGIN, top, LEFT, [""] * len(found.before))
    parts += _column(after, right, top, RIGHT, [kernels(node) if "kernels" in node else "" for node in after])
    if found.native is not None and draws_memory:
        parts += _memory(found.native, right + RIGHT + 60, top)
    return "\n".join([*parts, "</svg>"])


def _column(nodes: Sequence[GraphNode], x: int, top: int, width: int, notes: Sequence[str]) -> list[str]:
    lines = []
    for number, (node, note) in enumerate(zip(nodes, notes, strict=True)):
        y = top + ROW * number
        gives = ", ".join(words for words in node["outputs"].values() if words)
        hover = f"{node['name']}\nreads {', '.join(node['inputs'])}\ngives {', '.join(f'{k} {v}' for k, v in node['outputs'].items())}"
        shown = f"{node['op']}  {note or gives}"
        lines.append(
            f'<g><title>{escape(hover)}</title><rect class="card" x="{x}" y="{y}" width="{width}" height="{ROW - 3}" rx="3"/>'
            f'<rect fill="{_color(node["op"])}" x="{x}" y="{y}" width="6" height="{ROW - 3}" rx="2"/>'
            f"{_text(x + 12, y + 12, _cut(shown, width - 18), 'soft')}</g>"
        )
    return lines


def _memory(native: Compiled, x: int, top: int) -> list[str]:
    """The arena: steps from left to right, bytes from bottom to top, a box for each value while it lives."""
    from flow.plan.text import size

    steps = max(buffer.last for buffer in native.buffers) + 1
    wide, high = MAP / steps, MAP_HEIGHT / max(1, native.arena_bytes)
    bottom = top + MAP_HEIGHT
    lines = [
        _text(x, top - 8, f"memory while it runs: {size(native.arena_bytes)}", "h2"),
        f'<rect class="lane" x="{x}" y="{top}" width="{MAP}" height="{MAP_HEIGHT}"/>',
    ]
    ops = [step.op for step in native.steps]
    makers = {name: step.op for step in native.steps for name in step.gives}
    for buffer in native.buffers:
        left, end = x + wide * buffer.first, x + wide * (buffer.last + 1)
        y = bottom - high * (native.offsets[buffer.name] + buffer.nbytes)
        hover = escape(f"{buffer.name}: {size(buffer.nbytes)} from step {buffer.first} to {buffer.last}")
        box = f'x="{left:.1f}" y="{y:.1f}" width="{end - left:.1f}" height="{max(0.8, high * buffer.nbytes):.1f}"'
        look = f'fill="{_color(makers.get(buffer.name, ops[0]))}" fill-opacity="0.75" stroke="#ffffff" stroke-width="0.6"'
        lines.append(f"<rect {box} {look}><title>{hover}</title></rect>")
    bound = bottom - high * native.bound_bytes
    lines.append(f'<path class="wire" stroke-dasharray="5 4" d="M{x} {bound:.1f}H{x + MAP}"/>')
    lines.append(_text(x, bottom + 18, f"dashed: {size(native.bound_bytes)}, the most that is alive at one step", "soft"))
    return lines


def _color(op: str) -> str:
    name = op.lower()
    return PALETTE[next((kind for kind, words in KINDS if any(word in name for word in words)), "other")]


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def _cut(text: str, room: float) -> str:
    letters = int(room / LETTER)
    return text if len(text) <= letters else text[: letters - 1] + "…"
