"""Compiles a model into a program file: `python -m devices.native.build ORDER FILE`, a process of its own, which ends afterwards.

ORDER is JSON: `path` and `digest` of the model, `dims` for its open dimensions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from devices.engine import EngineError
from devices.kernels.apart import REFUSED
from devices.native.assemble import assemble
from devices.native.compiler import compile_model
from devices.native.ir import GraphError
from devices.native.isa import IsaError, best


def main() -> int:
    """Writes the file; what the compiler says of a model that it will not have goes to standard error."""
    told, output = json.loads(sys.argv[1]), Path(sys.argv[2])
    path = Path(told["path"])
    try:
        content = assemble(compile_model(path, told["dims"], digest=told["digest"]), best())
    except (EngineError, IsaError) as error:
        print(error, file=sys.stderr)
        return REFUSED
    except (GraphError, MemoryError) as error:
        print(f"native: {path}: {error or 'not enough memory'}", file=sys.stderr)
        return REFUSED
    output.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
