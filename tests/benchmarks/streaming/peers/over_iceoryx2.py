"""One process of a chain over iceoryx2: samples are loaned, written in place and published; an event tells the next process.

`python over_iceoryx2.py ROLE NAME PLACE NBYTES RATE SECONDS WRITE OUT`: ROLE is camera, stage or sink; PLACE counts from the camera, 0.
A received sample cannot be published again, so a stage copies it into one of its own. Buffers hold four samples; a producer waits for
room. After the last frame a process waits for the end of its standard input: then its processor time is still there for the sink to count.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import iceoryx2 as iox2
import numpy as np
from ace_bench_camera import HEADER, Camera
from ace_bench_recorder import Recorder, touch

SLOTS = 4

iox2.set_log_level(iox2.LogLevel.Error)
ROLE, NAME, PLACE, NBYTES, RATE, SECONDS, WRITE, OUT = sys.argv[1:]
BYTES = ctypes.c_uint8 * int(NBYTES)
NODE = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
views: dict[int, np.ndarray] = {}


def view(address: int) -> np.ndarray:
    """The sample at this address as an array."""
    if address not in views:
        views[address] = np.frombuffer(BYTES.from_address(address), np.uint8)
    return views[address]


def services(hop: int) -> tuple[Any, Any]:
    """The samples and the events of one hop."""
    name = iox2.ServiceName.new(f"{NAME}/{hop}")
    samples = (
        NODE.service_builder(name)
        .publish_subscribe(iox2.Slice[ctypes.c_uint8])
        .enable_safe_overflow(False)
        .subscriber_max_buffer_size(SLOTS)
        .open_or_create()
    )
    return samples, NODE.service_builder(name).event().open_or_create()


class Output:
    """Towards the next process; waits until it is there."""

    def __init__(self, hop: int) -> None:
        self.samples, self.events = services(hop)
        self.publisher = (
            self.samples.publisher_builder()
            .initial_max_slice_len(int(NBYTES))
            .backpressure_strategy(iox2.BackpressureStrategy.RetryUntilDelivered)
            .create()
        )
        self.notifier = self.events.notifier_builder().create()
        while not (self.samples.dynamic_config.number_of_subscribers and self.events.dynamic_config.number_of_listeners):
            time.sleep(0.005)

    def loan(self) -> Any:
        return self.publisher.loan_slice_uninit(int(NBYTES))

    def send(self, sample: Any) -> None:
        sample.assume_init().send()
        self.notifier.notify()


def arriving(hop: int) -> Iterator[np.ndarray]:
    """Samples as they come; each is given back when the next is asked for."""
    samples, events = services(hop)
    listener = events.listener_builder().create()
    subscriber = samples.subscriber_builder().buffer_size(SLOTS).create()
    while True:
        listener.blocking_wait()
        while (sample := subscriber.receive()) is not None:
            yield view(sample.payload_ptr)
            sample = None


def camera() -> None:
    output = Output(0)
    eye = Camera(float(RATE), float(SECONDS), WRITE == "1")
    while eye.wait():
        sample = output.loan()
        eye.shoot(view(sample.payload_ptr))
        output.send(sample)


def stage() -> None:
    output = Output(int(PLACE))
    for pixels in arriving(int(PLACE) - 1):
        touch(pixels)
        sample = output.loan()
        np.copyto(view(sample.payload_ptr), pixels)
        output.send(sample)
        if HEADER.unpack_from(pixels)[2]:
            return


def sink() -> None:
    recorder = Recorder(Path(OUT))
    for pixels in arriving(int(PLACE) - 1):
        recorder.see(pixels)
        if recorder.saved:
            return


{"camera": camera, "stage": stage, "sink": sink}[ROLE]()
if ROLE != "sink":
    sys.stdin.read()
