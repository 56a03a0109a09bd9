from __future__ import annotations

import pytest
import typer

from flow.cli.options import bindings, one_of, pairs, targets


def test_a_wrong_choice_names_the_nearest() -> None:
    with pytest.raises(typer.BadParameter, match="expected auto, threads, processes, got 'thread'; did you mean 'threads'"):
        one_of("auto", "threads", "processes")("thread")
    assert one_of("auto")("auto") == "auto"


@pytest.mark.parametrize("value", ["clip.mp4", "=clip.mp4", "camera="])
def test_a_pair_needs_both_halves(value: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"expected INPUT=SOURCE, as in camera=clip.mp4; got "):
        pairs("INPUT=SOURCE", "camera=clip.mp4")([value])


def test_a_source_may_hold_an_equals_sign() -> None:
    assert bindings(["camera=rtsp://host/1?a=b"]) == {"camera": "rtsp://host/1?a=b"}


def test_an_input_is_bound_once() -> None:
    with pytest.raises(typer.BadParameter, match=r"camera is bound twice: to 'a.mp4' and to 'b.mp4'"):
        bindings(["camera=a.mp4", "camera=b.mp4"])


def test_an_output_may_have_several_sinks() -> None:
    assert targets(["pets=a.jsonl", "pets=a.mp4", "x=-"]) == {"pets": ["a.jsonl", "a.mp4"], "x": ["-"]}
    assert targets(None) == {}
