"""Run a BigBIO loading script on corpus files of yours and write Parquet, in the BigBIO schema.

BigBIO (J. Fries et al., NeurIPS 2022, https://github.com/bigscience-workshop/biomedical) gives its corpora as Python
scripts, bigbio/hub/hub_repos/NAME/NAME.py with bigbiohub.py beside it, which `datasets` from version 4 on refuses to
run. Neither the scripts nor the corpora are part of xnorm: mind the licence of each.

THIS EXECUTES THE LOADING SCRIPT, with all that you may do on this machine. Read it first; run only what you trust.

    python data_scripts/bigbio.py quaero.py --config quaero_emea_bigbio_kb --files FOLDER --output data/quaero
    python data_scripts/bigbio.py bronco.py --data-dir FOLDER --output data/bronco  # a corpus that is not on the web

It needs `pip install 'xnorm[torch]'` for `datasets`, and what the script imports (often `bioc` or `pandas`). Where
the script would download an address, it gets the PATH of --map ADDRESS=PATH, a file or a folder that is extracted
already (an empty one for an address that the config does not use); else the file in --files named as the address' last
part; else, with --download, it is downloaded (http and https) to --cache or OUTPUT/downloads. Archives are extracted
beside the output while this runs; links, paths that lead out and more than 20 GB are refused.

What is written, whole or not at all
    OUTPUT/SPLIT.parquet    the rows, in the script's order and with its types: what `datasets` would have written
    OUTPUT/source.json      script, config, licence, addresses, sizes, SHA-256, package versions and counts
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import http.client
import importlib.metadata
import importlib.util
import io
import itertools
import json
import os
import re
import stat
import sys
import tarfile
import tempfile
import traceback
import urllib.request
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import ModuleType
from typing import IO, Any
from urllib.parse import unquote, urlsplit

KB = "bigbio_kb"  # the schema that is taken when no config is named
LIMIT = 20_000_000_000  # bytes that downloads and archives may take together


class InputError(Exception):
    """The script or its files cannot be used; the message is one line."""


def one_line(error: BaseException) -> str:
    """Return an error's message without line ends."""
    return " ".join(str(error).split())[:500] or type(error).__name__


