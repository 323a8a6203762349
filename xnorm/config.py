"""Configs: YAML files to frozen pydantic models.

A file may say `extends: other.yaml` (relative to itself, or one that comes with xnorm; mappings merge, everything else
is replaced), use `${env:VAR}` and `${package:NAME}` (the folder of an installed package) inside strings, and be
overridden by `dotted.key=value`. Unknown keys are refused. Relative paths are relative to the file they stand in.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from xnorm.errors import ConfigError
from xnorm.registry import did_you_mean, find_component

__all__ = [
    "AliasSpec",
    "CandidatesSpec",
    "CleanupSpec",
    "ComponentConfig",
    "CorpusSpec",
    "EncoderSpec",
    "InputPath",
    "MappingSpec",
    "RerankerSpec",
    "SourceSpec",
    "StrictModel",
    "TrainerSpec",
    "TranslatorSpec",
    "find_config",
    "merge",
    "override",
    "parse_options",
    "read_with_linker",
    "read_yaml",
    "validate",
]

M = TypeVar("M", bound=BaseModel)


class StrictModel(BaseModel):
    """Base of all configs: frozen, unknown keys refused with a hint, attribute docstrings become descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = {f.alias or name for name, f in cls.model_fields.items()} | set(cls.model_fields)
            for key in data:
                if key not in known:
                    raise ValueError(f"unknown key '{key}'; {did_you_mean(str(key), known)}")
        return data


class ComponentConfig(StrictModel):
    """Base of the config of a component: the one place where its parameters are declared."""

    seam: ClassVar[str]
    type: str
    """File name of the variant, or `module:Class` of your own."""


def _resolve_component(seam: str, data: Any) -> Any:
    if isinstance(data, ComponentConfig):
        return data
    if isinstance(data, str):
        data = {"type": data}
    if not isinstance(data, Mapping) or "type" not in data:
        raise ValueError(f"expected a mapping with a 'type', found {data!r}")
    try:
        component = find_component(seam, str(data["type"]))
    except ConfigError as e:
        raise ValueError(str(e)) from e
    return component.config_class.model_validate(data)


def _spec(seam: str) -> BeforeValidator:
    return BeforeValidator(lambda data: _resolve_component(seam, data))


SourceSpec = Annotated[SerializeAsAny[ComponentConfig], _spec("terminology")]
MappingSpec = Annotated[SerializeAsAny[ComponentConfig], _spec("mappings")]
AliasSpec = Annotated[SerializeAsAny[ComponentConfig], _spec("aliases")]
EncoderSpec = Annotated[SerializeAsAny[ComponentConfig], _spec("encoders")]
CandidatesSpec = Annotated[SerializeAsAny[ComponentConfig], _spec("candidates")]
RerankerSpec = Annotated[SerializeAsAny[ComponentConfig], _spec("reranking")]
TrainerSpec = Annotated[SerializeAsAny[ComponentConfig], _spec("training")]
CorpusSpec = Annotated[SerializeAsAny[ComponentConfig], _spec("corpora")]
TranslatorSpec = Annotated[SerializeAsAny[ComponentConfig], _spec("translators")]
CleanupSpec = Annotated[SerializeAsAny[ComponentConfig], _spec("cleanup")]


