"""The compiler behind the engine `native`. A model takes this way:

    importer/    ONNX -> Graph: every node checked; `table.py` lists the operators that are claimed
    ir.py        Graph, Node, Type, Quantization: immutable values; `verify` names what is wrong with one
    operators/   what a node can be: parameters and the type of the output, checked where they are declared
    passes/      Graph -> Graph: fusion, quantized forms, channels last, an open batch; `passes.stages` shows each
    memory.py    one arena for all that lives only while the model runs
    rows.py      how far apart the rows of a value lie, so that kernels may work on whole vectors
    storage.py   which values share memory
    lower.py     Graph -> Program: a flat list of steps over the arena, constants, and the caller's arrays
    compiler.py  the way from file to Program in one call
    execute.py   runs a Program by the reference, step by step; a kernel can be given for each step
    calls/       Step -> the calls of compiled kernels that do it
    assemble.py  Program -> the content of a program file: these calls with packed weights, and `steps.py` for those that have none
    image.py     the program file: written, checked, mapped
    programs.py  where program files lie; `build.py` is the process that makes one
    machine.py   runs a program from its file

`choice.py` keeps which engine runs a model, `coverage.py` says what this one lacks, `describe.py` what it made of a model.

`reference/` says what every operator computes, in plain NumPy: passes, lowering and kernels are all held against it. `kernels/` and
`isa.py` are the compiled vector kernels. Nothing here is imported by `import devices`; the ONNX library is by `importer` only, a compiler
by `kernels.build` only.
"""
