"""The emulator against a machine over Python integers, against the reference interpreter, and against itself with other local memories."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from devices.native.ir import Graph
from devices.native.operators import Quantize, View
from devices.native.reference import evaluate
from devices.vpu.border import inner
from devices.vpu.compiler import Refused, compile_model, lower
from devices.vpu.emulator import Emulator
from devices.vpu.instructions import Conv, Load, Store, work
from devices.vpu.machine import Machine
from devices.vpu.program import Layer, Port, Program, ProgramError, pack, unpack
from tests.devices.vpu.graphs import networks
from tests.devices.vpu.interpreter import Interpreter

LOOSE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def made(graph: Graph, local_bytes: int) -> Program:
    try:
        return lower(graph, local_bytes)
    except Refused as refused:
        assume("of local memory" not in str(refused))
        assume("whole factor" not in str(refused))
        raise


def stored_inputs(program: Program, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, port.nbytes, dtype=np.uint8) for port in program.inputs]


def emulated(program: Program, inputs: list[np.ndarray], watch=None) -> list[np.ndarray]:
    outputs = [np.zeros(port.nbytes, np.uint8) for port in program.outputs]
    Emulator(program, Machine(local_bytes=2**20)).run(inputs, outputs, watch)
    return outputs


@LOOSE
@given(networks(), st.sampled_from([320, 600, 2000, 2**19]))
def test_it_equals_python_integers(graph: Graph, local_bytes: int) -> None:
    program = made(graph, local_bytes)
    inputs = stored_inputs(program)
    expected = Interpreter(pack(program)).run([each.tobytes() for each in inputs])
    assert [each.tobytes() for each in emulated(program, inputs)] == expected


@LOOSE
@given(networks(most=8))
def test_each_layer_is_within_one_of_the_reference(graph: Graph) -> None:
    """The reference has one float32 factor where a program has a multiplier and a shift."""
    program, within = made(graph, 2**16), inner(graph).graph
    inputs = stored_inputs(program)
    seen: list[np.ndarray] = []
    emulated(program, inputs, lambda layer, stored: seen.append(stored.copy()))
    values = dict(within.constants) | {
        name: each.view(within.types[name].dtype).reshape(within.types[name].shape)
        for name, each in zip(within.inputs, inputs, strict=True)
    }
    results = iter(seen)
    for node in within.nodes:
        types = [within.types[name] for name in node.inputs]
        wanted = evaluate(node.op, types, within.types[node.output], [values[name] for name in node.inputs])
        if not isinstance(node.op, View):
            got = next(results).view(wanted.dtype).reshape(wanted.shape)
            assert np.abs(got.astype(int) - wanted.astype(int)).max() <= 1, str(node)
            wanted = got
        values[node.output] = wanted


@LOOSE
@given(networks(most=6))
def test_results_do_not_depend_on_the_local_memory(graph: Graph) -> None:
    roomy = made(graph, 2**20)
    inputs = stored_inputs(roomy)
    expected = [each.tobytes() for each in emulated(roomy, inputs)]
    for local_bytes in (350, 700, 5000):
        program = made(graph, local_bytes)
        assert [each.tobytes() for each in emulated(program, inputs)] == expected
        assert [each.tobytes() for each in emulated(unpack(pack(program)), inputs)] == expected


def conv(weight: int, bias: int, multiplier: int, shift: int, x: int, channels: int = 1) -> tuple[int, int]:
    """One output value of a program made by hand, and what Python integers give."""
    params = np.array([bias, multiplier, shift, 0], "<i4").tobytes()
    constants = np.frombuffer(params + np.full(channels, weight, np.int8).tobytes(), np.uint8)
    program = Program(
        4096, (Port("x", "uint8", (channels,)),), (Port("y", "uint8", (1,)),), (Layer("c", "Conv", 5, 3, 0, 1),),
        (Load(0, 0, 0, 1, 1, 16, 0, 0, 1, 0, 0, 1), Load(0, 16, 16, 1, 1, channels, 0, 0, 1, 0, 0, 1),
         Load(2, 0, 1600, 1, 1, channels, 0, 0, 1, 0, 0, 1),
         Conv(1600, 1, 1, channels, 16, 0, 3200, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 128, 0, 255),
         Store(3, 0, 3200, 1, 1, 1, 0, 0, 1, 0, 0, 1)), constants, 0,
    )  # fmt: skip
    given = np.full(channels, x, np.uint8)
    return int(emulated(program, [given])[0][0]), Interpreter(pack(program)).run([given.tobytes()])[0][0]


@pytest.mark.parametrize(
    ("weight", "bias", "multiplier", "shift", "x", "channels"),
    [
        (1, -10, 2**30, 31, 1, 1),  # halves go up: -4.5 -> -4
        (-1, 0, 2**30, 31, 5, 1),
        (127, 2**31 - 1, 2**31 - 1, 62, 255, 300),  # the sum passes 2^31
        (-128, -(2**31), 2**31 - 1, 40, 255, 300),
        (127, 0, 2**31 - 1, 1, 255, 300),
        (127, 5, 2**31 - 1, 62, 255, 1),
        (127, 5, 2**31 - 1, 99, 255, 1),  # shifts beyond the machine's are its longest
        (127, 5, -(2**31), 0, 255, 1),
        (127, 20 - 127 * 255 * 701, 2**30, 30, 255, 701),  # a sum that float32 has no place for
    ],
)
def test_edges_of_the_accumulator(weight: int, bias: int, multiplier: int, shift: int, x: int, channels: int) -> None:
    got, expected = conv(weight, bias, multiplier, shift, x, channels)
    assert got == expected


def test_halves_are_rounded_up() -> None:
    assert conv(1, -10, 2**30, 31, 1) == (124, 124)


@LOOSE
@given(networks())
def test_work_is_counted_from_the_instructions(graph: Graph) -> None:
    program = made(graph, 2**16)
    machine = Machine(2**16, macs_per_second=10**9, bytes_per_second=10**9)
    emulator = Emulator(program, machine)
    assert (emulator.macs, emulator.moved) == tuple(map(sum, zip(*map(work, program.instructions), strict=True)))
    assert emulator.nanoseconds == emulator.macs + emulator.moved


def test_a_paced_run_takes_as_long_as_the_machine(monkeypatch: pytest.MonkeyPatch, network: Path) -> None:
    program = compile_model(network, {}, 2**16)
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    emulator = Emulator(program, Machine(macs_per_second=1, bytes_per_second=1, paced=True))
    emulator.run(stored_inputs(program), [np.zeros(3, np.uint8)])
    assert 0 < slept[0] <= emulator.nanoseconds / 1e9
    Emulator(program, Machine()).run(stored_inputs(program), [np.zeros(3, np.uint8)])
    assert len(slept) == 1


def test_float_inputs_are_quantized_outside(network: Path) -> None:
    program = compile_model(network, {}, 2**16)
    assert [(port.name, port.dtype, port.scale is None) for port in (*program.inputs, *program.outputs)] == [
        ("pixels", "float32", False), ("out", "float32", False),
    ]  # fmt: skip
    assert Quantize.__name__ not in {layer.operator for layer in program.layers}


def test_a_program_for_more_memory_than_there_is(network: Path) -> None:
    with pytest.raises(ProgramError, match="expected a program for at most 1024 bytes of local memory, got one for 65536"):
        Emulator(compile_model(network, {}, 2**16), Machine(local_bytes=1024))


def test_windows_are_taken_in_blocks(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = compile_model(network, {}, 2**16)
    inputs = stored_inputs(program)
    expected = [each.tobytes() for each in emulated(program, inputs)]
    for block in (1, 30, 100):
        monkeypatch.setattr("devices.vpu.emulator.BLOCK", block)
        assert [each.tobytes() for each in emulated(program, inputs)] == expected
