"""Each translator gives as many translations as it is given texts, in their order, or says what is wrong."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import time
import warnings
from importlib.util import find_spec

import pytest

from xnorm.config import validate
from xnorm.errors import ConfigError, DataError
from xnorm.registry import find_component, list_components
from xnorm.translators.base import Translator

NAMES = [
    ("C:1", "Heart failure", ["Cardiac insufficiency", "CHF"], ["Insuficiencia cardíaca", "ICC", "fallo cardíaco"]),
    ("C:2", "Heart", [], ["corazón"]),
    ("C:3", "Cold", ["Common cold"], ["Resfriado"]),
    ("C:4", "Feeling cold", ["Cold"], ["Sensación de frío"]),
    ("C:5", "Acute leukaemia", ["ALL"], ["leucemia aguda"]),
    ("C:6", "Marfan syndrome", [], ["Marfan, síndrome de"]),
    ("C:7", "No translation", [], []),
    ("C:8", "Oesophageal varix (disorder)", [], ["Várice esofágica"]),
]


def make(type_name, **options):
    cls = find_component("translators", type_name)
    return cls(validate(cls.config_class, {"type": type_name, **options}, where="test"))


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.jsonl"
    rows = [
        {"id": i, "name": name, "synonyms": [{"name": n, "lang": "en", "scope": "exact"} for n in en]
         + [{"name": n, "lang": "es", "scope": "exact"} for n in es]}
        for i, name, en, es in NAMES
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"sources": [{"type": "jsonl", "path": str(path)}]}


def test_all_variants_are_translators():
    assert list_components("translators") == ["command", "huggingface", "table"]
    for name in list_components("translators"):
        assert issubclass(find_component("translators", name), Translator)


@pytest.mark.parametrize(
    ("text", "translation"),
    [
        ("He had heart failure.", "He had insuficiencia cardíaca."),
        ("Heart failure was seen", "Insuficiencia cardíaca was seen"),
        ("[1]Heart failure[/1], heart", "[1]Insuficiencia cardíaca[/1], corazón"),
        ("[1][2]heart[/2] failure[/1]", "[1][2]corazón[/2] failure[/1]"),
        ("cardiac\u00a0 insufficiency", "insuficiencia cardíaca"),
        ("CHF and chf", "ICC and chf"),
        ("all of them, ALL", "all of them, ALL"),  # an abbreviation has no translation but an abbreviation
        ("a cold", "a resfriado"),  # of the concept that is called so, not of the one that has it as a synonym
        ("hearts", "hearts"),
        ("with Marfan syndrome", "with Marfan, síndrome de"),
        ("oesophageal varix (disorder)", "várice esofágica"),
        ("", ""),
    ],
)
def test_the_longest_names_are_replaced(names, text, translation):
    assert make("table", terminology=names).translate([text], "en", "es") == [translation]


def test_what_the_table_knows(names):
    table = make("table", terminology=names)
    known = {t: table.knows(t, "en", "es") for t in ("heart, heart failure", "left heart", "heart 1", "XYZ", "CHF")}
    assert known == {"heart, heart failure": True, "left heart": False, "heart 1": True, "XYZ": False, "CHF": True}
    assert make("table", terminology=names, abbreviations=True).knows("XYZ", "en", "es")
    assert Translator.partial is False
    assert table.partial


def test_the_table_counts(names):
    table = make("table", terminology=names)
    table.translate(["heart", "a heart and the heart failure"], "en", "es")
    about = table.about()
    assert about["counts"] == {"whole texts translated": 1, "phrases translated": 2, "words that stayed": 3}
    assert about["tables"]["en-es"]["phrases"] == 10
    assert about["tables"]["en-es"]["given again with another translation, which was not taken"] == 1


@pytest.mark.parametrize("name", ["t.tsv", "t.csv", "t.jsonl", "t.tsv.gz"])
def test_tables_of_every_kind_are_read(tmp_path, name):
    path = tmp_path / name
    rows = [("It hurts.", "Duele."), ("fever", "fiebre")]
    if ".jsonl" in name:
        text = "".join(json.dumps({"source": a, "translation": b}) + "\n" for a, b in rows)
    else:
        mark = "," if ".csv" in name else "\t"
        text = "".join(mark.join(row) + "\n" for row in [("source", "translation"), *rows])
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    table = make("table", path=str(path))
    assert table.translate(["it hurts.", "a fever", "It hurts. A lot"], "en", "es") == [
        "duele.", "a fiebre", "It hurts. A lot",
    ]  # fmt: skip
    before = table.identity
    path.write_bytes(path.read_bytes() + b" ")
    assert make("table", path=str(path)).identity != before


def test_a_file_goes_before_the_terminology(tmp_path, names):
    path = tmp_path / "t.tsv"
    path.write_text("en\tes\nheart\tcuore\n")
    table = make("table", path=str(path), source_column="en", target_column="es", terminology=names)
    assert table.translate(["heart heart failure"], "en", "es") == ["cuore insuficiencia cardíaca"]


def test_bad_tables(tmp_path, names):
    with pytest.raises(ConfigError, match="expected path, terminology"):
        make("table")
    with pytest.raises(ConfigError, match="no translation from 'en' to 'fr'"):
        make("table", terminology=names).translate(["x"], "en", "fr")
    path = tmp_path / "t.jsonl"
    path.write_text('{"source": "a", "translation": 3}\n')
    with pytest.raises(DataError, match=r"t\.jsonl:1: expected strings 'source' and 'translation'"):
        make("table", path=str(path)).translate(["x"], "en", "es")
    with pytest.raises(DataError, match="no such file"):
        make("table", path=str(tmp_path / "none.tsv")).translate(["x"], "en", "es")
    (tmp_path / "t.tsv").write_text("a\tb\nc\td\n")
    with pytest.raises(DataError, match="has no column 'source'"):
        make("table", path=str(tmp_path / "t.tsv")).translate(["x"], "en", "es")


GOOD = """
import json, sys
lines = [json.loads(line) for line in sys.stdin]
for n, r in enumerate(lines):
    text = r["text"].upper() + " " + r["source"] + ">" + r["target"]
    print(json.dumps({"translation": text} if n % 2 else text))
