"""Write a synthetic release of SNOMED CT in Release Format 2: the real layout and size, invented content.

    python data_scripts/synthetic_snomed.py FOLDER       # 530,000 concepts, 370,000 of them active; 1.6 million names
    python data_scripts/synthetic_snomed.py FOLDER --concepts 10000

For measuring readers of RF2 where the licensed files cannot go. Written to FOLDER/Snapshot: concepts, English
descriptions and definitions, relationships, and the reference sets of language (two dialects), of historical
associations and of inactivation; tab-separated, CRLF, in the order of ids. Ids have right check digits; three tenths of
the concepts are inactive; a fifth of the relationships is is-a, to a concept or two before. No name means anything.

The same arguments write the same bytes, with one version of numpy.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from synthetic_umls_names import MOST_WORDS, Lexicon, Wording, join

from xnorm.rf2 import wrong_check_digit

DATE = "20990101"
BLOCK = 100_000
"""Rows written at a time."""
CORE = "900000000000207008"
FSN, SYNONYM, DEFINITION = "900000000000003001", "900000000000013009", "900000000000550004"
PREFERRED, ACCEPTABLE = "900000000000548007", "900000000000549004"
DIALECTS = ("900000000000509007", "900000000000508004")
SAME_AS, MAYBE = "900000000000527005", "900000000000523009"
TYPES = ["363698007", "116676008", "246075003", "260686004", "405813007", "272741003"]
REASONS = ["900000000000482003", "900000000000483008", "900000000000484002", "900000000000485001"]
ROW = ["id", "effectiveTime", "active", "moduleId"]
TERM = [*ROW, "conceptId", "languageCode", "typeId", "term", "caseSignificanceId"]
MEMBER = [*ROW, "refsetId", "referencedComponentId"]

Numbers = npt.NDArray[np.int64]


def sctids(numbers: Numbers, partition: int) -> Numbers:
    """Return ids for ascending numbers: what they are of, and a check digit."""
    plain = (numbers * 100 + partition) * 10
    ids = plain.copy()
    for digit in range(10):
        right = ~wrong_check_digit(plain + digit)
        ids[right] += digit
    return ids


class Writer:
    """Writes the files of a release."""

    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        self.folder, self.rng = folder / "Snapshot", rng

    def __call__(self, path: str, header: list[str], *columns: Any) -> None:
        """Write a file; a column is an array, or a string for all rows."""
        n = len(columns[0])
        arrays = [pa.repeat(c, n) if isinstance(c, str) else pa.array(c).cast(pa.string()) for c in columns]
        arrays = [a.combine_chunks() if isinstance(a, pa.ChunkedArray) else a for a in arrays]
        target = self.folder / f"{path}_INT_{DATE}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            file.write("\t".join(header).encode() + b"\r\n")
            for start in range(0, n, BLOCK):
                parts = [part for a in arrays for part in (a.slice(start, BLOCK), pa.scalar("\t"))]
                lines = join(*parts[:-1], pa.scalar("\r\n"))
                file.write(memoryview(lines.buffers()[2])[: int(pc.sum(pc.binary_length(lines)).as_py())])
        print(f"{target.name}: {n:,} rows, {target.stat().st_size / 1e6:,.0f} MB")

    def times(self, n: int) -> pa.Array:
        """Return days of release: twice a year."""
        years, halves = self.rng.integers(2002, 2099, n), self.rng.integers(0, 2, n)
        days = [f"{year}{half}" for year in range(2002, 2099) for half in ("0131", "0731")]
        return pa.array(days).take(pa.array((years - 2002) * 2 + halves))

    def uuids(self, n: int) -> pa.Array:
        """Return random UUIDs."""
        letters = np.frombuffer(b"0123456789abcdef", np.uint8)[self.rng.integers(0, 16, (n, 36), np.uint8)]
        letters[:, [8, 13, 18, 23]] = ord("-")
        offsets = pa.py_buffer(np.arange(0, 36 * (n + 1), 36, dtype=np.int32))
        return pa.StringArray.from_buffers(n, offsets, pa.py_buffer(np.ascontiguousarray(letters)))

    def members(self, path: str, header: str, refset: Any, component: Any, value: Any, active: Any = "1") -> None:
        n = len(component)
        columns = (self.uuids(n), self.times(n), active, CORE, refset, component, value)
        self(path, [*MEMBER, header], *columns)


def write_terms(write: Writer, concepts: Numbers) -> None:
    """Write descriptions, definitions and language reference sets: a fully specified name and about two synonyms."""
    rng, lexicon = write.rng, Lexicon("ENG", 1)
    each = 2 + rng.poisson(1.0, len(concepts))
    of = np.repeat(np.arange(len(concepts)), each)
    place = np.arange(len(of)) - np.repeat(np.cumsum(each) - each, each)
    n = len(of)
    words = rng.integers(0, lexicon.n_words, (n, MOST_WORDS))
    words = np.where((place < 2)[:, None], words[np.searchsorted(of, of)], words)
    none = np.full(n, -1)
    fsn = place == 0
    terms = lexicon.names(
        Wording(
            head=of, words=words, n_words=1 + (words[:, 0] + place // 2) % 6, qualifier=none, phrase=none,
            tag=np.where(fsn, of % 8, -1), style=np.zeros(n, np.int64), form=none,
        )
    )  # fmt: skip
    ids = sctids(np.arange(1, n + 1) + 1_000_000, 1)
    active = (rng.random(n) < 0.85) | (place < 2)
    kinds = pa.array([SYNONYM, FSN]).take(pa.array(fsn.astype(np.int32)))
    columns = (ids, write.times(n), active.astype(int), CORE, concepts[of], "en", kinds, terms, "900000000000448009")
    write("Terminology/sct2_Description_Snapshot-en", TERM, *columns)
    few = np.arange(0, len(concepts), 40)
    texts = lexicon.definitions(rng, len(few))
    own = sctids(np.arange(1, len(few) + 1) + 9_000_000, 1)
    columns = (own, write.times(len(few)), "1", CORE, concepts[few], "en", DEFINITION, texts, "900000000000448009")
    write("Terminology/sct2_TextDefinition_Snapshot-en", TERM, *columns)
    listed = np.concatenate([ids[active], own])
    main = np.concatenate([(place < 2)[active], np.ones(len(own), bool)])
    values = pa.array([ACCEPTABLE, PREFERRED]).take(pa.array(np.tile(main, 2).astype(np.int32)))
    refsets = pa.array(DIALECTS).take(pa.array(np.repeat(np.arange(2), len(listed))))
    write.members(
        "Refset/Language/der2_cRefset_LanguageSnapshot-en", "acceptabilityId", refsets, np.tile(listed, 2), values
    )


def write_release(folder: Path, n: int, seed: int) -> None:
    """Write all files.

    Args:
        n: number of concepts.
        seed: of all that is drawn.
    """
    rng = np.random.default_rng(seed)
    write = Writer(folder, rng)
    concepts = sctids(np.arange(n) + 100_000, 0)
    active = rng.random(n) < 0.7
    active[:10] = True
    header = [*ROW, "definitionStatusId"]
    columns = (concepts, write.times(n), active.astype(int), CORE, "900000000000074008")
    write("Terminology/sct2_Concept_Snapshot", header, *columns)
    write_terms(write, concepts)
    alive = np.flatnonzero(active)
    m = 6 * n
    child = np.sort(rng.integers(1, len(alive), m))
    above = alive[(rng.random(m) ** 0.3 * child).astype(np.int64)]
    is_a = (rng.random(m) < 0.2) | (np.diff(child, prepend=0) > 0)
    kinds = np.where(is_a, "116680003", np.array(TYPES)[rng.integers(0, len(TYPES), m)])
    header = [*ROW, "sourceId", "destinationId", "relationshipGroup", "typeId", "characteristicTypeId", "modifierId"]
    columns = (
        sctids(np.arange(m) + 1_000_000, 2), write.times(m), (rng.random(m) < 0.6).astype(int), CORE,
        concepts[alive[child]], concepts[above], "0", kinds, "900000000000011006", "900000000000451002",
    )  # fmt: skip
    write("Terminology/sct2_Relationship_Snapshot", header, *columns)
    gone = np.flatnonzero(~active)
    targets = concepts[rng.choice(alive, len(gone))]
    which = pa.array([SAME_AS, MAYBE]).take(pa.array((rng.random(len(gone)) < 0.4).astype(np.int32)))
    path = "Refset/Content/der2_cRefset_AssociationSnapshot"
    write.members(path, "targetComponentId", which, concepts[gone], targets)
    why = pa.array(REASONS).take(pa.array(rng.integers(0, len(REASONS), len(gone))))
    path = "Refset/Content/der2_cRefset_AttributeValueSnapshot"
    write.members(path, "valueId", "900000000000489007", concepts[gone], why)


def main() -> None:
    """Read the arguments and write the release."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--concepts", type=int, default=530_000, help="active and inactive (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not 1_000 <= arguments.concepts <= 5_000_000:
        parser.error("--concepts: expected 1,000 to 5,000,000")
    start = time.perf_counter()
    write_release(arguments.folder, arguments.concepts, arguments.seed)
    print(f"written to {arguments.folder} in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
