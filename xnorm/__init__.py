"""xnorm: cross-lingual entity normalization.

import xnorm

linker = xnorm.Linker.load("index/hpo")
rankings = linker.link(["Herzinsuffizienz", "mal de tête"], top_k=64)
rankings[0][0].concept_id, rankings[0][0].name, rankings[0][0].score
"""

from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

from xnorm.errors import ArtifactError, ConfigError, DataError, MissingExtraError, XnormError
from xnorm.types import Candidate, Concept, Document, MemberScore, Mention, Name, Ranking

if TYPE_CHECKING:
    from xnorm.convert import from_dataset as from_dataset
    from xnorm.convert import read_documents as read_documents
    from xnorm.convert import to_dataset as to_dataset
    from xnorm.linker import Linker as Linker
    from xnorm.linker import LinkerConfig as LinkerConfig
    from xnorm.tables import Terminology as Terminology

__version__ = _version("xnorm")

__all__ = [
    "ArtifactError",
    "Candidate",
    "Concept",
    "ConfigError",
    "DataError",
    "Document",
    "Linker",
    "LinkerConfig",
    "MemberScore",
    "Mention",
    "MissingExtraError",
    "Name",
    "Ranking",
    "Terminology",
    "XnormError",
    "__version__",
    "from_dataset",
    "read_documents",
    "to_dataset",
]

_LATER = {
    "Linker": "xnorm.linker",
    "LinkerConfig": "xnorm.linker",
    "Terminology": "xnorm.tables",
    "from_dataset": "xnorm.convert",
    "read_documents": "xnorm.convert",
    "to_dataset": "xnorm.convert",
}


def __getattr__(name: str) -> Any:
    """Import the machinery when it is first used: `import xnorm` loads neither Arrow nor FAISS."""
    if name not in _LATER:
        raise AttributeError(f"module 'xnorm' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
