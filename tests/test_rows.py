"""Rows of data files: every container gives the same documents; the hub is asked for one commit; damage is one line."""

from __future__ import annotations

import contextlib
import json
import random
import sys
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluation_data import write_lines

from xnorm.config import validate
from xnorm.convert import read_documents, to_row, write_parquet
from xnorm.corpora.base import ReadReport
from xnorm.corpora.bigbio import BigbioConfig, BigbioReader
from xnorm.errors import ConfigError, DataError, MissingExtraError
from xnorm.reading import reader_for
from xnorm.rows import is_rows_folder, read_hub, read_rows
from xnorm.types import Document, Mention

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def document(identifier, text="Herz- und Nierenschwäche 心不全", lang="de"):
    mentions = (
        Mention("Herz- schwäche", f"{identifier}a", lang, ("Disease",), ((0, 5), (16, 24)), gold=("T:1", "T:2")),
        Mention("心不全", f"{identifier}b", lang, (), ((25, 28),), gold=()),
    )
    return Document(identifier, text, mentions, lang)


DOCUMENTS = [document(f"d{i}") for i in range(3)]


def table(documents):
    rows = [to_row(d) for d in documents]
    return pa.Table.from_pylist(rows)


def save_dataset(folder, *shards):
    """Write what `Dataset.save_to_disk` writes: Arrow streams and a state that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{n:05}-of-{len(shards):05}.arrow" for n in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, shard.schema) as writer:
            writer.write_table(shard)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_format_type": None,
             "_split": None}  # fmt: skip
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def save_dict(folder, **splits):
    for split, documents in splits.items():
        save_dataset(folder / split, table(documents))
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return folder


def read(path, **options):
    return read_documents(path, format="bigbio", **options)


@pytest.fixture
def expected(tmp_path):
    return read(write_lines(tmp_path / "expected.jsonl", map(to_row, DOCUMENTS)))


def test_the_expected_documents_are_those_that_were_written(expected):
    assert [d.id for d in expected] == ["d0", "d1", "d2"]
    assert [m.id for d in expected for m in d.mentions] == ["d0a", "d0b", "d1a", "d1b", "d2a", "d2b"]
    first = expected[0].mentions[0]
    assert (first.text, first.spans, first.gold) == ("Herz- schwäche", ((0, 5), (16, 24)), ("T:1", "T:2"))


CONTAINERS = {
    "parquet": lambda p: pq.write_table(table(DOCUMENTS), p / "x.parquet") or p / "x.parquet",
    "write_parquet": lambda p: write_parquet(DOCUMENTS, p / "y.parquet") or p / "y.parquet",
    "one row a group": lambda p: pq.write_table(table(DOCUMENTS), p / "x.parquet", row_group_size=1) or p / "x.parquet",
    "parquet folder": lambda p: pq.write_table(table(DOCUMENTS), p / "test.parquet") or p,
    "parquet shards": lambda p: [
        pq.write_table(table(DOCUMENTS[i : i + 1]), p / f"test-{i:05}-of-00003.parquet") for i in (2, 0, 1)
    ] and p,
    "dataset": lambda p: save_dataset(p / "saved", table(DOCUMENTS)),
    "dataset in shards": lambda p: save_dataset(p / "saved", table(DOCUMENTS[:1]), table(DOCUMENTS[1:])),
    "dataset dict of one": lambda p: save_dict(p / "saved", test=DOCUMENTS),
}  # fmt: skip


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_documents(tmp_path, expected, container):
    (tmp_path / "in").mkdir()
    path = CONTAINERS[container](tmp_path / "in")
    assert read(path) == expected
    assert read_documents(path) == expected  # and is told by what is there


def test_a_dataset_dict_and_a_parquet_folder_with_several_splits(tmp_path, expected):
    (tmp_path / "files").mkdir()
    for split, documents in (("train", DOCUMENTS[:1]), ("validation", DOCUMENTS[1:])):
        pq.write_table(table(documents), tmp_path / "files" / f"{split}-00000-of-00001.parquet")
    for path in (save_dict(tmp_path / "dict", train=DOCUMENTS[:1], validation=DOCUMENTS[1:]), tmp_path / "files"):
        assert read(path, split="train") == expected[:1]
        assert read(path, split="validation") == expected[1:]
        with pytest.raises(ConfigError, match="has several splits; choose one with `split`: train, validation"):
            read(path)
        with pytest.raises(ConfigError, match=r"has no split 'validatio'; did you mean 'validation'\?"):
            read(path, split="validatio")


def test_the_only_split_must_be_the_one_that_is_asked_for(tmp_path):
    with pytest.raises(ConfigError, match="has no split 'test'"):
        read(save_dict(tmp_path / "dict", train=DOCUMENTS), split="test")


def test_a_dataset_without_splits_has_none_to_choose(tmp_path):
    with pytest.raises(ConfigError, match="is one dataset without splits; drop `split`"):
        read(save_dataset(tmp_path / "saved", table(DOCUMENTS)), split="test")


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl"])
def test_a_file_has_no_splits_to_choose(tmp_path, name):
    write_lines(tmp_path / "x.jsonl", map(to_row, DOCUMENTS))
    pq.write_table(table(DOCUMENTS), tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match="split"):
        read(tmp_path / name, split="test")


def test_which_folders_are_rows(tmp_path):
    assert not is_rows_folder(tmp_path)
    (tmp_path / "notes.ann").touch()
    assert not is_rows_folder(tmp_path)
    (tmp_path / "a.parquet").touch()
    assert is_rows_folder(tmp_path)
    assert is_rows_folder(save_dict(tmp_path / "dict", test=DOCUMENTS))


def secret(tmp_path):
    """A dataset that lies outside of the folder that the user names."""
    return save_dataset(tmp_path / "secret", table(DOCUMENTS))


@pytest.mark.parametrize("name", ["../secret/data-00000-of-00001.arrow", "sub/x.arrow", "/etc/passwd", "", None])
def test_a_state_that_names_files_elsewhere_is_refused(tmp_path, name):
    outside = secret(tmp_path) / "data-00000-of-00001.arrow"
    for wanted in (name, str(outside)) if name else (name,):
        saved = save_dataset(tmp_path / "saved", table(DOCUMENTS))
        (saved / "state.json").write_text(json.dumps({"_data_files": [{"filename": wanted}]}))
        with pytest.raises(DataError):
            read(saved)


@pytest.mark.parametrize("split", ["../secret", "/tmp", "a/b", 3, None])
def test_a_dict_that_names_splits_elsewhere_is_refused(tmp_path, split):
    secret(tmp_path)
    saved = save_dict(tmp_path / "saved", test=DOCUMENTS)
    (saved / "dataset_dict.json").write_text(json.dumps({"splits": [split]}))
    with pytest.raises(DataError, match="'splits': expected a list of folder names"):
        read(saved)


def test_a_split_is_not_the_folder_above(tmp_path):
    saved = save_dict(save_dataset(tmp_path / "above", table(DOCUMENTS)) / "saved", test=DOCUMENTS)
    (saved / "dataset_dict.json").write_text(json.dumps({"splits": [".."]}))
    with pytest.raises(DataError):
        read(saved)


@pytest.mark.parametrize(
    "state", ["", "[]", "{", "{}", '{"_data_files": {}}', '{"_data_files": []}', '{"_data_files": ["a"]}', "[" * 9999]
)
def test_a_broken_state(tmp_path, state):
    saved = save_dataset(tmp_path / "saved", table(DOCUMENTS))
    (saved / "state.json").write_text(state)
    with pytest.raises(DataError, match=r"state\.json: "):
        read(saved)


def test_a_selection_of_rows_is_refused(tmp_path):
    saved = save_dataset(tmp_path / "saved", table(DOCUMENTS))
    state = json.loads((saved / "state.json").read_text()) | {"_indices_data_files": [{"filename": "i.arrow"}]}
    (saved / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="is a selection of rows; call flatten_indices"):
        read(saved)


def test_missing_and_damaged_files(tmp_path):
    whole = tmp_path / "x.parquet"
    pq.write_table(table(DOCUMENTS), whole)
    content = whole.read_bytes()
    with pytest.raises(DataError, match=r"gone\.parquet: no such file"):
        read(tmp_path / "gone.parquet")
    for broken in (b"", b"PAR1", content[:-20], b"x" * 100, content[:100] + b"\xff" * 300 + content[400:]):
        whole.write_bytes(broken)
        with pytest.raises(DataError, match=r"x\.parquet: cannot be read: ") as e:
            read(whole)
        assert "\n" not in str(e.value)
    saved = save_dict(tmp_path / "saved", test=DOCUMENTS)
    arrow = saved / "test" / "data-00000-of-00001.arrow"
    content = arrow.read_bytes()
    for broken in (b"", b"x" * 50, content[: len(content) // 2]):
        arrow.write_bytes(broken)
        with pytest.raises(DataError, match=r"\.arrow: cannot be read: "):
            read(saved)
    arrow.unlink()
    with pytest.raises(DataError, match=r"\.arrow: no such file"):
        read(saved)
    (saved / "test" / "state.json").unlink()
    with pytest.raises(DataError, match=r"state\.json: no such file"):
        read(saved)


def test_a_folder_without_rows(tmp_path):
    with pytest.raises(DataError, match="holds no Parquet files, and nothing that `datasets` saved"):
        list(read_rows(tmp_path))


def test_rows_of_another_schema_name_the_row(tmp_path):
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet:1: 'passages'"):
        read(tmp_path / "x.parquet")


def test_rows_are_numbered_over_shards(tmp_path):
    saved = save_dataset(tmp_path / "s", table(DOCUMENTS[:1]), table(DOCUMENTS[1:]))
    assert [number for number, _ in read_rows(saved)] == [1, 2, 3]


def config(**options):
    return validate(BigbioConfig, {"type": "bigbio", **options}, where="c")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hub": "a/b"}, "hub and revision go together: pin the commit"),
        ({"path": "x.parquet", "revision": COMMIT}, "hub and revision go together"),
        ({"hub": "a/b", "revision": "main"}, "revision"),
        ({"hub": "a/b", "revision": COMMIT[:39]}, "revision"),
        ({"hub": "a/b", "revision": COMMIT + "\n"}, "revision"),
        ({"hub": "b", "revision": COMMIT}, "hub"),
        ({"hub": "a/b", "revision": COMMIT, "path": "x"}, "expected either path or hub"),
        ({}, "expected either path or hub"),
    ],
)
def test_a_hub_dataset_is_pinned(options, message):
    with pytest.raises(ConfigError, match=message):
        config(**options)


@pytest.mark.parametrize("name", ["../data", "./data", "../.."])
def test_a_hub_dataset_is_no_path(name):
    with pytest.raises(ConfigError):
        config(hub=name, revision=COMMIT)


@pytest.fixture
def hub(monkeypatch):
    """A stand-in of `datasets` that keeps what it is asked for; set `answer` to rows, splits or an error."""
    asked = []

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        if isinstance(fake.answer, Exception):
            raise fake.answer
        return fake.answer

    fake = SimpleNamespace(load_dataset=load_dataset, asked=asked, answer=None)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return fake


def of_hub(**options):
    reader = BigbioReader(config(hub="a/b", revision=COMMIT, **options))
    return list(reader.documents(ReadReport()))


def test_the_hub_is_asked_for_one_commit(hub, expected):
    hub.answer = [to_row(d) for d in DOCUMENTS]
    assert of_hub(subset="kb", split="test") == expected
    assert of_hub() == expected
    wanted = {"revision": COMMIT, "split": "test"}
    assert hub.asked == [(("a/b", "kb"), wanted), (("a/b", None), {**wanted, "split": None})]


def test_splits_of_the_hub(hub, expected):
    hub.answer = {"test": [to_row(d) for d in DOCUMENTS]}
    assert of_hub() == expected
    hub.answer["train"] = []
    with pytest.raises(ConfigError, match=r"'a/b' has several splits; choose one with `split`: test, train"):
        of_hub()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("Dataset scripts are no longer supported,\nbut found b.py"), ["b.py", "data_scripts/bigbio.py"]),
        (ConnectionError("Couldn't reach\nthe hub"), ["Couldn't reach the hub"]),
        (ValueError('Unknown split "tst".\nShould be one of test'), ["Unknown split"]),
    ],
)
def test_what_the_hub_refuses_is_one_line(hub, error, words):
    hub.answer = error
    with pytest.raises(DataError) as e:
        of_hub()
    for word in ["dataset 'a/b' cannot be loaded from the hub", *words]:
        assert word in str(e.value)
    assert "\n" not in str(e.value)


def test_the_hub_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'xnorm\[torch\]'"):
        list(read_hub("a/b", COMMIT))


@pytest.mark.filterwarnings("ignore")
def test_folders_of_the_real_package(tmp_path, expected):
    datasets = pytest.importorskip("datasets")
    rows = [to_row(d) for d in DOCUMENTS]
    whole = datasets.Dataset.from_list(rows)
    whole.save_to_disk(tmp_path / "one", num_shards=2)
    assert read(tmp_path / "one") == expected
    datasets.DatasetDict({"train": whole, "test": whole.select(range(1, 3))}).save_to_disk(tmp_path / "dict")
    assert read(tmp_path / "dict", split="train") == expected
    assert read(tmp_path / "dict", split="test") == expected[1:]
    whole.to_parquet(tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet") == expected
    whole.select([2, 0]).save_to_disk(tmp_path / "selected")
    assert [d.id for d in read(tmp_path / "selected")] == ["d2", "d0"]


def test_damaged_arrow_files_are_refused_and_nothing_worse(tmp_path):
    table = pa.table(
        {"id": ["d1", "d2"], "passages": [[{"text": ["cold"], "offsets": [[0, 4]]}]] * 2, "entities": [[], []]}
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    whole = bytearray(sink.getvalue().to_pybytes())
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    rng = random.Random(0)
    for _ in range(200):
        broken = bytearray(whole)
        for _ in range(3):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        (folder / "data.arrow").write_bytes(broken)
        with contextlib.suppress(DataError):
            list(read_rows(folder))


def test_the_checksum_of_a_folder_is_of_its_rows_alone(tmp_path):
    pq.write_table(pa.table({"id": ["d1"]}), tmp_path / "test.parquet")
    pq.write_table(pa.table({"id": ["d2"]}), tmp_path / "train.parquet")
    (tmp_path / "source.json").write_text("{}")
    reader = reader_for(tmp_path, format="bigbio", options={"split": "test"})
    assert [file.name for file in reader.files()] == ["test.parquet"]
