"""A plan to look at: as text, as a document for programs, as a drawing, and what its businesses share."""

from __future__ import annotations

from flow.plan.document import document
from flow.plan.drawing import drawing
from flow.plan.explain import explain
from flow.plan.text import text

__all__ = ["document", "drawing", "explain", "text"]