def _usable(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path cannot hold a null character")
    path = path.expanduser()
    try:
        path.exists()
    except OSError as e:  # such as a name that is too long
        raise ValueError(f"cannot be a path: {e.strerror}") from None
    return path


InputPath = Annotated[Path, AfterValidator(_usable)]
"""A file to read. In a config file a relative `path` is relative to that file; elsewhere to the working directory."""


def find_config(path: str | Path, *, folder: str = "") -> Path:
    """Return the config file that a path, or the name of one that comes with xnorm, stands for.

    Args:
        folder: of `configs`, in which a name is looked up.

    Raises:
        ConfigError: there is none; the message lists those that come with xnorm.
    """
    path = Path(path)
    try:
        _usable(path)
    except ValueError as e:
        raise ConfigError(f"{str(path)[:80]!r}: {e}") from None
    # what an installed config refers to is looked for in `configs` of the working directory, then among its neighbours
    beside = path.parent == Path.cwd() / "configs"
    if path.exists() or (path.parent != Path() and not beside):
        return path
    shipped = _shipped(folder)
    if beside and path.stem not in shipped:
        return path
    if path.stem not in shipped:
        built = Path("index") / path
        hint = f"did you mean {built}?" if built.is_dir() else did_you_mean(path.stem, shipped)
        raise ConfigError(f"{path}: no such file or folder, and no config of that name; {hint}")
    return shipped[path.stem]


def _shipped(folder: str = "") -> dict[str, Path]:
    """Return the configs that come with xnorm, by name."""
    package = Path(__file__).parent
    shipped: dict[str, Path] = {}
    for root in (package / "configs", package.parent / "configs"):  # installed, or a checkout
        shipped = shipped or {p.stem: p for p in (root / folder).glob("*.yaml")}
    return shipped


def read_yaml(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a config file: inheritance, overrides, interpolation.

    Raises:
        ConfigError: the file is missing, empty, not YAML, not a mapping, or extends itself.
    """
    data = _read_with_parents(Path(path), ())
    for text in overrides:
        override(data, text)
    return {k: _interpolate(v, str(path)) for k, v in data.items()}


def read_with_linker(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a config whose `linker` may name the file of another as `path`: the keys beside it are laid over that file.

    Raises:
        ConfigError: as `read_yaml`.
    """
    # which file the linker is of comes first, for the other overrides may be of keys of that file
    which = [text for text in overrides if text.partition("=")[0].strip() in ("linker", "linker.path")]
    data = read_yaml(path, which)
    linker = data.get("linker")
    if isinstance(linker, dict) and "path" in linker:
        own = {key: value for key, value in linker.items() if key != "path"}
        named = Path(str(linker["path"]))
        found = find_config(named if named.suffix or named.exists() else named.name)
        data["linker"] = merge(read_yaml(found), own)
    for text in overrides:
        if text not in which:
            override(data, text)
    return data


def validate(model: type[M], data: Mapping[str, Any], *, where: str) -> M:
    """Make a model from plain data.

    Args:
        where: what to call the data in an error, a file name as a rule.

    Raises:
        ConfigError: with the key, the value seen and what was expected, on one line.
    """
    try:
        return model.model_validate(data)
    except ValidationError as e:
        raise ConfigError(f"{where}: {_one_line(e)}") from e


def _one_line(error: ValidationError) -> str:
    """Say each problem as `key: what is wrong`."""
    problems = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        # a component's own errors arrive as one error with the inner location in its text
        if isinstance(item.get("ctx", {}).get("error"), ValidationError):
            message = _one_line(item["ctx"]["error"])
        seen = item.get("input")
        if item["type"] not in {"value_error", "missing"} and isinstance(seen, (str, int, float, bool)):
            message += f" (found {seen!r})"
        problems.append(f"{key}: {message}" if key else message)
    return "; ".join(problems)


def _read_with_parents(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve()
    if path in seen:
        raise ConfigError(f"{path}: extends itself ({' -> '.join(p.name for p in (*seen, path))})")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, expected a config file") from None
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    except (yaml.YAMLError, RecursionError) as e:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(e).split())}") from e
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, found {type(data).__name__}")
    try:
        data = _anchor_paths(data, _standing_in(path))
    except RecursionError:
        raise ConfigError(f"{path}: an anchor refers to itself") from None
    parents = data.pop("extends", None)
    below: dict[str, Any] = {}
    for parent in parents if isinstance(parents, list) else [parents] * (parents is not None):
        below = merge(below, _read_with_parents(_parent(path.parent, str(parent)), (*seen, path)))
    return merge(below, data)


def _parent(folder: Path, name: str) -> Path:
    """Return the file that `extends` names: beside the config, or else one that comes with xnorm."""
    beside = folder / name
    if beside.exists() or Path(name).parent != Path():
        return beside
    return _shipped().get(name.removesuffix(".yaml"), beside)


def _standing_in(path: Path) -> Path:
    """Return the folder that a config's files are relative to; one that comes with an installed xnorm is taken as if it
    stood in `configs` of the working directory, since nothing is to be put beside an installed package."""
    installed = Path(__file__).resolve().parent / "configs"
    inside = path.parent.is_relative_to(installed)
    return Path.cwd() / "configs" / path.parent.relative_to(installed) if inside else path.parent


def _anchor_paths(data: Any, folder: Path) -> Any:
    """Make relative files absolute before configs are merged: each is relative to the file it stands in.

    That is every value of a key `path`, and a `model` that is written as a path (`./e5`, `../models/e5`).
    """
    if isinstance(data, dict):
        return {k: _anchor(k, v, folder) if isinstance(v, str) else _anchor_paths(v, folder) for k, v in data.items()}
    if isinstance(data, list):
        return [_anchor_paths(v, folder) for v in data]
    return data


def _anchor(key: str, value: str, folder: Path) -> str:
    is_path = (key == "path" and not value.startswith(("~", "${"))) or (
        key == "model" and value.startswith(("./", "../"))
    )
    return os.path.normpath(folder / value) if is_path else value


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one config over another: mappings merge, unless both name a `type` and it differs; all else is replaced."""
    if {"type"} <= below.keys() & above.keys() and below["type"] != above["type"]:
        return dict(above)
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Return KEY=VALUE strings as a mapping; values are YAML.

    Raises:
        ConfigError: one is not of that form.
    """
    data: dict[str, Any] = {}
    for option in options:
        override(data, option)
    return data


def override(data: dict[str, Any], setting: str) -> None:
    """Replace a key of plain config data by `dotted.key=value`; the value is YAML.

    Raises:
        ConfigError: it is not of that form, or there is no such place.
    """
    key, eq, text = setting.partition("=")
    if not eq or not key.strip():
        raise ConfigError(f"override '{setting}': expected KEY=VALUE, as in candidates.depth=256")
    *parents, last = key.strip().split(".")
    at: Any = data
    for part in parents:
        at = _step(at, part, setting)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as e:
        hint = '; quote what holds brackets or colons, as in metrics=["f1[strict]"]'
        raise ConfigError(f"override '{setting}': the value is not valid YAML: {' '.join(str(e).split())}{hint}") from e
    if isinstance(at, list):
        at[_position(at, last, setting)] = value
    elif isinstance(at, dict):
        at[last] = value
    else:
        raise ConfigError(f"override '{setting}': '{'.'.join(parents)}' is a plain value and has no keys")


def _step(at: Any, part: str, override: str) -> Any:
    if isinstance(at, list):
        return at[_position(at, part, override)]
    if isinstance(at, dict):
        if at.get(part) is None:
            at[part] = {}
        return at[part]
    raise ConfigError(f"override '{override}': nothing to step into at '{part}'")


def _position(at: list[Any], part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(at):
        raise ConfigError(f"override '{override}': expected a position from 0 to {len(at) - 1}, found '{part}'")
    return int(part)


_REFERENCE = re.compile(r"\$\{(\w+):([^}]*)\}")


def _interpolate(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {k: _interpolate(v, where) for k, v in value.items()}
    if isinstance(value, list):
        return [_interpolate(v, where) for v in value]
    return _REFERENCE.sub(lambda m: _look_up(m[1], m[2], where), value) if isinstance(value, str) else value


def _look_up(kind: str, name: str, where: str) -> str:
    if kind == "env":
        if name not in os.environ:
            raise ConfigError(f"{where}: the environment variable {name} is not set; export {name}=... first")
        return os.environ[name]
    if kind == "package":
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(f"{where}: the package '{name}' is not installed; pip install {name}")
        return str(next(iter(spec.submodule_search_locations)))
    raise ConfigError(f"{where}: unknown reference '${{{kind}:{name}}}'; known: ${{env:VAR}}, ${{package:NAME}}")
