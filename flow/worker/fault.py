"""What went wrong in an operator, in one line that says where in its author's code."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from types import TracebackType

OURS = ("flow", "ops", "devices", "manifests")
LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def describe(error: BaseException, home: str) -> str:
    """`NameError: name 'nothing' is not defined (light.py:31)`: the innermost place in the code of an operator's author.

    `home` is the module of the operator's class. Our own packages and installed libraries (but for the operator's own) are passed over;
    there is no place where the author's code took no part.
    """
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    place = f"{Path(error.filename).name}:{error.lineno}" if isinstance(error, SyntaxError) and error.filename else ""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and not isinstance(error, SyntaxError):
        code, module = trace.tb_frame.f_code, str(trace.tb_frame.f_globals.get("__name__", ""))
        if _is_theirs(module, code.co_filename, home):
            place = f"{Path(code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{text} ({place})" if place else text


def _is_theirs(module: str, file: str, home: str) -> bool:
    top = module.partition(".")[0]
    if top in OURS:
        return False
    return top == home.partition(".")[0] or not (file.startswith(LIBRARIES) or file.startswith("<"))
