"""Translations that a killed run has made already, kept sentence by sentence beside the output to be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from xnorm.artifact import claim_work, sha256_text
from xnorm.errors import ArtifactError, ConfigError
from xnorm.translators.base import Translator

__all__ = ["TranslationCache"]


class TranslationCache:
    """A translator that asks once for each text, and remembers what it was given across runs.

    Args:
        translator: what translates.
        source: language code.
        target: the same.
        folder: where translations are kept, one line each; emptied if they are of another translator or language.

    Raises:
        ArtifactError: another run is at work in the folder, or the disk refuses.
    """

    def __init__(self, translator: Translator, source: str, target: str, folder: Path) -> None:
        self.translator, self.source, self.target, self.folder = translator, source, target, folder
        self.calls = 0
        """Texts that were handed to the translator."""
        self._known: dict[str, str] = {}
        self._file: TextIO | None = None
        self._enter(sha256_text(json.dumps([translator.identity, source, target])))
        self.found = len(self._known)
        """Translations that an earlier run left."""

    def __enter__(self) -> TranslationCache:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if self._file is not None:
            self._file.close()
        if not self._known:  # nothing to go on with
            shutil.rmtree(self.folder, ignore_errors=True)

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Return the translations of texts."""
        keys = [sha256_text(text)[:32] for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        items = list(missing.items())
        for start in range(0, len(items), self.translator.batch):
            block = items[start : start + self.translator.batch]
            found = self.translator.translate([text for _, text in block], self.source, self.target)
            _check(found, len(block), self.translator.config.type)
            self._keep([key for key, _ in block], found)
        return [self._known[key] for key in keys]

    def forget(self) -> None:
        """Remove what is kept: the output is written."""
        self.__exit__(None, None, None)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _keep(self, keys: Sequence[str], found: Sequence[str]) -> None:
        self.calls += len(keys)
        self._known.update(zip(keys, found, strict=True))
        assert self._file is not None
        try:
            for key, text in zip(keys, found, strict=True):
                self._file.write(json.dumps([key, text]) + "\n")
            self._file.flush()
        except OSError as e:
            raise ArtifactError(f"{self.folder}: cannot be written: {e.strerror or e}") from e

    def _enter(self, key: str) -> None:
        claim_work(self.folder, key)
        lines = self.folder / "translations.jsonl"
        try:
            whole = self._read(lines) if lines.exists() else 0
            self._file = lines.open("a", encoding="utf-8")
            self._file.truncate(whole)
        except OSError as e:
            raise ArtifactError(f"{self.folder}: cannot be written: {e.strerror or e}") from e

    def _read(self, path: Path) -> int:
        """Read the translations up to a line that was cut off; return how many bytes are whole."""
        whole = 0
        with path.open("rb") as file:
            for line in file:
                try:
                    key, text = json.loads(line)
                except (ValueError, TypeError):
                    break
                if not line.endswith(b"\n") or not isinstance(key, str) or not isinstance(text, str):
                    break
                self._known[key] = text
                whole += len(line)
        return whole


def _check(found: Any, wanted: int, translator: str) -> None:
    """Refuse what is not one text for each: a translator may be anybody's.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise ConfigError(f"translator {translator}: gave {type(found).__name__}, expected a list of texts")
    if len(found) != wanted:
        raise ConfigError(f"translator {translator}: gave {len(found)} translations of {wanted} texts")
    for text in found:
        if not isinstance(text, str):
            raise ConfigError(
                f"translator {translator}: gave {type(text).__name__} for a translation, expected a text, empty if "
                "there is none"
            )
