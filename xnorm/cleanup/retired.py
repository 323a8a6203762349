"""Gold ids that are retired, replaced by what took their place.

Replacements come from the terminology itself, and from a file: MRCUI.RRF of UMLS, or a table

    from	to	relation
    HP:0001	HP:0002	merged

whose `relation` column may be missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import model_validator

from xnorm.cleanup.base import Cleanup, CleanupConfig, Parts, StageReport, each, gold_rows, with_gold
from xnorm.config import InputPath
from xnorm.errors import ConfigError, DataError
from xnorm.files import open_text, read_table, suffix
from xnorm.registry import did_you_mean
from xnorm.replacements import Replacements
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["Retired", "RetiredConfig"]

_RELATIONS = {"SY", "RO", "RN", "RB", "DEL", "SUBX"}
"""What MRCUI.RRF says of a retired concept: merged, related otherwise, narrower, broader, deleted, left out of a
subset. The last two have no successor."""


class RetiredConfig(CleanupConfig):
    """Where replacements come from."""

    type: str = "retired"
    terminology: bool = True
    """Whether the terminology's own retired ids are looked up."""
    path: InputPath | None = None
    """MRCUI.RRF of UMLS (by its ending `.rrf`), or a CSV or TSV file with the columns `from`, `to` and, if wanted,
    `relation`; gzip (`.gz`) is unpacked on the way. It comes after the terminology's own."""
    prefix: str | None = None
    """CURIE prefix put before ids of the file that have none: with `UMLS`, `C0018801` becomes `UMLS:C0018801`."""
    relations: list[str] | None = None
    """Relations of the file that are followed; default: of MRCUI.RRF SY alone, which is a merger (RO, RN and RB lead to
    another, a narrower and a broader concept), of a table all."""

    @model_validator(mode="after")
    def _check(self) -> RetiredConfig:
        if self.path is None and not self.terminology:
            raise ValueError("nothing to do; set `path`, or terminology: true")
        for key in ("prefix", "relations"):
            if getattr(self, key) is not None and self.path is None:
                raise ValueError(f"`{key}` is of a file; set `path`")
        for relation in self.relations or () if self.is_rrf else ():
            if relation not in _RELATIONS:
                raise ValueError(f"relations: '{relation}' is none of MRCUI.RRF; {did_you_mean(relation, _RELATIONS)}")
        return self

    @property
    def is_rrf(self) -> bool:
        """Whether the file is of UMLS."""
        return self.path is not None and suffix(self.path) == ".rrf"


class Retired(Cleanup):
    """Replaces gold ids that are not in the terminology by those that took their place and are.

    Replacements are followed until an id is in the terminology; several such ids become alternatives. A composite with
    a part of several successors is left alone, for alternatives inside a composite cannot be said. An id without a
    successor in the terminology is kept.
    """

    config_class: ClassVar[type[CleanupConfig]] = RetiredConfig
    mends_gold: ClassVar[bool] = True
    config: RetiredConfig

    def apply(self, parts: Parts, terminology: Terminology, report: StageReport) -> dict[str, list[Mention]]:
        """Raise `DataError` for a file that cannot be read, `ConfigError` for a relation that it does not have."""
        live = gold_rows(parts, terminology)
        dead = dict.fromkeys(i for ms in parts.values() for m in ms for i in m.gold if i not in live)
        replacements = Replacements(terminology, own=self.config.terminology, further=self._listed())
        found = replacements.follow(list(dead)).successors()

        def change(mention: Mention) -> Mention:
            if mention.composite and any(len(found.get(i, ())) > 1 for i in mention.gold):
                report.change("composite with several successors of a part, left alone", ", ".join(mention.gold))
                return mention
            for i in mention.gold:
                if found.get(i):
                    how = ", ".join(dict.fromkeys(relation for path in found[i].values() for relation in path))
                    report.change(f"gold replaced ({how})", f"{i} -> {', '.join(found[i])} ({how})")
                elif i in found:
                    report.change("gold without a successor in the terminology, kept", i)
            return with_gold(mention, [new for i in mention.gold for new in found.get(i) or (i,)])

        return each(parts, change)

    def _listed(self) -> list[tuple[str, str, str]]:
        """Return (old id, new id, relation) of the file."""
        steps: list[tuple[str, str, str]] = []
        if self.config.path is not None:
            (self._read_rrf if self.config.is_rrf else self._read_table)(self.config.path, steps)
        return steps

    def _read_rrf(self, path: Path, steps: list[tuple[str, str, str]]) -> None:
        wanted = set(self.config.relations or ["SY"])
        with open_text(path) as file:
            for number, line in enumerate(file, 1):
                cells = line.rstrip("\n").split("|")
                if len(cells) not in (7, 8):  # each cell ends in a bar, if nobody has stripped the last one
                    columns = "CUI1|VER|REL|RELA|MAPREASON|CUI2|MAPIN|"
                    raise DataError(f"expected {columns}, found {line[:60].rstrip()!r}", path=path, line=number)
                if cells[2] in wanted and cells[5]:
                    self._add(steps, cells[0], cells[5], cells[2])

    def _read_table(self, path: Path, steps: list[tuple[str, str, str]]) -> None:
        wanted, met = self.config.relations, set[str]()
        for line, row in read_table(path, columns=("from", "to", "relation")[: 2 if wanted is None else 3]):
            old, new, relation = row["from"].strip(), row["to"].strip(), row.get("relation", "").strip()
            if not old:
                raise DataError("empty `from`", path=path, line=line)
            met.add(relation)
            if new and (wanted is None or relation in wanted):
                self._add(steps, old, new, relation or "listed")
        for relation in wanted or ():
            if relation not in met:
                hint = did_you_mean(relation, met) if met else "it has no rows"
                raise ConfigError(f"{path}: no row has the relation '{relation}'; {hint}")

    def _add(self, steps: list[tuple[str, str, str]], old: str, new: str, relation: str) -> None:
        steps.append((self._curie(old), self._curie(new), relation))

    def _curie(self, identifier: str) -> str:
        prefix = self.config.prefix
        return identifier if prefix is None or ":" in identifier else f"{prefix}:{identifier}"
