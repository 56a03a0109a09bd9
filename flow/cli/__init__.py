"""The command `ace`. Every command is one file; what a command needs is imported when it runs, so that `--help` is quick."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point of `ace`. Exit status: 0 done, 1 the work failed, 2 the input was wrong, 130 interrupted."""
    from flow.cli.app import app

    try:
        try:
            app(prog_name="ace")
        finally:
            if sys.stdout is not None:  # closed by whoever started us
                sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            print(f"ace: {error.filename or 'standard output'}: {error.strerror or error}", file=sys.stderr)
        # What is still buffered must not fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
