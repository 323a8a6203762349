"""A whole terminology looked at: what is in it, what is missing, and what is odd. Plain data for JSON and reports.

Everything is counted on columns; a terminology of 17 million names takes no object for each of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from xnorm.hierarchy import hierarchy
from xnorm.homonyms import find_homonyms, main_names
from xnorm.replacements import STATUSES, Replacements
from xnorm.tables import Terminology

__all__ = ["coverage", "look", "retired_by_reason"]

EXAMPLES = 3
SHOWN = 10

Ints = npt.NDArray[np.int64]


def look(terminology: Terminology) -> dict[str, Any]:
    """Return all that there is to see: coverage of languages, sources, homonyms, retired ids, hierarchy, lengths."""
    return {
        "concepts": len(terminology),
        "names": terminology.n_names,
        "languages": coverage(terminology),
        "types": terminology.count_by("concepts", "types"),
        "without_type": _without_type(terminology),
        "sources": _sources(terminology),
        "scopes": terminology.count_by("names", "scope"),
        "homonyms": _homonyms(terminology),
        "retired": retired_by_reason(terminology),
        "hierarchy": hierarchy(terminology),
        "lengths": _lengths(terminology),
        "names_a_concept": _names_a_concept(terminology),
    }


def coverage(terminology: Terminology) -> list[dict[str, Any]]:
    """Return for each language its names, how many of them are preferred, the concepts that have one, and the first of
    those that have none; the language with the most names first."""
    tags = terminology.names.column("lang").combine_chunks()
    codes = pc.fill_null(tags.indices, -1).to_numpy(zero_copy_only=False)
    preferred = _is_tag(terminology, "scope", "preferred")
    found = []
    for lang, n in terminology.count_by("names", "lang").items():
        mask = codes == tags.dictionary.index(lang).as_py()
        has = np.zeros(len(terminology), bool)
        has[terminology.name_concept[mask]] = True
        without = np.flatnonzero(~has)
        found.append(
            {
                "lang": lang,
                "names": n,
                "preferred": int((mask & preferred).sum()),
                "concepts": int(has.sum()),
                "without": len(without),
                "without_examples": terminology.take("concepts", "id", without[:EXAMPLES]),
            }
        )
    return found


def _is_tag(terminology: Terminology, column: str, value: str) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.equal(terminology.names.column(column), value).to_numpy())


def _without_type(terminology: Terminology) -> int:
    return int(pc.sum(pc.equal(pc.fill_null(pc.list_value_length(terminology.concepts.column("types")), 0), 0)).as_py())


def _sources(terminology: Terminology) -> list[dict[str, Any]]:
    names, concepts = terminology.count_by("names", "source"), terminology.count_by("concepts", "source")
    return [
        {"source": source, "concepts": concepts.get(source, 0), "names": names.get(source, 0)}
        for source in dict.fromkeys([*concepts, *names])
    ]


def _homonyms(terminology: Terminology) -> dict[str, Any]:
    """Return how many names are shared, and those that the most concepts share.

    `preferred` counts the names among them that concepts are called by, which is what `homonyms: qualify` tells apart.
    """
    found = find_homonyms(terminology)
    called = find_homonyms(terminology, main_names(terminology)[0])
    sizes = np.diff(found.starts)
    most = np.lexsort((found.rows[found.starts[:-1]], -sizes))[:SHOWN]
    shown = []
    for at in most.tolist():
        rows = found.rows[found.starts[at] : found.starts[at + 1]]
        text, lang = (terminology.take("names", column, rows[:1])[0] for column in ("text", "lang"))
        ids = terminology.take("concepts", "id", terminology.name_concept[rows[:SHOWN]])
        shown.append({"text": text, "lang": lang, "concepts": len(rows), "ids": ids})
    langs = terminology.take("names", "lang", found.rows[found.starts[:-1]]) if len(found) else []
    values, counts = np.unique(np.array(langs, str), return_counts=True)
    return {
        "texts": len(found),
        "concepts": len(np.unique(terminology.name_concept[found.rows])),
        "by_lang": dict(
            sorted(zip(values.tolist(), counts.tolist(), strict=True), key=lambda item: (-item[1], item[0]))
        ),
        "preferred": {"texts": len(called), "concepts": len(np.unique(terminology.name_concept[called.rows]))},
        "most_shared": shown,
    }


def retired_by_reason(terminology: Terminology) -> list[dict[str, Any]]:
    """Return the retired ids by reason, the most frequent first: how many, and how many of them lead to no concept of
    the terminology."""
    retired = terminology.retired
    reasons = pc.fill_null(retired.column("reason"), "retired").combine_chunks().dictionary_encode()
    codes = reasons.indices.to_numpy(zero_copy_only=False)
    status = Replacements(terminology).follow(retired.column("id").combine_chunks()).status
    replaced = status != STATUSES.index("retired")
    total, lost = (np.bincount(c, minlength=len(reasons.dictionary)) for c in (codes, codes[~replaced]))
    rows = zip(reasons.dictionary.to_pylist(), total.tolist(), lost.tolist(), strict=True)
    found = [{"reason": reason, "ids": n, "without_replacement": k} for reason, n, k in rows]
    return sorted(found, key=lambda row: (-row["ids"], row["reason"]))


def _lengths(terminology: Terminology) -> dict[str, Any]:
    """Return how long names are in characters: quantiles, and the longest and shortest."""
    length = pc.utf8_length(terminology.names.column("text")).to_numpy()
    quantiles = np.quantile(length, [0.5, 0.9, 0.99], method="inverted_cdf").astype(int).tolist()
    return {
        "median": quantiles[0],
        "p90": quantiles[1],
        "p99": quantiles[2],
        "longest": _names(terminology, _first(-length), length),
        "shortest": _names(terminology, _first(length), length),
    }


def _first(keys: Ints, n: int = EXAMPLES) -> Ints:
    """Return the rows of the smallest keys, the smaller row first where they are equal."""
    n = min(n, len(keys))
    at_most = np.flatnonzero(keys <= np.partition(keys, n - 1)[n - 1])
    return at_most[np.argsort(keys[at_most], kind="stable")][:n]


def _names(terminology: Terminology, rows: Ints, length: Ints) -> list[dict[str, Any]]:
    concepts = terminology.name_concept[rows]
    columns = (
        terminology.take("concepts", "id", concepts),
        *(terminology.take("names", column, rows) for column in ("text", "lang")),
        length[rows].tolist(),
    )
    return [dict(zip(("id", "text", "lang", "characters"), row, strict=True)) for row in zip(*columns, strict=True)]


def _names_a_concept(terminology: Terminology) -> dict[str, Any]:
    counts = np.diff(terminology.first_name)
    most = _first(-counts)
    ids, names = (terminology.take("concepts", column, most) for column in ("id", "name"))
    rows = zip(ids, names, counts[most].tolist(), strict=True)
    return {
        "mean": round(float(counts.mean()), 2),
        "median": int(np.median(counts)),
        "one": int((counts == 1).sum()),
        "most": [{"id": i, "name": name, "names": n} for i, name, n in rows],
    }
