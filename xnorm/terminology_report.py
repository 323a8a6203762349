"""What `xnorm.looking` found, as Markdown. Names are anybody's: each is cut, put on one line and escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xnorm.markdown import one_line, table

__all__ = ["terminology_markdown"]

MOST = 40
"""Rows of a table."""

Data = Mapping[str, Any]


def terminology_markdown(about: Data, found: Data) -> str:
    """Return the report on a terminology as Markdown (CommonMark with tables).

    Args:
        about: what `xnorm.linking.describe` says of the index.
        found: what `xnorm.looking.look` says of its terminology.
    """
    lines = [f"# {one_line(about['name'])}", ""]
    lines += [
        f"{found['concepts']:,} concepts with {found['names']:,} names "
        f"({found['names_a_concept']['mean']:,} a concept), {about['retired']:,} retired ids. "
        f"Fingerprint {about['fingerprint'][:16]}, made by xnorm {one_line(about['xnorm_version'])}.",
    ]
    for title, section in _SECTIONS.items():
        if content := list(section(about, found)):
            lines += ["", f"## {title}", "", *content]
    return "\n".join(lines) + "\n"


def _languages(about: Data, found: Data) -> Iterator[str]:
    rows = [
        (
            row["lang"],
            row["names"],
            row["preferred"],
            row["concepts"],
            _share(row["concepts"], found["concepts"]),
            row["without"],
            _ids(row["without_examples"], row["without"]),
        )
        for row in found["languages"][:MOST]
    ]
    head = ("language", "names", "preferred", "concepts with a name", "share", "without a name", "for instance")
    yield from table(head, rows)
    yield from _more(found["languages"])


def _types(about: Data, found: Data) -> Iterator[str]:
    rows = list(found["types"].items())
    if rows:
        yield from table(("type", "concepts"), rows[:MOST])
        yield from _more(rows)
        yield from ("", f"Concepts without a type: {found['without_type']:,}.")


def _sources(about: Data, found: Data) -> Iterator[str]:
    rows = [(row["source"], row["concepts"], row["names"]) for row in found["sources"]]
    yield from table(("source", "concepts", "names"), rows[:MOST])
    yield from _more(rows)
    skipped = [
        (source["source"], reason, n, "; ".join(source["examples"].get(reason, [])))
        for source in about["report"]["sources"]
        for reason, n in source["skipped"].items()
    ]
    if skipped:
        yield from ("", "Left out when the sources were read:", "")
        yield from table(("source", "what", "how often", "first places"), skipped[:MOST])
        yield from _more(skipped)


def _homonyms(about: Data, found: Data) -> Iterator[str]:
    shared = found["homonyms"]
    if not shared["texts"]:
        yield "No name belongs to several concepts."
        return
    called = shared["preferred"]
    yield (
        f"{shared['texts']:,} names, equal but for case and in one language, belong to several concepts: "
        f"{shared['concepts']:,} concepts have such a name. {called['texts']:,} of them are what "
        f"{called['concepts']:,} concepts are called by (`homonyms: qualify` tells these apart)."
    )
    yield ""
    yield from table(("language", "shared names"), list(shared["by_lang"].items())[:MOST])
    yield ""
    rows = [
        (row["text"], row["lang"], row["concepts"], _ids(row["ids"], row["concepts"])) for row in shared["most_shared"]
    ]
    yield from table(("most shared", "language", "concepts", "ids"), rows)


def _retired(about: Data, found: Data) -> Iterator[str]:
    rows = [(row["reason"], row["ids"], row["without_replacement"]) for row in found["retired"]]
    if rows:
        yield from table(("reason", "retired ids", "without a replacement here"), rows[:MOST])
        yield from _more(rows)


def _hierarchy(about: Data, found: Data) -> Iterator[str]:
    shape = found["hierarchy"]
    if not shape["edges"]:
        yield "No concept has a parent."
        return
    yield f"- {shape['edges']:,} parents of concepts, {shape['depth']:,} steps from a root to the lowest concept"
    yield f"- roots: {shape['roots']:,} ({_concepts(shape['root_examples'], shape['roots'])})"
    yield f"- concepts without parents and children: {shape['alone']:,}"
    if shape["unreached"]:
        yield f"- concepts without a root above them: {shape['unreached']:,}"
    yield f"- circles: {shape['circles']:,}" + (f", of {shape['in_circles']:,} concepts" if shape["circles"] else "")
    for circle in shape["circle_examples"]:
        yield f"  - {_concepts(circle)}"
    missing = "; ".join(f"{one_line(m['id'])} of {m['children']:,}" for m in shape["missing_examples"])
    yield f"- parents that are no concepts: {shape['missing']:,}" + (
        f", {shape['missing_retired']:,} of them retired ({missing})" if shape["missing"] else ""
    )
    if shape["levels"]:
        yield ""
        yield from table(
            ("steps below a root", "concepts"), [(str(i), n) for i, n in enumerate(shape["levels"][:MOST])]
        )


def _lengths(about: Data, found: Data) -> Iterator[str]:
    lengths = found["lengths"]
    yield (
        f"Half of the names have at most {lengths['median']:,} characters, nine of ten {lengths['p90']:,}, "
        f"99 of 100 {lengths['p99']:,}."
    )
    for which in ("longest", "shortest"):
        rows = [(row["text"], row["lang"], row["characters"], row["id"]) for row in lengths[which]]
        yield ""
        yield from table((which, "language", "characters", "id"), rows)
    many = found["names_a_concept"]
    yield ""
    yield f"{many['one']:,} concepts have one name; half have at most {many['median']:,}."
    yield ""
    yield from table(("most names", "id", "names"), [(row["name"], row["id"], row["names"]) for row in many["most"]])


_SECTIONS = {
    "Languages": _languages,
    "Types": _types,
    "Sources": _sources,
    "Names of several concepts": _homonyms,
    "Retired ids": _retired,
    "Hierarchy": _hierarchy,
    "Names": _lengths,
}


def _more(rows: Sequence[Any]) -> Iterator[str]:
    if len(rows) > MOST:
        yield from ("", f"And {len(rows) - MOST:,} more.")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def _ids(ids: Sequence[str], n: int) -> str:
    return ", ".join(ids) + (", ..." if n > len(ids) else "")


def _concepts(concepts: Sequence[Data], n: int = 0) -> str:
    return one_line(_ids([f"{c['id']} {c['name']}" for c in concepts], n), 600)
