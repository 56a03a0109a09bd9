from __future__ import annotations

import pytest

from devices.engine import EngineError
from devices.vpu.machine import Machine, declared


def test_usual_and_declared() -> None:
    assert declared({}) == Machine() == declared({"ACE_VPU": " "})
    assert declared({"ACE_VPU": "local_kib=256, gmacs=8,dma_mb=1000,paced=1"}) == Machine(256 * 1024, 8 * 10**9, 10**9, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("local_kb=4", "expected local_kib, gmacs, dma_mb, paced, got 'local_kb'; did you mean 'local_kib'?"),
        ("local_kib=4", "local_kib: expected a whole number from 16 to 65536, got '4'"),
        ("gmacs=1.5", "gmacs: expected a whole number from 1 to 1000000, got '1.5'"),
        ("gmacs=" + "9" * 5000, "gmacs: expected a whole number"),
        ("paced", "paced: expected a whole number from 0 to 1, got ''"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(EngineError) as caught:
        declared({"ACE_VPU": text})
    assert said in str(caught.value)


def test_time_is_rounded_up() -> None:
    assert Machine(macs_per_second=3 * 10**9, bytes_per_second=2 * 10**9).nanoseconds(4, 3) == 2 + 2
