"""The script that runs BigBIO's loading scripts, on a loading script and files of our own making."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

datasets = pytest.importorskip("datasets")
import pyarrow.parquet as pq  # noqa: E402

SCRIPT = Path(__file__).parent.parent / "data_scripts" / "bigbio.py"
HUB = """
from dataclasses import dataclass
import datasets

@dataclass
class BigBioConfig(datasets.BuilderConfig):
    name: str = None
    version: datasets.Version = None
    schema: str = None
    subset_id: str = None

text = datasets.Value("string")
offsets = datasets.Sequence([datasets.Value("int32")])
normalized = [{"db_name": text, "db_id": text}]
kb_features = datasets.Features({
    "id": text, "document_id": text,
    "passages": [{"id": text, "type": text, "text": datasets.Sequence(text), "offsets": offsets}],
    "entities": [
        {"id": text, "type": text, "text": datasets.Sequence(text), "offsets": offsets, "normalized": normalized}
    ],
})
"""
TOY = """
import datasets
from pathlib import Path
from .bigbiohub import BigBioConfig, kb_features

VERSION = datasets.Version("1.2.0")

class Toy(datasets.GeneratorBasedBuilder):
    BUILDER_CONFIGS = [
        BigBioConfig(name=f"toy_{schema}", version=VERSION, schema=schema, subset_id="toy") for schema in SCHEMAS
    ]
    DEFAULT_CONFIG_NAME = "toy_source"

    def _info(self):
        features = datasets.Features({"line": datasets.Value("string")})
        features = features if self.config.schema == "source" else kb_features
        return datasets.DatasetInfo(features=features, license="CC0", homepage="https://toy.org", citation="")

    def _split_generators(self, dl_manager):
        found = FIND
        return [datasets.SplitGenerator(name=datasets.Split.TRAIN, gen_kwargs={"lines": lines(found, dl_manager)})]

    def _generate_examples(self, lines):
        for n, line in enumerate(lines):
            text, _, code = line.partition("=")
            if self.config.schema == "source":
                yield n, {"line": line}
                continue
            span = [(0, len(text))]
            yield n, {
                "id": n, "document_id": f"d{n}",
                "passages": [{"id": f"p{n}", "type": "title", "text": [text], "offsets": span}],
                "entities": [{"id": f"e{n}", "type": "Sign", "text": [text], "offsets": span, "normalized": [
                    {"db_name": "T", "db_id": part} for part in code.split("|") if part
                ]}],
            }

def lines(found, dl_manager):
    MORE
    if isinstance(found, dict):
        found = list(found.values())
    for path in found if isinstance(found, (list, tuple)) else [found]:
        for file in dl_manager.iter_files(str(path)) if not isinstance(path, list) else path:
            with open(file, encoding="utf-8") as f:
                yield from f.read().splitlines()
"""
ADDRESS = "https://toy.org/a/toy.txt?download=1"
FIND = f"dl_manager.download_and_extract({ADDRESS!r})"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bigbio_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_toy(folder: Path, find: str = FIND, *, schemas: str = "source bigbio_kb", more: str = "pass") -> str:
    """Write the loading script and its bigbiohub.py, and a corpus of two lines."""
    folder.mkdir(exist_ok=True)
    (folder / "bigbiohub.py").write_text(HUB)
    code = TOY.replace("FIND", find).replace("SCHEMAS", repr(schemas.split())).replace("MORE", more)
    (folder / "toy.py").write_text(code)
    (folder / "toy.txt").write_text("Kopfweh=C1|C2\nmal de tête=\n", encoding="utf-8")
    return str(folder / "toy.py")


def fails(script: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Return the one line that it says, having written nothing."""
    output = Path(arguments[arguments.index("--output") + 1])
    before = sorted(p.name for p in output.parent.iterdir())
    capsys.readouterr()
    assert script.main(arguments) == 2
    assert sorted(p.name for p in output.parent.iterdir()) == before
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("error: ").strip()


