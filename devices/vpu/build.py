"""Compiles a model into a program file: `python -m devices.vpu.build ORDER FILE`, a process of its own, which ends afterwards.

ORDER is JSON: `path` and `digest` of the model, `dims` for its open dimensions, `local_bytes` of the machine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from devices.engine import EngineError
from devices.kernels.apart import REFUSED
from devices.vpu.compiler import compile_model
from devices.vpu.program import pack


def main() -> int:
    """Writes the file; what the compiler says of a model that it will not have goes to standard error."""
    told, output = json.loads(sys.argv[1]), Path(sys.argv[2])
    try:
        content = pack(compile_model(Path(told["path"]), told["dims"], told["local_bytes"], digest=told["digest"]))
    except EngineError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except MemoryError:
        print(f"vpu: {told['path']}: not enough memory", file=sys.stderr)
        return REFUSED
    output.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
