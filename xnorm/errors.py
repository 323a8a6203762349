"""Everything xnorm raises on purpose.

    XnormError
    ├── ConfigError         a config file, an override or an argument that cannot be used
    ├── DataError           a terminology, corpus or mention file with a bad record
    ├── ArtifactError       a saved folder that cannot be read, trusted or replaced
    └── MissingExtraError   an optional package is not installed

    XnormWarning            work goes on, but not as it was asked for

A message is one line: what was found, where, what was expected, and what to do.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["ArtifactError", "ConfigError", "DataError", "MissingExtraError", "XnormError", "XnormWarning"]


class XnormError(Exception):
    """Base of all errors that a user can mend; the command line prints them as one line and exits with status 2."""


class XnormWarning(UserWarning):
    """Base of all warnings that a user should read; the command line prints them as one line."""


class ConfigError(XnormError):
    """A config, an override or an argument holds a value that cannot be used."""


class DataError(XnormError):
    """An input file is missing, unreadable or holds a bad record.

    Args:
        problem: what was found, and what was expected.
        path: the file.
        line: the line in it, counted from 1.
        fix: what the user can do.
    """

    def __init__(
        self, problem: str, *, path: str | Path | None = None, line: int | None = None, fix: str | None = None
    ) -> None:
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        # values out of a file may hold line ends
        super().__init__(" ".join((where + problem + (f"; {fix}" if fix else "")).splitlines()))


class ArtifactError(XnormError):
    """A saved folder is missing, damaged, of another format or in the way."""


class MissingExtraError(XnormError):
    """An optional package is needed.

    Args:
        package: the import name that was not found.
        extra: the extra of xnorm that installs it.
        what: the component that asked for it.
    """

    def __init__(self, package: str, *, extra: str, what: str) -> None:
        super().__init__(f"{what} needs the package '{package}', which is not installed: pip install 'xnorm[{extra}]'")
