"""Records of JSON files from outside: every value checked, every error with its line and key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from xnorm.errors import DataError

__all__ = ["JsonId", "JsonObject", "JsonRecord", "JsonStrings", "JsonText", "parse_record"]

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


_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


class JsonObject:
    """A JSON object from outside whose values are checked as they are taken; null is as if the key were not there.

    For what is too large or too deep to be checked at once.

    Args:
        values: the object as `json` reads it.
        path: the file.
        line: the line that the object stands in, if it has one of its own.
    """

    __slots__ = ("_index", "_key", "_outer", "line", "path", "values")

    def __init__(self, values: dict[str, Any], *, path: Path, line: int | None = None) -> None:
        self.values, self.path, self.line = values, path, line
        self._outer: JsonObject | None = None
        self._key: str = ""
        self._index: int | None = None

    @property
    def place(self) -> str:
        """Keys and indices that lead to the object, as in `concept[3].designation[0]`; empty for the outermost."""
        parts: list[str] = []
        at = self
        while at._outer is not None:
            parts.append(at._key if at._index is None else f"{at._key}[{at._index}]")
            at = at._outer
        return ".".join(reversed(parts))

    def take(self, key: str, kind: type | tuple[type, ...], expected: str) -> Any:
        """Return the value of a key, or None.

        Raises:
            DataError: the value is of another kind, here and in the methods below.
        """
        value = self.values.get(key)
        if value is None or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
            return value
        raise self.wrong(key, expected, value)

    def string(self, key: str) -> str | None:
        """Return a string, or None."""
        value: str | None = self.take(key, str, "a string")
        return None if value is None else self.sound(key, value)

    def required(self, key: str) -> str:
        """Return a string that must be there."""
        value = self.string(key)
        if value is None:
            raise self.error(f"has no '{key}'", here=True)
        return value

    def boolean(self, key: str) -> bool:
        """Return a boolean; one that is not there is false."""
        return bool(self.take(key, bool, "true or false"))

    def items(self, key: str) -> list[Any]:
        """Return a list; one that is not there is empty."""
        return self.take(key, list, "a list") or []

    def strings(self, key: str) -> list[str]:
        """Return a list of strings."""
        values = self.items(key)
        for n, value in enumerate(values):
            if not isinstance(value, str):
                raise self.wrong(f"{key}[{n}]", "a string", value)
            self.sound(f"{key}[{n}]", value)
        return values

    def object(self, key: str) -> JsonObject | None:
        """Return an object, or None."""
        value = self.take(key, dict, "an object")
        return None if value is None else self._inner(value, key)

    def objects(self, key: str, *, forget: bool = False) -> Iterator[JsonObject]:
        """Yield the objects of a list.

        Args:
            forget: whether each is taken out of the list, so that memory is free again when the caller is done with it.
        """
        values = self.items(key)
        for n, value in enumerate(values):
            if not isinstance(value, dict):
                raise self.wrong(f"{key}[{n}]", "an object", value)
            if forget:
                values[n] = None
            yield self._inner(value, key, n)

    def _inner(self, values: dict[str, Any], key: str, index: int | None = None) -> JsonObject:
        inner = JsonObject(values, path=self.path, line=self.line)
        inner._outer, inner._key, inner._index = self, key, index
        return inner

    def where(self, key: str) -> str:
        """Return where a key stands."""
        place = self.place
        return f"{place}.{key}" if place else key

    def sound(self, key: str, value: str) -> str:
        """Return a string that can be stored: JSON can spell half a character."""
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as e:
                problem = f"half of a surrogate pair (\\u{ord(value[e.start]):04x})"
                raise self.error(f"{self.where(key)}: {problem}") from None
        return value

    def wrong(self, key: str, expected: str, found: Any) -> DataError:
        """Return the error for a value of the wrong kind."""
        return self.error(f"{self.where(key)}: expected {expected}, found {_KINDS.get(type(found), 'a number')}")

    def error(self, problem: str, *, fix: str | None = None, here: bool = False) -> DataError:
        """Return an error with the file and the line, and with the place in it if `here`."""
        place = self.place if here else ""
        return DataError(f"{place}: {problem}" if place else problem, path=self.path, line=self.line, fix=fix)
