"""The command `ace`. Every command is one file; what a command needs is imported when it runs, so that `--help` is quick."""

from __future__ import annotations


def main() -> None:
    """Entry point of `ace`. Exit status: 0 done, 1 the work failed, 2 the input was wrong, 130 interrupted."""
    from flow.cli.app import app

    app(prog_name="ace")