def texts(folder: Path) -> list[str]:
    return [row["passages"][0]["text"][0] for row in pq.read_table(folder / "train.parquet").to_pylist()]


def test_rows_and_types_are_those_of_datasets(script, tmp_path, capsys):
    toy, output = write_toy(tmp_path / "in"), tmp_path / "out"
    assert script.main([toy, "--map", f"{ADDRESS}={tmp_path / 'in' / 'toy.txt'}", "--output", str(output)]) == 0
    assert pq.read_table(output / "train.parquet").to_pylist() == [
        {
            "id": "0",
            "document_id": "d0",
            "passages": [{"id": "p0", "type": "title", "text": ["Kopfweh"], "offsets": [[0, 7]]}],
            "entities": [
                {
                    "id": "e0",
                    "type": "Sign",
                    "text": ["Kopfweh"],
                    "offsets": [[0, 7]],
                    "normalized": [{"db_name": "T", "db_id": "C1"}, {"db_name": "T", "db_id": "C2"}],
                }
            ],
        },
        {
            "id": "1",
            "document_id": "d1",
            "passages": [{"id": "p1", "type": "title", "text": ["mal de tête"], "offsets": [[0, 11]]}],
            "entities": [{"id": "e1", "type": "Sign", "text": ["mal de tête"], "offsets": [[0, 11]], "normalized": []}],
        },
    ]
    read = datasets.load_dataset(
        "parquet", data_files={"train": str(output / "train.parquet")}, cache_dir=str(tmp_path / "cache")
    )["train"]
    assert read.features["entities"].feature["offsets"].feature.feature == datasets.Value("int32")
    assert read[0]["entities"][0]["normalized"][1]["db_id"] == "C2"
    assert capsys.readouterr().out == f"train: 2 documents, 2 entities, 2 normalized ids\nwrote {output}\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "in", "out"]
    assert sorted(p.name for p in (tmp_path / "in").iterdir()) == ["bigbiohub.py", "toy.py", "toy.txt"]


