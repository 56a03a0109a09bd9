"""How fast frames travel, beside the peers: iceoryx2 and dora (`pip install -e '.[test,peers]'`).

Run with `pytest tests/benchmarks/streaming --benchmark-only -s`; each figure is printed beside its bar, no bar is asserted. `parts` is a
distribution of sources, operators, devices and sinks for our own side; `peers` holds the programs of the others. All sides share the
camera (`ace_bench_camera`) and the recorder (`ace_bench_recorder`).
"""
