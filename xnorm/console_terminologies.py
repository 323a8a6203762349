"""What a person sees of a terminology: concepts that were found, what changed, ids brought up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, TextIO

from xnorm.id_files import IdCounts
from xnorm.mappings.base import MappingReport
from xnorm.plots import shown
from xnorm.types import SCOPES

__all__ = ["diff_summary", "ids_summary", "mapping_summary", "show_concepts", "show_hits"]

Data = Mapping[str, Any]
_LONG = 500
"""The most characters of a definition."""
_MANY = 40
"""The most names, xrefs or the like of one kind."""


def show_hits(found: Data, file: TextIO) -> None:
    """Print what `xnorm search` found as a table: id, name, why, and the name that was found."""
    _show_retired(found["retired"], file)
    if not found["hits"]:
        _print(
            "no concept" + (" of this index took its place" if found["retired"] else " has such an id or name"), file
        )
        return
    rows = []
    for hit in found["hits"]:
        matched = hit["matched"]
        via = "" if matched is None or matched["name"] == hit["name"] else f"{matched['name']} ({matched['lang']})"
        rows.append((hit["id"], hit["name"], hit["reason"], via))
    _table(("id", "name", "found by", "name found"), rows, file)
    if found["total"] > len(rows):
        _print(f"{len(rows):,} of {found['total']:,} concepts; --limit shows more", file)


def show_concepts(found: Data, file: TextIO) -> None:
    """Print all that is known of the concepts that `xnorm search` found."""
    _show_retired(found["retired"], file)
    for i, (hit, concept) in enumerate(zip(found["hits"], found["concepts"], strict=True)):
        if i:
            _print("", file)
        matched = hit["matched"]
        by = f": {matched['name']} ({matched['lang']})" if matched and matched["name"] != hit["name"] else ""
        lines = [("id", concept["id"]), ("name", concept["name"]), ("found by", hit["reason"] + by)]
        lines += _names(concept["names"])
        lines += [("types", ", ".join(concept["types"]))] if concept["types"] else []
        lines += [("parent", f"{p['id']}  {p['name'] or '(not there)'}") for p in concept["parents"]]
        lines += [("children", f"{concept['children']:,}")]
        lines += [("xrefs", _some(concept["xrefs"]))] if concept["xrefs"] else []
        lines += [("definition", shown(concept["definition"], _LONG))] if concept["definition"] else []
        lines += [("source", concept["source"])]
        _grid(lines, file)
    if found["total"] > len(found["hits"]):
        _print(f"\n{len(found['hits']):,} of {found['total']:,} concepts; --limit shows more", file)


def _names(names: Sequence[Data]) -> list[tuple[str, str]]:
    """Return the names by language, in the order in which languages come, and by scope."""
    langs = list(dict.fromkeys(name["lang"] for name in names))
    order = sorted(names, key=lambda n: (langs.index(n["lang"]), SCOPES.index(n["scope"])))
    return [
        (f"{lang} {scope}", _some([_with_weight(name) for name in group], "; "))
        for (lang, scope), group in groupby(order, key=lambda n: (n["lang"], n["scope"]))
    ]


def _with_weight(name: Data) -> str:
    return f"{name['name']} (x {name['weight']:g})" if "weight" in name else str(name["name"])


def _some(texts: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(texts) - _MANY:,} more" if len(texts) > _MANY else ""
    return between.join(shown(text, 300) for text in texts[:_MANY]) + more


def _show_retired(retired: Sequence[Data], file: TextIO) -> None:
    for old in retired:
        name = f" {old['name']}" if old["name"] else ""
        to = f"replaced by {', '.join(old['replaced_by'])}" if old["replaced_by"] else "nothing replaces it"
        _print(shown(f"{old['id']}{name} is retired ({old['reason']}): {to}", _LONG), file)


def diff_summary(about: Data, file: TextIO) -> None:
    """Print what changed between two releases: how often, and the first ids."""
    for which in ("old", "new"):
        size = about[which]
        _print(
            f"{which}: {size['concepts']:,} concepts, {size['names']:,} names, {size['retired']:,} retired ids", file
        )
    if about["same"]:
        _print("nothing changed", file)
        return
    rows = [
        (
            change,
            f"{n['changes']:,}",
            f"{n['concepts']:,}",
            ", ".join(n["examples"]) + (", ..." if n["concepts"] > 3 else ""),
        )
        for change, n in about["changes"].items()
        if n["changes"]
    ]
    _table(("change", "how often", "concepts", "for instance"), rows, file, numbers=(1, 2))
    _print(f"concepts of both that changed: {about['changed']:,}, {about['moved']:,} of them with other parents", file)


def ids_summary(counts: IdCounts, statuses: Sequence[str]) -> list[str]:
    """Return what became of the ids of a file.

    Args:
        statuses: the order in which they are told.
    """
    total = sum(counts.ids.values())
    lines = [f"{total:,} ids in {counts.records:,} records"]
    unmapped = ", left out" if counts.left_out else ", kept as they were"
    notes = {"retired": ", kept as they were", "unknown": ", kept as they were", "unmapped": unmapped}
    for status in statuses:
        if n := counts.ids[status]:
            examples = counts.examples.get(status, [])
            shown_ids = f" ({'; '.join(examples)}{'; ...' if n > len(examples) else ''})" if examples else ""
            lines.append(f"  {status}: {n:,}{notes.get(status, '')}{shown_ids}")
    if counts.joined:
        lines.append(f"left out {counts.joined:,} candidates that became the same concept as a better one")
    if counts.without:
        lines.append(f"{counts.without:,} records have no id")
    return lines


def mapping_summary(report: MappingReport) -> str:
    """Return what was read of a mapping, in a line."""
    skipped = "; ".join(f"{n:,} {reason}" for reason, n in report.skipped.items())
    return f"{report.rows:,} pairs of ids from {report.path}" + (f"; left out: {skipped}" if skipped else "")


def _print(text: str, file: TextIO) -> None:
    file.write(text + "\n")


def _draw(table: Any, file: TextIO) -> None:
    """Print a table: as wide as a terminal, and whole lines into a pipe; nothing at the ends of lines."""
    from rich.console import Console

    console = Console(file=file, highlight=False, width=None if file.isatty() else 10_000)
    with console.capture() as drawn:
        console.print(table)
    _print("\n".join(line.rstrip() for line in drawn.get().splitlines()), file)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], file: TextIO, *, numbers: Sequence[int] = ()) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
    for i, title in enumerate(head):
        table.add_column(title, justify="right" if i in numbers else "left", no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell, 300)) for cell in row))  # as they are: names are no markup
    _draw(table, file)


def _grid(lines: Sequence[tuple[str, str]], file: TextIO) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in lines:
        table.add_row(Text(label), Text(value))
    _draw(table, file)
