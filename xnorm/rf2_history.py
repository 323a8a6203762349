"""What became of inactive concepts of SNOMED CT: why they were withdrawn, and what they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.rf2 import Ids, rows_of

__all__ = ["ASSOCIATIONS", "INACTIVATION", "Retired", "read_history"]

INACTIVATION = 900000000000489007
"""The reference set that says why concepts are inactive."""
_REASONS = {
    900000000000482003: "duplicate",
    900000000000483008: "outdated",
    900000000000484002: "ambiguous",
    900000000000485001: "erroneous",
    900000000000486000: "limited",
    900000000000487009: "moved elsewhere",
    900000000000492006: "pending move",
    900000000000494007: "inappropriate",
    723277005: "nonconformance to editorial policy",
    1186917008: "classification derived",
    1186919006: "meaning unknown",
}
"""Value of that reference set -> why."""
ASSOCIATIONS = {
    "SAME AS": 900000000000527005,
    "REPLACED BY": 900000000000526001,
    "POSSIBLY EQUIVALENT TO": 900000000000523009,
    "POSSIBLY REPLACED BY": 1186921001,
    "PARTIALLY EQUIVALENT TO": 1186924009,
    "ALTERNATIVE": 900000000000530003,
    "SIMILAR TO": 900000000000529008,
    "MOVED TO": 900000000000524003,
    "MOVED FROM": 900000000000525002,
    "WAS A": 900000000000528000,
}
"""Historical associations -> their reference sets."""


@dataclass(slots=True)
class Retired:
    """Inactive concepts: row, why, and how many of `targets`, which are rows too, replace it."""

    rows: Ids
    reasons: npt.NDArray[np.object_]
    counts: Ids
    targets: Ids

    @property
    def owners(self) -> Ids:
        """Row of the concept that each target replaces."""
        return np.repeat(self.rows, self.counts)

    def where(self, kept: npt.NDArray[np.bool_]) -> Retired:
        """Return some of them."""
        own = np.repeat(kept, self.counts)
        return Retired(self.rows[kept], self.reasons[kept], self.counts[kept], self.targets[own])


def read_history(
    ids: Ids, inactive: npt.NDArray[np.bool_], associations: pa.Table, reasons: pa.Table, chosen: Sequence[str]
) -> tuple[Retired, Ids]:
    """Return the inactive concepts, and the ids of those that lead to a concept which is missing.

    Args:
        ids: of all concepts, sorted.
        inactive: which of them to tell of.
        associations, reasons: rows of reference sets.
        chosen: keys of `ASSOCIATIONS` that lead to what replaces a concept, first ones before.
    """
    refset, component, target = _active(associations, "refsetId", "referencedComponentId", "targetComponentId")
    row, kind = rows_of(component, ids), _index_of(refset, list(ASSOCIATIONS.values()))
    fits = (kind >= 0) & np.append(inactive, False)[row]
    row, kind, target = row[fits], kind[fits], rows_of(target[fits], ids)
    said = np.zeros(len(ids), np.int64)
    np.bitwise_or.at(said, row, 1 << kind)
    place = _index_of(kind, [list(ASSOCIATIONS).index(word) for word in chosen])
    missing = np.unique(row[(place >= 0) & (target < 0)])
    leads = (place >= 0) & (target >= 0) & (target != row)
    row, target, place = row[leads], target[leads], place[leads]
    order = np.lexsort((target, place, row))
    row, target = row[order], target[order]
    _, first = np.unique(row * len(ids) + target, return_index=True)
    first.sort()
    rows = np.flatnonzero(inactive)
    counts = np.bincount(row[first], minlength=len(ids))[rows]
    why = _say_why(_reasons(reasons, ids)[rows], said[rows])
    return Retired(rows, why, counts, target[first]), ids[missing]


def _active(table: pa.Table, *columns: str) -> list[Ids]:
    table = table.filter(pc.equal(table.column("active"), 1))
    return [table.column(column).to_numpy() for column in columns]


def _reasons(table: pa.Table, ids: Ids) -> Ids:
    """Return the newest value for each concept, 0 for none."""
    time, component, value = _active(table, "effectiveTime", "referencedComponentId", "valueId")
    row = rows_of(component, ids)
    order = np.lexsort((value, time, row))
    found = np.zeros(len(ids) + 1, np.int64)
    found[row[order]] = value[order]  # the last one stays
    return found[:-1]


def _say_why(values: Ids, associations: Ids) -> npt.NDArray[np.object_]:
    """Return reasons in words: `ambiguous: possibly equivalent to`.

    Args:
        associations: a bit for each of `ASSOCIATIONS`.
    """
    pairs, which = np.unique(np.stack([values, associations], axis=1), axis=0, return_inverse=True)
    words = []
    for value, bits in pairs.tolist():
        why = _REASONS.get(value, f"reason {value}" if value else "obsolete")
        links = [word.lower() for n, word in enumerate(ASSOCIATIONS) if bits >> n & 1]
        words.append(f"{why}: {', '.join(links)}" if links else why)
    return np.array(words, object)[which.reshape(-1)]


def _index_of(values: Ids, known: list[int]) -> Ids:
    """Return the index of each value in a short list, or -1."""
    found = np.full(len(values), -1)
    for n, one in enumerate(known):
        found[values == one] = n
    return found
