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
]

_LATER = {"Linker": "xnorm.linker", "LinkerConfig": "xnorm.linker", "Terminology": "xnorm.tables"}


def __getattr__(name: str) -> Any:
    """Import the machinery when it is first used: `import xnorm` loads neither Arrow nor FAISS."""
    if name not in _LATER:
        raise AttributeError(f"module 'xnorm' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
