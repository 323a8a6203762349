"""Files of FHIR resources in JSON: one resource, a Bundle, or a resource a line (NDJSON)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from xnorm.curies import Systems
from xnorm.files import read_json, read_json_lines, suffix
from xnorm.records import JsonObject

__all__ = ["identify", "name_of", "read_resources"]


def read_resources(path: Path, skip: Callable[[str, str | None], None]) -> Iterator[tuple[str, JsonObject]]:
    """Yield (type, resource), those in bundles too, in the file's order.

    Args:
        skip: is told, with the id of the bundle, if a bundle is not all there is.

    Raises:
        DataError: something without a `resourceType`, or as `xnorm.files.read_json` and `read_json_lines`.
    """
    if suffix(path) in (".ndjson", ".jsonl"):
        lines = read_json_lines(path, unique_keys=True)
        todo = (JsonObject(values, path=path, line=line) for line, values in lines)
    else:
        todo = (JsonObject(values, path=path) for values in (read_json(path),))
    for outer in todo:
        stack = [outer]
        while stack:
            resource = stack.pop()
            kind = resource.string("resourceType")
            if kind is None:
                raise resource.error("has no 'resourceType'", fix="is it a FHIR resource?", here=True)
            if kind != "Bundle":
                yield " ".join(kind.split()), resource
                continue
            if any(link.string("relation") == "next" for link in resource.objects("link")):
                skip("bundle that is one page of several", resource.string("id"))
            entries = [entry.object("resource") for entry in resource.objects("entry", forget=True)]
            stack.extend(inner for inner in reversed(entries) if inner is not None)


def name_of(resource: JsonObject) -> str | None:
    """Return what a resource is called, on one line: its URL or else its id; None if it has neither."""
    return " ".join((resource.string("url") or resource.string("id") or "").split()) or None


def identify(systems: Systems, code: str | None, system: str | None, at: JsonObject) -> str:
    """Return the CURIE of a code, empty for none.

    Raises:
        DataError: nothing tells its prefix.
    """
    code = " ".join((code or "").split())
    try:
        return code and systems.curie(code, system)
    except ValueError as e:
        raise at.error(str(e), here=True) from None
