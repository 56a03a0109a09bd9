from __future__ import annotations

import pytest

from flow.cli.ops import lines, row
from ops import catalog


@pytest.mark.parametrize("kind", catalog.all().values(), ids=lambda kind: kind.op)
def test_every_operator_is_shown_with_ports_and_settings(kind: catalog.Kind) -> None:
    about = catalog.describe(kind)
    shown = lines(about)
    assert all(row(about)), "an operator has a name, a kind, ports and a docstring"
    for name in [*about.inputs, *about.outputs, *(setting.name for setting in about.settings)]:
        assert any(line.startswith(f"  {name}: ") for line in shown)
    assert not any(setting.type == "any" for setting in about.settings), "every setting says what it takes"


def test_a_composite_shows_what_it_stands_for() -> None:
    shown = "\n".join(lines(catalog.describe(catalog.find("detect.yolox"))))
    assert "stands for:\n  letterbox: image.letterbox\n  infer: nn.infer\n" in shown
    assert "\n  score: number 0..1 (0.35)\n" in shown
