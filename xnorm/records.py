"""Records of JSON files from outside: every value checked, every error with its line and key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from xnorm.errors import DataError

__all__ = ["JsonId", "JsonRecord", "JsonStrings", "JsonText", "parse_record"]

R = TypeVar("R", bound="JsonRecord")


def _as_strings(value: Any) -> Any:
    return [] if value is None else [value] if isinstance(value, str) else value


def _whole(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate), which no file can be written with") from None
    return value


JsonText = Annotated[str, AfterValidator(_whole)]
"""A string in a JSON record; an escape like `\\ud83d` without its other half is refused."""
JsonId = Annotated[JsonText, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
"""An id in a JSON record: a string, or a whole number taken as one."""
JsonStrings = Annotated[list[JsonText], BeforeValidator(_as_strings)]
"""Strings in a JSON record: a list, one string, or null for none."""


class JsonRecord(BaseModel):
    """Base of what a line of a JSON corpus is checked against. Values are not converted, unknown keys passed over."""

    model_config = ConfigDict(strict=True, extra="ignore")


def parse_record(model: type[R], record: Mapping[str, Any], *, path: Path, line: int) -> R:
    """Check a line of a JSON corpus.

    Raises:
        DataError: naming the first key that is missing or holds the wrong kind of value.
    """
    try:
        return model.model_validate(record)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        seen = "" if first["type"] == "missing" else f" (found {repr(first['input'])[:60]})"
        problem = first["msg"].removeprefix("Value error, ")
        raise DataError(f"'{key}': {problem}{seen}", path=path, line=line) from None