def nested(function: Callable[[str], str], value: Any) -> Any:
    """Apply a function to all strings in dicts, lists and tuples."""
    if isinstance(value, dict):
        return {key: nested(function, v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(nested(function, v) for v in value)
    return function(os.fspath(value))


def entries(archive: Path, *, zipped: bool) -> Iterator[tuple[str, bool, IO[bytes] | None]]:
    """Yield (path, whether it is a link or device, content) of what a zip or tar holds; a folder has no content."""
    if zipped:
        with zipfile.ZipFile(archive) as z:
            for entry in z.infolist():
                yield entry.filename, stat.S_ISLNK(entry.external_attr >> 16), None if entry.is_dir() else z.open(entry)
        return
    with tarfile.open(archive) as t:
        for member in t:
            content = t.extractfile(member) if member.isfile() else None
            yield member.name, not (member.isfile() or member.isdir()), content


class DownloadManager:
    """What the script gets in place of the download manager of `datasets`: it finds files that are here."""

    def __init__(self, options: argparse.Namespace, downloads: Path, scratch: Path) -> None:
        """Take the command's options, a folder for downloads and one for what is extracted."""
        from datasets.utils import file_utils

        self.iterables: Any = file_utils
        self.options, self.downloads, self.scratch = options, downloads, scratch
        self.manual_dir: str | None = options.data_dir and str(options.data_dir)
        self.left = LIMIT
        self.sources: dict[str, Path] = {}  # address -> the file used
        self.extracted: dict[str, str] = {}
        self.missing: dict[str, str] = {}  # a path that is not there -> its address; the script goes on to the others

    def download(self, url_or_urls: Any) -> Any:
        """Return the local path for each address."""
        return nested(self._find, url_or_urls)

    def extract(self, path_or_paths: Any) -> Any:
        """Return the folder or file that each archive was extracted to; a path for what is no archive."""
        return nested(self._extract, path_or_paths)

    def download_and_extract(self, url_or_urls: Any) -> Any:
        """Return the extracted local path for each address."""
        return self.extract(self.download(url_or_urls))

    def iter_archive(self, path_or_buf: Any) -> Iterable[tuple[str, IO[bytes]]]:
        """Return (path, open file) of each file in an archive; with an extracted folder, of each file in that."""
        if hasattr(path_or_buf, "read"):
            return self.iterables.ArchiveIterable.from_buf(path_or_buf)
        if str(path_or_buf) in self.missing or Path(path_or_buf).is_dir():
            found = map(Path, self.iter_files(path_or_buf))
            return ((path.relative_to(path_or_buf).as_posix(), io.BytesIO(path.read_bytes())) for path in found)
        return self.iterables.ArchiveIterable.from_urlpath(str(path_or_buf))

    def iter_files(self, paths: Any) -> Iterable[str]:
        """Return the files among the paths and in the folders among them."""
        paths = paths if isinstance(paths, (list, tuple)) else [paths]
        return self.iterables.FilesIterable.from_urlpaths([str(p) for p in paths if str(p) not in self.missing])

    def check(self) -> None:
        """Refuse to go on when addresses have no file."""
        if self.missing:
            how = "give --map ADDRESS=PATH for each, --files FOLDER that has files of these names, or --download"
            raise InputError(f"no file for {', '.join(self.missing.values())}; {how}")

    def _find(self, address: str) -> str:
        if address not in self.sources and not Path(address).is_absolute():
            name = PurePosixPath(unquote(urlsplit(address).path)).name
            beside = None if "://" in address else self.options.script.parent / address
            path = self.options.map.get(address) or self._among_files(address, name)
            path = path or (beside if beside and beside.exists() else self._downloaded(address, name))
            if path is None:
                self.missing[absent := str(self.scratch / f"missing-{address}")] = address
                return absent
            if path.is_file() and path.stat().st_size < 300 and b"//git-lfs" in path.read_bytes()[:30]:
                raise InputError(f"{path}: is a Git LFS pointer; fetch the file and give --map {address}=PATH")
            self.sources[address] = path
        return str(self.sources.get(address, address))

    def _among_files(self, address: str, name: str) -> Path | None:
        path: Path | None = self.options.files and self.options.files / name
        if other := next((a for a, used in self.sources.items() if used == path), None):
            raise InputError(f"{path}: would be used for both {other} and {address}; tell them apart with --map")
        return path if path and path.is_file() else None

    def _downloaded(self, address: str, name: str) -> Path | None:
        mark = hashlib.sha256(address.encode()).hexdigest()[:8]  # two addresses may end alike
        target = self.downloads / f"{mark}-{name[-100:]}"
        if target.is_file() or not self.options.download:
            return target if target.is_file() else None
        try:
            unfinished = self.downloads / f"{target.name}.part"
            if urlsplit(address).scheme not in ("http", "https"):
                raise ValueError("only http and https are")
            request = urllib.request.Request(address, headers={"User-Agent": "xnorm"})
            with urllib.request.urlopen(request, timeout=60) as response:
                self._copy(response, unfinished)
                expected = response.headers.get("Content-Length") or unfinished.stat().st_size
                if int(expected) != unfinished.stat().st_size or urlsplit(response.url).scheme not in ("http", "https"):
                    raise ValueError(f"{response.url} ended early or is not http or https")
        except (OSError, ValueError, http.client.HTTPException) as e:
            raise InputError(f"{address}: not downloaded: {one_line(e)}; fetch it yourself and give --map") from e
        return unfinished.replace(target)

    def _extract(self, path: str) -> str:
        if path in self.missing or Path(path).is_dir():
            return path
        if path not in self.extracted:
            try:
                self.extracted[path] = str(self._unpack(Path(path), self.scratch / str(len(self.extracted))))
            except (InputError, zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError) as e:
                raise InputError(f"{path}: not extracted: {one_line(e)}") from e
        return self.extracted[path]

    def _unpack(self, archive: Path, folder: Path) -> Path:
        with archive.open("rb") as file:
            first = file.read(4)
        zipped = first in (b"PK\3\4", b"PK\5\6")
        if zipped or tarfile.is_tarfile(archive):
            folder.mkdir(parents=True)
            for name, link, content in entries(archive, zipped=zipped):
                path = PureWindowsPath(name)  # whose separators are / and \
                if link or path.anchor or ".." in path.parts:
                    raise InputError(f"'{name}' is a link or leads out of it; extract it yourself and --map the folder")
                if content is not None:
                    self._copy(content, folder.joinpath(*path.parts))
            return folder
        if not first.startswith(b"\x1f\x8b"):
            return archive
        with gzip.open(archive) as unzipped:
            self._copy(unzipped, folder / archive.stem)
        return folder / archive.stem

    def _copy(self, source: Any, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            while chunk := source.read(1 << 20):
                self.left -= len(chunk)
                if self.left < 0:
                    raise InputError(f"downloads and archives take more than {LIMIT:,} bytes")
                out.write(chunk)


@contextmanager
def running(script: Path) -> Iterator[None]:
    """Turn what the script raises into one line with the script's name, the line and the exception."""
    try:
        yield
    except (Exception, SystemExit) as e:
        if isinstance(e, InputError):
            raise
        lines = [f":{frame.lineno}" for frame in traceback.extract_tb(e.__traceback__) if frame.filename == str(script)]
        raise InputError(f"{script}{''.join(lines[-1:])}: {type(e).__name__}: {one_line(e)}") from e


def load(script: Path) -> ModuleType:
    """Execute the script as a module of a package made of its folder, and write no bytecode there."""
    package = "bigbio_script_" + os.urandom(4).hex()  # a second call in the same process loads anew
    sys.modules[package] = ModuleType(package)
    sys.modules[package].__path__ = [str(script.parent)]
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(f"{package}.{script.stem}")
    except ModuleNotFoundError as e:
        wanted = str(e.name).removeprefix(f"{package}.")
        if wanted == e.name:
            raise InputError(f"{script}: imports '{wanted}', which is not installed here") from e
        raise InputError(f"{script}: needs {wanted}.py beside it; take the one of the script's BigBIO folder") from e


def make_builder(module: ModuleType, options: argparse.Namespace, cache: Path) -> Any:
    """Return the script's builder with the config that is wanted; without a wish, the only one of the KB schema."""
    import datasets

    own = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    found: list[Any] = [c for c in own if issubclass(c, datasets.GeneratorBasedBuilder)]
    if len(found) != 1:
        raise InputError(f"{options.script}: has {len(found)} subclasses of datasets.GeneratorBasedBuilder, not one")
    schemas = {c.name: getattr(c, "schema", None) for c in found[0].BUILDER_CONFIGS}
    suited = [n for n, schema in schemas.items() if (schema == KB if options.config is None else n == options.config)]
    if len(suited) != 1:
        problem = f"'{options.config}' is no config" if options.config else f"{len(suited)} configs of the schema {KB}"
        raise InputError(f"{options.script}: {problem}; give --config NAME, one of: {', '.join(suited or schemas)}")
    builder = found[0](cache_dir=str(cache), config_name=suited[0], data_dir=options.data_dir and str(options.data_dir))
    if builder.info.features is None:
        raise InputError(f"{options.script}: config '{suited[0]}' declares no features")
    return builder


def write_split(rows: Iterable[tuple[Any, Any]], features: Any, path: Path) -> Counter[str]:
    """Write the rows of a split, with the types that the script declares; return what was counted."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts = Counter(documents=0, entities=0, normalized_ids=0)
    encoded = (features.encode_example(row) for _, row in rows)
    with pq.ParquetWriter(path, features.arrow_schema) as writer:
        while batch := list(itertools.islice(encoded, 1000)):
            writer.write_table(pa.Table.from_pylist(batch, schema=features.arrow_schema))
            entities = [e for row in batch for e in row.get("entities") or () if isinstance(e, dict)]
            counts.update(documents=len(batch), entities=len(entities))
            counts["normalized_ids"] += sum(bool(n.get("db_id")) for e in entities for n in e.get("normalized") or [])
    return counts


def write_splits(builder: Any, manager: DownloadManager, folder: Path) -> dict[str, Counter[str]]:
    """Run the script's generators and write a file each; return the counts by split."""
    splits: dict[str, Counter[str]] = {}
    try:
        for generator in builder._split_generators(manager):
            manager.check()
            name = str(generator.name)
            if not re.fullmatch(r"\w+([.-]\w+)*", name) or name in splits:
                raise ValueError(f"'{name}' is no name for a split, or there are two of it")
            rows = builder._generate_examples(**generator.gen_kwargs)
            splits[name] = write_split(rows, builder.info.features, folder / f"{name}.parquet")
    finally:
        manager.check()  # what is missing explains what the script raised
    if not any(counts["documents"] for counts in splits.values()):
        raise InputError(f"{manager.options.script}: found no documents in the files it was given")
    return splits


def fingerprint(path: Path) -> dict[str, Any]:
    """Return name, size and SHA-256 of a file; of a folder, the SHA-256 of its files' names, sizes and contents."""
    digest, size = hashlib.sha256(), 0
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        if file != path:
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while chunk := content.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
    return {"file": path.name, "bytes": size, "sha256": digest.hexdigest()}


def describe(builder: Any, manager: DownloadManager, splits: dict[str, Counter[str]]) -> dict[str, Any]:
    """Return what source.json says."""
    package = builder.__module__.partition(".")[0] + "."
    beside = [m.__file__ for name, m in sys.modules.items() if name.startswith(package) and name != builder.__module__]
    info = {key: (getattr(builder.info, key, None) or "").strip() for key in ("license", "homepage", "citation")}
    found = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    names = ("xnorm", "datasets", "pyarrow", "pandas", "bioc", "lxml")
    return {
        "script": fingerprint(Path(sys.modules[builder.__module__].__file__ or "")),
        "imported": [fingerprint(Path(file)) for file in beside if file],
        "builder": type(builder).__name__,
        "config": builder.config.name,
        "version": str(builder.config.version),
        **{key: text for key, text in info.items() if text},
        "sources": [{"address": address, **fingerprint(path)} for address, path in manager.sources.items()],
        **({"data_dir": fingerprint(Path(manager.manual_dir))} if manager.manual_dir else {}),
        "packages": {"python": sys.version.split()[0], **{name: found[name] for name in names if name in found}},
        "splits": splits,
    }


def mapping(text: str) -> tuple[str, Path]:
    """Split ADDRESS=PATH where the path is one that exists; both may have a = in them."""
    parts = [(text[: m.start()], Path(text[m.end() :])) for m in re.finditer("=", text)]
    for address, path in reversed(parts):
        if path.name and path.exists():
            return address, path.resolve()
    raise InputError(f"--map {text}: expected ADDRESS=PATH, the path of a file or folder that is there")


def check_paths(options: argparse.Namespace) -> None:
    """Make the paths absolute; refuse inputs that are not there, and to replace what is read or not of this script."""
    options.map = dict(map(mapping, options.map))
    options.output = output = options.output.resolve()
    for name in ("script", "files", "data_dir", "cache"):
        path = getattr(options, name)
        setattr(options, name, path and path.resolve())
        if path and name != "cache" and not path.exists():
            raise InputError(f"{path}: is not there")
    if output.exists() and not (options.overwrite and (output / "source.json").is_file()):
        raise InputError(f"{output}: is there already; --overwrite replaces it if this script wrote it (source.json)")
    read = [options.script, options.files, options.data_dir, options.cache, *options.map.values()]
    if path := next((p for p in read if p and p.is_relative_to(output)), None):
        raise InputError(f"{path}: is in {output}, which is replaced as a whole; move it out")


def convert(options: argparse.Namespace) -> None:
    """Run the script and write its splits, whole or not at all."""
    check_paths(options)
    if importlib.util.find_spec("datasets") is None:
        raise InputError("the package datasets is needed: pip install 'xnorm[torch]'")
    (output := options.output).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{output.name}.part-", dir=output.parent) as name:
        folder, made = Path(name), Path(name) / "made"
        made.mkdir()
        with running(options.script):
            builder = make_builder(load(options.script), options, folder / "cache")
            manager = DownloadManager(options, options.cache or made / "downloads", folder / "extracted")
            splits = write_splits(builder, manager, made)
        text = json.dumps(describe(builder, manager, splits), ensure_ascii=False, indent=2)
        (made / "source.json").write_text(text + "\n", encoding="utf-8")
        if output.exists():
            output.replace(folder / "old")
        made.replace(output)
    for split, counts in splits.items():
        print(f"{split}: " + ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in counts.items()))
    print(f"wrote {output}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status: 0, or 2 when the script or its files cannot be used."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("script", type=Path, help="the loading script; IT IS EXECUTED")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--config", help=f"name of the config; default: the only one of the schema {KB}")
    parser.add_argument("--map", action="append", default=[], metavar="ADDRESS=PATH", help="file or folder to use")
    parser.add_argument("--files", type=Path, help="folder with files named as the addresses' last parts")
    parser.add_argument("--data-dir", type=Path, help="folder of a corpus that the script does not download")
    parser.add_argument("--download", action="store_true", help="download what is not here")
    parser.add_argument("--cache", type=Path, help="folder that keeps downloads; default: OUTPUT/downloads")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that is there")
    try:
        convert(parser.parse_args(arguments))
    except (InputError, OSError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
