"""What goes wrong becomes one message on standard error and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

FAILED = 1
WRONG_INPUT = 2
INTERRUPTED = 130

STATUS = {
    "manifests.errors.ManifestError": WRONG_INPUT,
    "flow.sources.contract.SourceError": WRONG_INPUT,
    "flow.sinks.contract.SinkError": WRONG_INPUT,
    "devices.engine.EngineError": WRONG_INPUT,
    "ops.contract.SpecError": WRONG_INPUT,
    "ops.catalog.UnknownOperator": WRONG_INPUT,
    "builtins.OSError": WRONG_INPUT,
    "flow.cli.remote.Misasked": WRONG_INPUT,
    "flow.cli.remote.CloudRefusal": FAILED,
    "manifests.bundle.canonical.BundleError": WRONG_INPUT,
    "manifests.store.store.StoreError": WRONG_INPUT,
    "manifests.trust.keys.KeyRefusal": WRONG_INPUT,
    "manifests.sync.trust.Untrusted": WRONG_INPUT,
    "manifests.sync.channel.curve.KeyFileError": WRONG_INPUT,
    "manifests.sync.agent.membership.MembershipError": WRONG_INPUT,
    "sqlite3.Error": FAILED,
    "manifests.trust.repository.TargetRefusal": WRONG_INPUT,
    "devices.kernels.cache.KernelError": FAILED,
    "flow.executor.RunError": FAILED,
}
"""Exit status by class, found by name so that no module is imported to know an error that cannot have come."""


def status_of(error: Exception) -> int | None:
    """The exit status for this error, or None for one that only a programmer can mend."""
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    return next((STATUS[name] for name in names if name in STATUS), None)


@contextmanager
def failures() -> Iterator[None]:
    """Inside, an error that the user can mend ends the command with its message and status, without a traceback."""
    try:
        yield
    except BrokenPipeError:
        raise
    except Exception as error:
        status = status_of(error)
        if status is None:
            raise
        if isinstance(error, OSError):
            print(f"{error.filename or 'ace'}: {error.strerror or error}", file=sys.stderr)
        else:
            print(error, file=sys.stderr)
        raise typer.Exit(status) from None