"""


def command(code, *arguments, **options):
    return make("command", command=[sys.executable, "-c", code, *arguments], **options)


def test_a_command_translates_in_order_and_in_batches():
    texts = [f"text\n{n} ü \u2028 心" for n in range(7)]
    assert command(GOOD, batch_size=3).translate(texts, "en", "es") == [f"{t.upper()} en>es" for t in texts]
    assert command(GOOD).translate([], "en", "es") == []
    assert command(GOOD, batch_size=3).batch == 3


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; list(sys.stdin); print('\"a\"')", "expected a line for each of 2 texts, found 1"),
        ("import sys; list(sys.stdin); print('\"a\"\\n' * 3)", "expected a line for each of 2 texts, found 3"),
        ("", "expected a line for each of 2 texts, found 0"),
        ("import sys; list(sys.stdin); print('a\\nb')", "line 1 is 'a', expected"),
        ("import sys; list(sys.stdin); print('[1]\\n[2]')", "line 1 is '[1]', expected"),
        ('import sys; list(sys.stdin); print(\'{"translation": null}\\n"b"\')', 'expected {"translation"'),
        ("import sys; list(sys.stdin); sys.exit('no model\\nhere')", "ended with status 1: here"),
        ("import sys; list(sys.stdin); sys.stdout.buffer.write(bytes([255]))", "not UTF-8"),
        ("import os; os.abort()", "ended with status -6"),
    ],
)
def test_a_command_that_fails_is_one_line(code, message):
    with pytest.raises(ConfigError) as caught:
        command(code).translate(["one", "two"], "en", "es")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path):
    child = f"import time, pathlib; time.sleep(2); pathlib.Path({str(tmp_path / 'late')!r}).touch()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    started = time.monotonic()
    with pytest.raises(ConfigError, match=r"not done with 1 texts after 0\.5 seconds"):
        command(code, timeout=0.5).translate(["one"], "en", "es")
    time.sleep(max(0.0, 3.5 - (time.monotonic() - started)))
    assert not (tmp_path / "late").exists()


def test_a_command_is_not_waited_for_when_its_child_has_left(tmp_path, monkeypatch):
    monkeypatch.setattr("xnorm.translators.command.PATIENCE", 0.2)
    child = f"import time, pathlib; time.sleep(20); pathlib.Path({str(tmp_path / 'late')!r}).touch()"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)"
    with pytest.raises(ConfigError, match="was not done with 1 texts"):
        command(f"{code}; time.sleep(20)", timeout=1).translate(["one"], "en", "es")
    assert not (tmp_path / "late").exists()


def test_there_must_be_such_a_program():
    with pytest.raises(ConfigError, match="there is no program 'no-such-program'"):
        make("command", command=["no-such-program"]).translate(["x"], "en", "es")
    with pytest.raises(ConfigError, match="command"):
        make("command", command=[])


def test_no_shell_reads_the_command(tmp_path):
    code = "import json, sys; [print(json.dumps(sys.argv[1])) for _ in sys.stdin]"
    argument = f"$HOME; touch {tmp_path / 'made'}"
    assert command(code, argument).translate(["x"], "en", "es") == [argument]
    assert not (tmp_path / "made").exists()


def test_another_script_is_another_translator(tmp_path):
    script = tmp_path / "t.py"
    script.write_text(GOOD)
    one = make("command", command=["python", str(script)]).identity
    script.write_text(GOOD + "#")
    assert make("command", command=["python", str(script)]).identity != one
    assert command(GOOD).identity != command(GOOD, version="2").identity
    one = make("command", command=[str(script)]).identity
    script.write_text(GOOD)
    assert make("command", command=[str(script)]).identity != one


@pytest.fixture(scope="module")
def seq2seq(tmp_path_factory):
    """Folders of tiny random models: of the NLLB kind, and Marian, which is of one pair of languages."""
    torch = pytest.importorskip("torch", reason="needs the extra torch")
    transformers = pytest.importorskip("transformers", reason="needs the extra torch")
    from tiny_transformers import make_tokenizer

    folder = tmp_path_factory.mktemp("seq2seq")
    shape = {
        "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 64,
    }  # fmt: skip
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        letters = {c: n + 4 for n, c in enumerate("▁abcdefghijklmnopqrstuvwxyz[]/12.")}
        nllb = transformers.NllbTokenizer({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, **letters}, [])
        config = transformers.M2M100Config(
            vocab_size=len(nllb), pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
            scale_embedding=False, init_std=0.5, **shape,
        )  # fmt: skip
        transformers.M2M100ForConditionalGeneration(config).save_pretrained(folder / "nllb")
        nllb.save_pretrained(folder / "nllb")
        plain = make_tokenizer("xlm-roberta")
        config = transformers.MarianConfig(
            vocab_size=len(plain), pad_token_id=plain.pad_token_id, eos_token_id=plain.sep_token_id,
            decoder_start_token_id=plain.pad_token_id, forced_eos_token_id=None, init_std=0.5, **shape,
        )  # fmt: skip
        transformers.MarianMTModel(config).save_pretrained(folder / "marian")
        plain.save_pretrained(folder / "marian")
    return folder


def by_hand(folder, text, limit, **options):
    import torch
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
        if "lang" in options:
            tokenizer.src_lang = options.pop("lang")
            options["forced_bos_token_id"] = tokenizer.convert_tokens_to_ids("spa_Latn")
        tokens = tokenizer(text, return_tensors="pt")
        known = {k: tokens[k] for k in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            out = model.generate(**known, do_sample=False, max_length=None, max_new_tokens=limit, **options)
        return tokenizer.decode(out[0], skip_special_tokens=True).strip()


TEXTS = ["pain in the head", "a", "[1] heart [/1] failure of the left heart", "a b c d"]


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["nllb", "marian"])
def test_a_model_translates_as_by_hand(seq2seq, kind, one_thread):
    model = make("huggingface", model=str(seq2seq / kind), beams=2, max_length=48, batch_size=3, device="cpu")
    options = {"lang": "eng_Latn"} if kind == "nllb" else {}
    expected = [by_hand(seq2seq / kind, text, 48, num_beams=2, **options) for text in TEXTS]
    assert any(expected)
    assert model.translate(TEXTS, "en", "es") == expected
    assert model.translate(TEXTS[::-1], "en", "es") == expected[::-1]
    assert model.translate([], "en", "es") == []
    assert model.about()["counts"]["texts translated"] == 8
    assert model.identity == make("huggingface", model=str(seq2seq / kind), beams=2, max_length=48).identity
    assert model.identity != make("huggingface", model=str(seq2seq / kind), beams=3, max_length=48).identity


@pytest.mark.torch
def test_texts_that_are_too_long_are_counted(seq2seq, one_thread):
    model = make("huggingface", model=str(seq2seq / "nllb"), beams=1, max_length=12, device="cpu")
    long, short = model.translate(["a text that is far too long", "a b"], "en", "es")
    assert long == ""
    assert short == by_hand(seq2seq / "nllb", "a b", 12, num_beams=1, lang="eng_Latn")
    assert model.about()["counts"]["texts that are too long"] == 1


@pytest.mark.torch
def test_models_say_what_is_wrong(seq2seq, tiny, tmp_path):
    nllb = str(seq2seq / "nllb")
    with pytest.raises(ConfigError, match="does not know the language 'tlh'; set `codes`"):
        make("huggingface", model=nllb, device="cpu").translate(["a"], "en", "tlh")
    with pytest.raises(ConfigError, match="does not know the language 'es'"):
        make("huggingface", model=nllb, device="cpu", codes={"es": "spanish"}).translate(["a"], "en", "es")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        make("huggingface", model=str(tiny), device="cpu").translate(["a"], "en", "es")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="cannot be loaded"):
        make("huggingface", model=str(tmp_path / "empty"), device="cpu").translate(["a"], "en", "es")
    shutil.copy(seq2seq / "nllb" / "config.json", tmp_path / "empty")
    (tmp_path / "empty" / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(seq2seq / "nllb" / name, tmp_path / "empty")
    with pytest.raises(ConfigError, match="cannot be loaded"):  # pickled weights are not opened
        make("huggingface", model=str(tmp_path / "empty"), device="cpu").translate(["a"], "en", "es")


@pytest.mark.torch
@pytest.mark.skipif(find_spec("sentencepiece") is not None, reason="sentencepiece is installed")
@pytest.mark.parametrize(("kind", "tokenizer"), [("marian", "MarianTokenizer"), ("m2m_100", "M2M100Tokenizer")])
def test_the_package_of_a_tokenizer_is_named(tmp_path, kind, tokenizer):
    pytest.importorskip("transformers", reason="needs the extra torch")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, "vocab_size": 4}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer}))
    (tmp_path / "vocab.json").write_text(json.dumps({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}))
    for name in ("source.spm", "target.spm", "sentencepiece.bpe.model"):
        (tmp_path / name).write_text("x")
    with pytest.raises(ConfigError, match="pip install sentencepiece"):
        make("huggingface", model=str(tmp_path), device="cpu").translate(["a"], "en", "es")


def test_a_name_on_the_hub_needs_its_commit(tmp_path):
    with pytest.raises(ConfigError, match="needs its revision, a commit"):
        make("huggingface", model="owner/name")
    assert "owner/name@" in make("huggingface", model="owner/name", revision="0" * 40, dtype="float32").identity
    with pytest.raises(ConfigError, match="is a folder, which has none"):
        make("huggingface", model=str(tmp_path), revision="0" * 40)
