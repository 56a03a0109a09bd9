"""What is wrong with a deployment, gathered so that all of it is reported at once."""

from __future__ import annotations

from manifests.deployment import Position
from manifests.errors import ManifestError, Problem


class Problems:
    """Gathers problems; nothing is raised before `check`."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, position: Position, path: str, *, expected: str, got: str, hint: str = "") -> None:
        """One problem; the same one is kept once."""
        problem = Problem(position, path, expected, got, hint)
        if problem not in self.found:
            self.found.append(problem)

    def check(self) -> None:
        """Raises ManifestError with everything found so far, in the order of the files."""
        if self.found:
            raise ManifestError(sorted(self.found, key=lambda each: (each.position.file, each.position.line)))
