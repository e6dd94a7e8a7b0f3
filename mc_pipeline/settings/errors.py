"""What is wrong with a settings file, in words for the person who edits it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One thing to correct: where it is (dotted key, line when the key is in the file) and what to do."""

    key: str
    message: str
    line: int | None = None

    def describe(self, file: Path | None) -> str:
        """Return one line: ``companies.yaml:12: companies.acme_uk.timezone: found …; must be …``."""
        place = str(file) if file is not None else "settings"
        if self.line is not None:
            place = f"{place}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.message) if part)


class SettingsError(Exception):
    """The settings cannot be used; the message lists every problem, and never a secret."""

    def __init__(self, problems: Sequence[Problem], file: Path | None = None) -> None:
        self.problems = tuple(problems)
        self.file = file
        super().__init__("\n".join(problem.describe(file) for problem in self.problems))

    def __reduce__(self) -> tuple[type["SettingsError"], tuple[tuple[Problem, ...], Path | None]]:
        """Keep the problems when the error crosses a process border."""
        return type(self), (self.problems, self.file)
