"""How fast models run on the native engine, beside ONNX Runtime and, where they are installed, OpenVINO (`openvino`) and LiteRT
(`ai-edge-litert`).

`pytest tests/benchmarks/native --benchmark-only -s` measures everything. Contestants take turns in one process; a ratio is the median over
runs of both that nothing interrupted, in three processes, of which the middle one counts. ACE_BENCH_ROUNDS (default 320) sets how many such
runs each process waits for; it takes at most three times as many, and half a minute. Each figure is printed beside its bar (what differs
by less than 5 % is a tie); no bar is asserted, but that outputs agree is.
"""
