"""Documents to and from the BigBIO knowledge-base schema: plain rows, Parquet, `datasets.Dataset`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xnorm.config import validate
from xnorm.corpora.base import ReadReport
from xnorm.corpora.bigbio import BigbioConfig, BigbioReader
from xnorm.errors import ConfigError
from xnorm.reading import reader_for
from xnorm.registry import require
from xnorm.types import Document, Mention

__all__ = ["from_dataset", "read_documents", "to_dataset", "to_row", "write_parquet"]

_SPANS = pa.list_(pa.list_(pa.int32()))
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "document_id": pa.string(),
        "language": pa.string(),
        "passages": pa.list_(
            pa.struct({"id": pa.string(), "type": pa.string(), "text": pa.list_(pa.string()), "offsets": _SPANS})
        ),
        "entities": pa.list_(
            pa.struct(
                {
                    "id": pa.string(),
                    "type": pa.string(),
                    "text": pa.list_(pa.string()),
                    "offsets": _SPANS,
                    "normalized": pa.list_(pa.struct({"db_name": pa.string(), "db_id": pa.string()})),
                }
            )
        ),
    }
)
"""BigBIO's columns that xnorm reads, and `language`; events, coreferences and relations are not written."""


def read_documents(
    path: str | Path, *, format: str | None = None, report: ReadReport | None = None, **options: Any
) -> list[Document]:
    """Read a corpus file or folder.

    Args:
        path: BigBIO (JSON Lines, Parquet, a `datasets` folder), BRAT, PubTator, CSV/TSV or JSON Lines.
        format: a variant of `xnorm/corpora`; default: by the file's ending and first line.
        report: what is skipped and noted is counted here.
        options: parameters of the reader, such as `mismatch="skip"`.

    Raises:
        ConfigError, DataError: see `xnorm.errors`.
    """
    reader = reader_for(Path(path), format=format, options=options)
    return list(reader.documents(ReadReport() if report is None else report))


def to_row(document: Document) -> dict[str, Any]:
    """Return a document as a row of the schema: one passage, an entity a mention, several types joined by a bar.

    Whether several gold ids are alternatives or a composite has no place in the schema, nor has the language of a
    single mention.

    Raises:
        ConfigError: a mention has no spans, as the schema needs them.
    """
    return {
        "id": document.id,
        "document_id": document.id,
        "language": document.lang,
        "passages": [
            {"id": f"{document.id}_text", "type": "text", "text": [document.text], "offsets": [[0, len(document.text)]]}
        ],
        "entities": [_entity(m, document, n) for n, m in enumerate(document.mentions, 1)],
    }


def _entity(mention: Mention, document: Document, number: int) -> dict[str, Any]:
    if not mention.spans:
        raise ConfigError(f"document '{document.id}': the mention {mention.text!r} has no spans, as BigBIO needs them")
    texts = [document.text[start:end] for start, end in mention.spans]
    as_stated = " ".join(texts).split() == mention.text.split()
    return {
        "id": mention.id or f"{document.id}/{number}",
        "type": "|".join(mention.types),
        "text": texts if as_stated else [mention.text],  # a mention that was kept although its offsets are wrong
        "offsets": [list(span) for span in mention.spans],
        "normalized": [_link(i) for i in mention.gold],
    }


def _link(concept_id: str) -> dict[str, str]:
    prefix, _, local = concept_id.rpartition(":")  # the reader takes what has a colon for an id with its prefix
    return {"db_name": prefix, "db_id": local}


def write_parquet(documents: Iterable[Document], path: str | Path) -> None:
    """Write documents as a Parquet file of the schema."""
    pq.write_table(pa.Table.from_pylist([to_row(d) for d in documents], _SCHEMA), path)


def to_dataset(documents: Iterable[Document]) -> Any:
    """Return documents as a `datasets.Dataset` of the schema.

    Raises:
        MissingExtraError: the package `datasets` is not installed.
    """
    datasets = require("datasets", extra="torch", what="to_dataset")
    return datasets.Dataset(pa.Table.from_pylist([to_row(d) for d in documents], _SCHEMA))


def from_dataset(
    dataset: Iterable[Mapping[str, Any]], *, report: ReadReport | None = None, **options: Any
) -> list[Document]:
    """Return the documents of a `datasets.Dataset`, or of any rows of the schema.

    Args:
        report: what is noted is counted here.
        options: parameters of the reader `bigbio`, such as `db_prefix`, `several_gold` or `mismatch`.

    Raises:
        ConfigError, DataError: a row is not of the schema, or as the reader.
    """
    config = validate(BigbioConfig, {**options, "type": "bigbio", "path": "dataset"}, where="from_dataset")
    reader, taken = BigbioReader(config), set[str]()
    report = ReadReport() if report is None else report
    return [reader.document(dict(row), number, taken, report) for number, row in enumerate(dataset, 1)]