def test_source_says_what_was_run_on_what(script, tmp_path):
    toy, output = write_toy(tmp_path / "in"), tmp_path / "out"
    assert script.main([toy, "--files", str(tmp_path / "in"), "--output", str(output)]) == 0
    source = json.loads((output / "source.json").read_text(encoding="utf-8"))
    content = (tmp_path / "in" / "toy.txt").read_bytes()
    assert source["packages"].pop("datasets") == datasets.__version__
    assert source["packages"].pop("python") == sys.version.split()[0]
    assert source.pop("packages")
    hashes = {name: hashlib.sha256((tmp_path / "in" / name).read_bytes()) for name in ("toy.py", "bigbiohub.py")}
    assert source == {
        "script": {"file": "toy.py", "bytes": Path(toy).stat().st_size, "sha256": hashes["toy.py"].hexdigest()},
        "imported": [
            {"file": "bigbiohub.py", "bytes": len(HUB), "sha256": hashes["bigbiohub.py"].hexdigest()},
        ],
        "builder": "Toy",
        "config": "toy_bigbio_kb",
        "version": "1.2.0",
        "license": "CC0",
        "homepage": "https://toy.org",
        "sources": [
            {
                "address": ADDRESS,
                "file": "toy.txt",
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
        "splits": {"train": {"documents": 2, "entities": 2, "normalized_ids": 2}},
    }


def test_every_missing_address_is_named(script, tmp_path, capsys):
    find = "dl_manager.download_and_extract({'a': ['https://toy.org/1'], 'b': dl_manager.iter_archive("
    find += "dl_manager.download('https://toy.org/2.zip')) and 'https://toy.org/3'})"
    toy = write_toy(tmp_path / "in", find, more="raise KeyError('too early')")
    said = fails(script, capsys, [toy, "--output", str(tmp_path / "out")])
    assert said.startswith(
        "no file for https://toy.org/2.zip, https://toy.org/1, https://toy.org/3; give --map ADDRESS="
    )


def test_nested_addresses_archives_and_local_paths(script, tmp_path):
    folder = tmp_path / "in"
    find = "dl_manager.download_and_extract({datasets.Split.TRAIN: ('https://t/1.zip', ['https://t/2.tar.gz']),"
    find += " 'x': 'https://t/3.txt.gz', 'y': 'toy.txt', 'z': 'https://t/folder'})"
    more = "found = [*found['train'][0:1], *found['train'][1], *list(found.values())[1:]]"
    toy = write_toy(folder, find, more=more)
    with zipfile.ZipFile(folder / "1.zip", "w") as z:
        z.writestr("x/a.txt", "one=")
        z.writestr("x/.hidden", "hidden=")
    with tarfile.open(folder / "2.tar.gz", "w:gz") as t:
        t.add(folder / "toy.txt", "b/toy.txt")
    (folder / "3.txt.gz").write_bytes(script.gzip.compress(b"three="))
    (folder / "open").mkdir()
    (folder / "open" / "d.txt").write_text("four=")
    arguments = ["--files", str(folder), "--map", f"https://t/folder={folder / 'open'}", "--output"]
    assert script.main([toy, *arguments, str(tmp_path / "out")]) == 0
    pair = ["Kopfweh", "mal de tête"]
    assert texts(tmp_path / "out") == ["one", *pair, "three", *pair, "four"]


@pytest.mark.parametrize("kind", ["zip", "tar", "folder"])
def test_archives_are_iterated_without_extracting(script, tmp_path, kind):
    toy = write_toy(
        tmp_path / "in",
        "dl_manager.download('https://t/a')",
        more="yield from (name + content.read().decode() for name, content in dl_manager.iter_archive(found)); return",
    )
    archive = tmp_path / "archive"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as z:
            z.writestr("x/a", "A")
    elif kind == "tar":
        with tarfile.open(archive, "w") as t:
            member = tarfile.TarInfo("x/a")
            member.size = 1
            t.addfile(member, io.BytesIO(b"A"))
    else:
        (archive / "x").mkdir(parents=True)
        (archive / "x" / "a").write_text("A")
    assert script.main([toy, "--map", f"https://t/a={archive}", "--output", str(tmp_path / "out")]) == 0
    assert texts(tmp_path / "out") == ["x/aA"]


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt", "C:\\out.txt"])
def test_a_member_that_leads_out_is_refused(script, tmp_path, capsys, name):
    toy = write_toy(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "toy.txt", "w") as z:
        z.writestr(name, "x")
    said = fails(script, capsys, [toy, "--files", str(tmp_path), "--output", str(tmp_path / "out")])
    assert "leads out of it; extract it yourself and --map the folder" in said
    assert not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(script, tmp_path, capsys, kind):
    toy = write_toy(tmp_path / "in")
    with tarfile.open(tmp_path / "toy.txt", "w") as t:
        member = tarfile.TarInfo("etc")
        member.type, member.linkname = kind, "/etc"
        t.addfile(member)
    said = fails(script, capsys, [toy, "--files", str(tmp_path), "--output", str(tmp_path / "out")])
    assert "'etc' is a link or leads out of it" in said


def test_a_link_in_a_zip_and_a_bomb_and_a_torn_archive_are_refused(script, tmp_path, capsys, monkeypatch):
    toy, archive = write_toy(tmp_path / "in"), tmp_path / "toy.txt"
    arguments = [toy, "--files", str(tmp_path), "--output", str(tmp_path / "out")]
    link = zipfile.ZipInfo("etc")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr(link, "/etc")
    assert "'etc' is a link" in fails(script, capsys, arguments)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("zeros", bytes(100_000))
    monkeypatch.setattr(script, "LIMIT", 99_999)
    assert "take more than 99,999 bytes" in fails(script, capsys, arguments)
    archive.write_bytes(archive.read_bytes()[:60])
    assert "toy.txt: not extracted: " in fails(script, capsys, arguments)


def test_a_config_is_named_where_there_is_a_choice(script, tmp_path, capsys):
    folder, output = tmp_path / "in", tmp_path / "out"
    toy = write_toy(folder, schemas="source bigbio_text")
    arguments = [toy, "--files", str(folder), "--output", str(output)]
    said = fails(script, capsys, arguments)
    assert said.endswith("0 configs of the schema bigbio_kb; give --config NAME, one of: toy_source, toy_bigbio_text")
    assert "'x' is no config; give --config NAME, one of: toy_source" in fails(
        script, capsys, [*arguments, "--config", "x"]
    )
    assert script.main([*arguments, "--config", "toy_source"]) == 0
    assert pq.read_table(output / "train.parquet").to_pydict() == {"line": ["Kopfweh=C1|C2", "mal de tête="]}
    assert json.loads((output / "source.json").read_text())["splits"]["train"]["documents"] == 2


def test_two_kb_configs_are_listed(script, tmp_path, capsys):
    toy = write_toy(tmp_path / "in")
    code = Path(toy).read_text().replace("\n    ]\n", '\n    ] + [BigBioConfig(name="b", schema="bigbio_kb")]\n', 1)
    Path(toy).write_text(code)
    said = fails(script, capsys, [toy, "--output", str(tmp_path / "out")])
    assert said.endswith("2 configs of the schema bigbio_kb; give --config NAME, one of: toy_bigbio_kb, b")


def test_a_local_corpus_is_read_from_its_folder(script, tmp_path, capsys):
    toy = write_toy(tmp_path / "in", "[Path(self.config.data_dir) / 'toy.txt', dl_manager.manual_dir]")
    output = tmp_path / "out"
    assert "toy.py:20: TypeError: " in fails(script, capsys, [toy, "--output", str(output)])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "toy.txt").write_text("one=")
    assert script.main([toy, "--data-dir", str(tmp_path / "data"), "--output", str(output)]) == 0
    assert texts(output) == ["one", "one"]
    source = json.loads((output / "source.json").read_text())
    assert source["sources"] == []
    digest = hashlib.sha256(b"toy.txt\x004\x00one=").hexdigest()
    assert source["data_dir"] == {"file": "data", "bytes": 4, "sha256": digest}


def test_only_an_output_of_its_own_is_replaced(script, tmp_path, capsys):
    folder, output = tmp_path / "in", tmp_path / "out"
    arguments = [write_toy(folder), "--files", str(folder), "--output", str(output)]
    output.mkdir()
    (output / "mine").write_text("precious")
    assert "is there already" in fails(script, capsys, [*arguments, "--overwrite"])
    (output / "mine").rename(output / "source.json")
    assert "is there already" in fails(script, capsys, arguments)
    inside = [*arguments, "--cache", str(output / "downloads"), "--overwrite"]
    assert "is replaced as a whole; move it out" in fails(script, capsys, inside)
    assert script.main([*arguments, "--overwrite"]) == 0
    assert sorted(p.name for p in output.iterdir()) == ["source.json", "train.parquet"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("raise ValueError('bad\\nline')", "toy.py:39: ValueError: bad line"),
        ("raise SystemExit", "toy.py:39: SystemExit: SystemExit"),
        ("dl_manager.download_custom('x')", "toy.py:39: AttributeError: 'DownloadManager' object has no attribute"),
        ("dl_manager.extract('gone.zip')", "toy.py:39: FileNotFoundError: "),
    ],
)
def test_a_crash_of_the_script_is_one_line_and_leaves_nothing(script, tmp_path, capsys, more, said):
    toy = write_toy(tmp_path / "in", more=f"yield 'first=C1'; {more}")
    arguments = [toy, "--files", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert f"in/{said}" in fails(script, capsys, arguments)


def test_what_the_script_needs_is_named(script, tmp_path, capsys, monkeypatch):
    toy, output = write_toy(tmp_path / "in"), ["--output", str(tmp_path / "out")]
    code = Path(toy).read_text()
    (tmp_path / "in" / "bigbiohub.py").unlink()
    assert "toy.py: needs bigbiohub.py beside it; take the one" in fails(script, capsys, [toy, *output])
    Path(toy).write_text("import no_such_module_anywhere\n" + code)
    assert "imports 'no_such_module_anywhere', which is not installed" in fails(script, capsys, [toy, *output])
    Path(toy).write_text("x = 1\n")
    assert "has 0 subclasses of datasets.GeneratorBasedBuilder" in fails(script, capsys, [toy, *output])
    Path(toy).write_text("x = (\n")
    assert "toy.py: SyntaxError: " in fails(script, capsys, [toy, *output])
    assert "gone.py: is not there" in fails(script, capsys, [str(tmp_path / "gone.py"), *output])
    assert "expected ADDRESS=PATH" in fails(script, capsys, [toy, "--map", "https://x=gone", *output])
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: None)
    assert fails(script, capsys, [toy, *output]).endswith("pip install 'xnorm[torch]'")


