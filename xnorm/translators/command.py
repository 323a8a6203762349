"""A program of the user's: texts as JSON Lines on its standard input, translations as such on its standard output.

The program is code that the user names, as a list of arguments; no shell reads it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from xnorm.artifact import sha256_file, sha256_text
from xnorm.errors import ConfigError
from xnorm.translators.base import Translator, TranslatorConfig

__all__ = ["CommandConfig", "CommandTranslator"]

PATIENCE = 5
"""Seconds for a program that was ended to close its pipes."""


class CommandConfig(TranslatorConfig):
    """Which program translates."""

    type: str = "command"
    command: list[str] = Field(min_length=1)
    """The program and its arguments: `[python, translate.py, --beams, "4"]`. For each text it reads a line
    `{"text", "source", "target"}` (the languages' codes) and writes a line: `{"translation"}`, or a JSON string."""
    timeout: float = Field(default=3600, gt=0)
    """Seconds that it has for a batch."""
    batch_size: int = Field(default=4096, ge=1)
    """Texts that it is given at a time; it is started for each batch."""
    version: str = ""
    """Says that the program translates otherwise than before, where its files do not: a change is a new translation."""


class CommandTranslator(Translator):
    """Starts the program once a batch."""

    config_class: ClassVar[type[TranslatorConfig]] = CommandConfig
    config: CommandConfig

    @property
    def identity(self) -> str:
        """The command, and the contents of those of its words that are files."""
        c = self.config
        files = [sha256_file(Path(a)) for a in c.command if Path(a).is_file()]
        return f"command/{sha256_text(json.dumps([c.command, files, c.version]))[:32]}"

    @property
    def batch(self) -> int:
        return self.config.batch_size

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """Return what the program writes.

        Raises:
            ConfigError: there is no such program, it fails, takes too long, or writes what is not as many translations.
        """
        size = self.config.batch_size
        return [t for i in range(0, len(texts), size) for t in self._run(texts[i : i + size], source, target)]

    @property
    def _what(self) -> str:
        return f"translator command `{' '.join(self.config.command)[:80]}`"

    def _run(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        lines = [json.dumps({"text": text, "source": source, "target": target}) for text in texts]
        program = shutil.which(self.config.command[0])
        if program is None:
            raise ConfigError(f"{self._what}: there is no program '{self.config.command[0]}'")
        try:
            process = subprocess.Popen(
                [program, *self.config.command[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        except OSError as e:
            raise ConfigError(f"{self._what}: cannot be started: {e.strerror or e}") from e
        try:
            out, err = process.communicate("".join(line + "\n" for line in lines).encode(), self.config.timeout)
        except subprocess.TimeoutExpired:
            raise ConfigError(
                f"{self._what}: was not done with {len(texts)} texts after {self.config.timeout:g} seconds; "
                "set a longer timeout or a smaller batch_size"
            ) from None
        finally:
            if process.returncode is None:
                _end(process)
        if process.returncode:
            said = err.decode("utf-8", "replace").strip().splitlines()
            raise ConfigError(
                f"{self._what}: ended with status {process.returncode}" + (f": {said[-1][:200]}" if said else "")
            )
        return self._parsed(out, len(texts))

    def _parsed(self, out: bytes, wanted: int) -> list[str]:
        try:
            lines = [line for line in out.decode("utf-8").split("\n") if line.strip()]
        except UnicodeDecodeError as e:
            raise ConfigError(f"{self._what}: wrote what is not UTF-8 (byte {e.start})") from None
        if len(lines) != wanted:
            raise ConfigError(f"{self._what}: expected a line for each of {wanted} texts, found {len(lines)}")
        return [self._translation(line, number) for number, line in enumerate(lines, 1)]

    def _translation(self, line: str, number: int) -> str:
        try:
            found: Any = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        text = found.get("translation") if isinstance(found, dict) else found
        if not isinstance(text, str):
            raise ConfigError(
                f'{self._what}: line {number} is {line[:60]!r}, expected {{"translation": "..."}} or a JSON string'
            )
        return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be written


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program with everything that it has started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    try:
        process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:  # something that left the group holds the pipes
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()
