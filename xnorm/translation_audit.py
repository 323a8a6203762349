"""What became of the entities of a translated corpus: counts by reason and by type, examples, samples to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xnorm.tables import Terminology
from xnorm.tally import Tally, as_plain
from xnorm.text import LangFilter, fold
from xnorm.types import Mention

__all__ = ["OTHER_CONCEPT", "Lexicon", "TranslationAudit", "audit_summary"]

NO_TYPE = "(no type)"
OTHER_CONCEPT = "is a name of another concept"


@dataclass(slots=True)
class TranslationAudit(Tally):
    """Counts of a translation; entities are mentions, and each is either kept or dropped for one reason."""

    documents: int = 0
    sentences: Counter[str] = field(default_factory=Counter)
    """Sentences: translated, without letters, left out."""
    joined: int = 0
    """Sentence ends that were passed over, since an entity reaches across."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Sentences that are not in the translated documents, by reason."""
    kept: Counter[str] = field(default_factory=Counter)
    """Entities that are in the translated documents, by how they were found."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Entities that are not, by reason."""
    noted: Counter[str] = field(default_factory=Counter)
    """Entities that were kept although something about them is odd, by what."""
    kept_types: Counter[str] = field(default_factory=Counter)
    dropped_types: Counter[str] = field(default_factory=Counter)
    lexicon: Counter[str] = field(default_factory=Counter)
    """Entities that came back by what the names of the terminology in the target language say of them."""
    ratios: list[float] = field(default_factory=list)
    """Length of each kept entity over that of its source, a character of a script without spaces as three."""
    samples: list[dict[str, str]] = field(default_factory=list)
    """Kept entities, drawn by the seed, with both sentences."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """The first three places of each reason."""

    @property
    def entities(self) -> int:
        """How many entities there were."""
        return self.kept.total() + self.dropped.total()

    @property
    def share_dropped(self) -> float:
        """Dropped entities over all, 0 if there are none."""
        return self.dropped.total() / self.entities if self.entities else 0.0

    def keep(self, mention: Mention, how: str) -> None:
        """Count an entity that is kept."""
        self.kept[how] += 1
        self.kept_types.update(mention.types or (NO_TYPE,))

    def drop(self, mention: Mention, reason: str) -> None:
        """Count an entity that is dropped."""
        self.count(self.dropped, reason, f"document '{mention.document}', mention '{mention.id}': {mention.text[:60]}")
        self.dropped_types.update(mention.types or (NO_TYPE,))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, with rates by type and quantiles of the ratios."""
        plain = as_plain(self)
        ratios = plain.pop("ratios")
        types = sorted({*plain.pop("kept_types"), *plain.pop("dropped_types")})
        plain["entities"] = self.entities
        plain["share_dropped"] = round(self.share_dropped, 4)
        plain["types"] = {t: _rate(self.kept_types[t], self.dropped_types[t]) for t in types}
        if ratios:
            marks = np.quantile(np.array(ratios), [0.05, 0.5, 0.95]).round(2).tolist()
            plain["length_ratio"] = dict(zip(("q05", "median", "q95"), marks, strict=True))
        plain["examples"] = {reason: places for reason, places in self.examples.items() if places}
        return plain

    @staticmethod
    def total(parts: Sequence[TranslationAudit]) -> TranslationAudit:
        """Return the sum of several, with the first examples and all samples."""
        total = TranslationAudit()
        total.documents, total.joined = (sum(getattr(part, key) for part in parts) for key in ("documents", "joined"))
        for part in parts:
            for name in ("sentences", "left_out", "kept", "dropped", "noted", "kept_types", "dropped_types", "lexicon"):
                getattr(total, name).update(getattr(part, name))
            total.ratios += part.ratios
            total.samples += part.samples
            for reason, places in part.examples.items():
                total.show(reason, places)
        return total


def _rate(kept: int, dropped: int) -> dict[str, float]:
    return {"kept": kept, "dropped": dropped, "share_dropped": round(dropped / (kept + dropped), 4)}


class Lexicon:
    """Names of concepts in the target language, by concept id and by cross-reference.

    Args:
        terminology: whose names are known.
        lang: language of the names.
    """

    def __init__(self, terminology: Terminology, lang: str) -> None:
        wanted = LangFilter([lang])
        self._names: dict[str, set[str]] = {}
        self._owners: dict[str, set[str]] = {}
        ids: list[str] = terminology.concepts.column("id").to_pylist()
        xrefs: list[list[str] | None] = terminology.concepts.column("xrefs").to_pylist()
        langs: list[str] = terminology.names.column("lang").to_pylist()
        concepts = terminology.name_concept.tolist()
        for concept, lang_of, text in zip(concepts, langs, terminology.name_texts(), strict=True):
            if wanted(lang_of):
                name = fold(text)
                for identifier in (ids[concept], *(xrefs[concept] or ())):
                    self._names.setdefault(identifier, set()).add(name)
                    self._owners.setdefault(name, set()).add(identifier)

    def judge(self, text: str, gold: Sequence[str]) -> str:
        """Return what the names say of an entity: that it is one of its gold concept, of another one, or nothing."""
        name = fold(text)
        if not any(i in self._names for i in gold):
            return "its concept has no name in the target language"
        if any(name in self._names.get(i, ()) for i in gold):
            return "is a name of its concept"
        return OTHER_CONCEPT if name in self._owners else "is no known name"


def audit_summary(audit: Mapping[str, Any]) -> list[str]:
    """Return lines for a person that say what `TranslationAudit.as_dict` holds."""
    kept = sum(audit["kept"].values())
    lines = [
        f"{audit['documents']:,} documents, {sum(audit['sentences'].values()):,} sentences "
        f"({_counts(audit['sentences'])}), {audit['entities']:,} entities",
        f"kept {kept:,} ({1 - audit['share_dropped']:.1%}): {_counts(audit['kept']) or 'none'}",
    ]
    for verb, key in (("dropped", "dropped"), ("kept but", "noted"), ("left out sentences", "left_out")):
        for reason, n in sorted(audit[key].items(), key=lambda item: -item[1]):
            example = f" ({audit['examples'][reason][0]})" if reason in audit["examples"] else ""
            lines.append(f"{verb} {n:,}: {reason}{example}")
    if len(audit["types"]) > 1:
        rates = (f"{t} {r['share_dropped']:.1%} of {r['kept'] + r['dropped']:,}" for t, r in audit["types"].items())
        lines.append(f"dropped by type: {', '.join(rates)}")
    if "length_ratio" in audit:
        ratio = audit["length_ratio"]
        lines.append(f"length over that of the source: median {ratio['median']}, 5-95 % {ratio['q05']}-{ratio['q95']}")
    if audit["lexicon"]:
        lines.append(f"by the terminology's names: {_counts(audit['lexicon'])}")
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items(), key=lambda item: -item[1]))