def test_two_addresses_never_share_a_file_by_their_name(script, tmp_path, capsys):
    toy = write_toy(tmp_path / "in", "dl_manager.download(['https://t/a/toy.txt', 'https://t/b/toy.txt'])")
    arguments = [toy, "--files", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert "would be used for both https://t/a/toy.txt and https://t/b/toy.txt" in fails(script, capsys, arguments)
    (tmp_path / "b=.txt").write_text("b=")
    assert script.main([*arguments, "--map", f"https://t/b/toy.txt={tmp_path / 'b=.txt'}"]) == 0
    assert texts(tmp_path / "out") == ["Kopfweh", "mal de tête", "b"]


def test_a_pointer_or_an_empty_corpus_is_not_taken_for_a_corpus(script, tmp_path, capsys):
    folder = tmp_path / "in"
    arguments = [write_toy(folder, "dl_manager.download('toy.txt')"), "--output", str(tmp_path / "out")]
    (folder / "toy.txt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "is a Git LFS pointer; fetch the file" in fails(script, capsys, arguments)
    (folder / "toy.txt").write_text("")
    assert fails(script, capsys, arguments).endswith("toy.py: found no documents in the files it was given")
    (folder / "toy.txt").unlink()
    assert fails(script, capsys, arguments).startswith("no file for toy.txt; give --map")


class _Site(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302 if self.path == "/away" else 200)
        if self.path == "/away":
            self.send_header("Location", "file:///etc/hostname")
        self.send_header("Content-Length", "9" if self.path == "/torn" else "4")
        self.end_headers()
        self.wfile.write(b"one=")

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    with HTTPServer(("127.0.0.1", 0), _Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_downloads_are_asked_for_kept_and_whole(script, tmp_path, capsys, monkeypatch, site):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder, cache, output = tmp_path / "in", tmp_path / "cache", tmp_path / "out"
    toy = write_toy(folder, f"dl_manager.download('{site}/toy.txt')")
    assert "no file for" in fails(script, capsys, [toy, "--output", str(output)])
    assert script.main([toy, "--download", "--output", str(output)]) == 0
    (kept,) = (output / "downloads").iterdir()
    assert kept.read_text() == "one="
    source = json.loads((output / "source.json").read_text())["sources"]
    digest = hashlib.sha256(b"one=").hexdigest()
    assert source == [{"address": f"{site}/toy.txt", "file": kept.name, "bytes": 4, "sha256": digest}]
    arguments = [toy, "--cache", str(cache), "--output", str(output), "--overwrite"]
    assert script.main([*arguments, "--download"]) == 0
    assert script.main(arguments) == 0  # from the cache
    for address in (f"{site}/torn", f"{site}/away", "file:///etc/hostname", "ftp://127.0.0.1/x"):
        write_toy(folder, f"dl_manager.download('{address}')")
        assert f"{address}: not downloaded: " in fails(script, capsys, [*arguments, "--download"])
