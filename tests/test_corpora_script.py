"""The script that converts corpora, on tiny made-up files in the forms that the publishers give."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent / "data_scripts"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        patch.delitem(sys.modules, "corpora", raising=False)
        yield importlib.import_module("corpora")


def lay(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write files under a folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def read(path: Path) -> list[dict[str, Any]]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.decode().splitlines()]


def run(
    script: ModuleType, tmp_path: Path, name: str, files: dict[str, str | bytes], *more: str
) -> dict[str, list[Any]]:
    """Convert files of ours; return the documents by part."""
    source, output = lay(tmp_path / "src", files), tmp_path / "out"
    assert script.main([name, str(source), "--output", str(output), *more]) == 0
    prefix = name.replace("-", "_") + "_"
    return {p.name.removesuffix(".jsonl.gz").removeprefix(prefix): read(p) for p in sorted(output.iterdir())}


def fails(script: ModuleType, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command, which must end with status 2; return its one line on standard error."""
    assert script.main([str(a) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    return captured.err


def brief(document: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return (type, texts, offsets, ids) of each entity; check the ids of the entities."""
    assert [e["id"] for e in document["entities"]] == [
        f"{document['id']}_e{n}" for n in range(len(document["entities"]))
    ]
    return [
        (e["type"], e["text"], e["offsets"], [f"{n['db_name']}|{n['db_id']}" for n in e["normalized"]])
        for e in document["entities"]
    ]


NCBI = (
    "\n10|t|Gout and grey or blue fever.\n10|a|No gout, foot pain.\n"
    "10\t0\t4\tGout\tSpecificDisease\tD000001\n"
    "10\t9\t27\tgrey or blue fever\tCompositeMention\tD000002|OMIM:000003\n"
    "10\t32\t36\tgout\tModifier\t MESH:C000004\n"
    "10\t38\t47\tfoot pain\tDiseaseClass\tD000005+D000006\n\n"
    "11|t|Nothing.\n11|a|\n\n"
    "10|t|Gout and grey or blue fever.\n10|a|No gout, foot pain.\n10\t0\t4\tGout\tSpecificDisease\tD000001\n"
)


def test_ncbi_disease(script, tmp_path, capsys):
    parts = run(script, tmp_path, "ncbi-disease", {"a/NCBItrainset_corpus.txt": NCBI, "a/notes.txt": "no corpus"})
    assert list(parts) == ["train"]
    first, second = parts["train"]
    assert first == {
        "id": "10", "document_id": "10", "language": "en",
        "passages": [
            {"id": "10_p0", "type": "title", "text": ["Gout and grey or blue fever."], "offsets": [[0, 28]]},
            {"id": "10_p1", "type": "abstract", "text": ["No gout, foot pain."], "offsets": [[29, 48]]},
        ],
        "entities": first["entities"], "events": [], "coreferences": [], "relations": [],
    }  # fmt: skip
    assert brief(first) == [
        ("SpecificDisease", ["Gout"], [[0, 4]], ["MESH|D000001"]),
        ("CompositeMention", ["grey or blue fever"], [[9, 27]], ["MESH|D000002", "OMIM|000003"]),
        ("Modifier", ["gout"], [[32, 36]], ["MESH|C000004"]),
        ("DiseaseClass", ["foot pain"], [[38, 47]], ["MESH|D000005", "MESH|D000006"]),
    ]
    assert second["passages"][1]["offsets"] == [[9, 9]]
    assert second["entities"] == []
    assert capsys.readouterr().out == (
        "train: 2 documents, 4 mentions, 6 ids, 0 without id, 0 discontinuous, 0 mismatches "
        f"(1 documents given twice) -> {tmp_path / 'out' / 'ncbi_disease_train.jsonl.gz'}\n"
    )


def test_bc5cdr(script, tmp_path):
    corpus = (
        "7|t|Tin and zinc.\r\n7|a|Nausea\r\n7\t0\t3\tTin\tChemical\t-1\r\n"
        "7\t0\t12\tTin and zinc\tChemical\tD000001|D000002\tTin|zinc\r\n7\tCID\tD000001\tD000009\r\n\r\n"
    )
    files = {
        "CDR.Corpus/CDR_TestSet.PubTator.txt": corpus,
        "CDR.Corpus/CDR_DevelopmentSet.PubTator.txt": corpus,
        "tmChem/TestSet.tmChem.PubTator.txt": "what a tagger found",
    }
    parts = run(script, tmp_path, "bc5cdr", files)
    assert list(parts) == ["dev", "test"]
    assert brief(parts["test"][0]) == [
        ("Chemical", ["Tin"], [[0, 3]], []),
        ("Chemical", ["Tin and zinc"], [[0, 12]], ["MESH|D000001", "MESH|D000002"]),
    ]


MEDMENTIONS = {
    "full/data/corpus_pubtator.txt.gz": gzip.compress(
        b"1|t|Old cells\n1|a|die\n1\t4\t9\tcells\tT116,T123\tC0000001\n\n"
        b"2|t|New\n2|a|ones\n2\t0\t3\tNew\tUnknownType\tC0000002\n\n3|t|x\n3|a|y\n\n"
    ),
    "full/data/corpus_pubtator_pmids_trng.txt": "1\n",
    "full/data/corpus_pubtator_pmids_dev.txt": "2\n",
    "full/data/corpus_pubtator_pmids_test.txt": "3\n",
    "full/data/corpus_pubtator_pmids_all.txt": "1\n2\n3\n",
    "st21pv/data/corpus_pubtator.txt": "1|t|Old cells\n1|a|die\n1\t4\t9\tcells\tT103\tUMLS:C0000001\n\n",
}


def test_medmentions(script, tmp_path):
    parts = run(script, tmp_path, "medmentions", MEDMENTIONS)
    assert {name: [d["id"] for d in documents] for name, documents in parts.items()} == {
        "full_dev": ["2"], "full_test": ["3"], "full_train": ["1"], "st21pv_train": ["1"],
    }  # fmt: skip
    assert brief(parts["full_train"][0]) == [(["T116", "T123"], ["cells"], [[4, 9]], ["UMLS|C0000001"])]
    assert brief(parts["st21pv_train"][0]) == [("T103", ["cells"], [[4, 9]], ["UMLS|C0000001"])]
    assert brief(parts["full_dev"][0]) == [("UnknownType", ["New"], [[0, 3]], ["UMLS|C0000002"])]


def test_medmentions_split_is_missing(script, tmp_path, capsys):
    files = {name: text for name, text in MEDMENTIONS.items() if "dev" not in name}
    message = fails(script, capsys, "medmentions", lay(tmp_path, files), "--output", tmp_path / "out")
    assert "no corpus_pubtator_pmids_PART.txt for dev" in message
    files["full/data/corpus_pubtator_pmids_dev.txt"] = "99\n"
    message = fails(script, capsys, "medmentions", lay(tmp_path, files), "--output", tmp_path / "out")
    assert "the document '2' is in no part's list" in message
    assert not (tmp_path / "out").exists()


def mantra_files() -> dict[str, str | bytes]:
    return {
        "Mantra-GSC/German/EMEA_ec22-cui-best_man/0001_d3.u5.txt": "Rot und Blau\r\nsehen.\r\n",
        "Mantra-GSC/German/EMEA_ec22-cui-best_man/0001_d3.u5.ann": (
            'T1\tC0000001 0 3\tRot\n#1\tAnnotatorNotes T1\t"C0000001", "red", "Colour|Hue" ,"OBJC|CHEM"\n'
            'T2\tC0000002 0 3\tRot\n#2\tAnnotatorNotes T2\t"C0000002", "rust", "Hue" ,"OBJC|CHEM"\n'
            'T3\tC0000003 0 3;13 18\tRot sehen\n#3\tAnnotatorNotes T3\t"see", "Manufactured Object"\n'
        ),
        "Mantra-GSC/French/Medline_EN_FR_ec22-cui-best_man/0301_d6.u1.txt": "été\n",
        "Mantra-GSC/French/Medline_EN_FR_ec22-cui-best_man/0301_d6.u1.ann": "",
        "__MACOSX/Mantra-GSC/German/EMEA_ec22-cui-best_man/._0001_d3.u5.ann": b"\x00\x05\xff",
    }


def test_mantra_brat(script, tmp_path, capsys):
    parts = run(script, tmp_path, "mantra", mantra_files())
    (german,) = parts["de"]
    assert (german["id"], german["language"]) == ("de_EMEA_0001_d3.u5", "de")
    # offsets were counted with one character a line end, the file has two
    assert german["passages"] == [
        {"id": "de_EMEA_0001_d3.u5_p0", "type": "text", "text": ["Rot und Blau\nsehen.\n"], "offsets": [[0, 20]]}
    ]
    assert brief(german) == [
        (["OBJC", "CHEM"], ["Rot"], [[0, 3]], ["UMLS|C0000001", "UMLS|C0000002"]),
        ("UNKNOWN", ["Rot", "sehen"], [[0, 3], [13, 18]], ["UMLS|C0000003"]),
    ]
    (french,) = parts["fr"]
    assert (french["id"], french["entities"]) == ("fr_Medline_EN_FR_0301_d6.u1", [])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "de: 1 documents, 2 mentions, 3 ids, 0 without id, 1 discontinuous, 0 mismatches "
        "(1 mentions without semantic group, 1 merged into another)"
    )


XML = """<?xml version="1.0" encoding="UTF-8"?>
<Corpus corpusId="EMEA"><document id="d3"><unit id="d3.u5"><text>Zeh &amp; Knie</text>
<e id="e1" cui="C0000001" grp="anat" offset="0" len="3">Zeh</e>
<e id="e2" cui="C0000002" grp="ANAT" offset="6" len="4">Knie</e></unit></document></Corpus>
"""


def test_mantra_xml(script, tmp_path):
    (document,) = run(script, tmp_path, "mantra", {"GSC-v1.1/EMEA_GSC_de_man.xml": XML})["de"]
    assert document["id"] == "de_EMEA_d3.u5"
    assert document["passages"][0]["text"] == ["Zeh & Knie"]
    assert brief(document) == [
        ("ANAT", ["Zeh"], [[0, 3]], ["UMLS|C0000001"]), ("ANAT", ["Knie"], [[6, 10]], ["UMLS|C0000002"]),
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entity_bomb_is_refused(script, tmp_path, capsys, encoding):
    bomb = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
    source = lay(tmp_path, {"EMEA_GSC_de_man.xml": (bomb + "<Corpus>&b;</Corpus>").encode(encoding)})
    message = fails(script, capsys, "mantra", source, "--output", tmp_path / "out")
    assert ("document type definition" if encoding == "utf-8" else "is not UTF-8") in message


@pytest.mark.parametrize("text", ["<Corpus>", XML.replace('len="3"', 'len="x"'), XML.replace(' offset="0"', "")])
def test_other_xml_is_refused(script, tmp_path, capsys, text):
    source = lay(tmp_path, {"EMEA_GSC_de_man.xml": text})
    assert "not the XML of the Mantra corpus" in fails(script, capsys, "mantra", source, "--output", tmp_path / "out")


QUAERO = {
    "corpus/train/EMEA/318.txt": "douleurs aiguës ou chroniques\n",
    "corpus/train/EMEA/318.ann": (
        "T1\tDISO 0 15\tdouleurs aiguës\n#1\tAnnotatorNotes T1\tC0000001 C0000002\n"
        "T2\tDISO 0 8;19 29\tdouleurs chroniques\n#2\tAnnotatorNotes T2\tCC0000003\n"
        "T3\tDISO 16 18\tou\n#3\tAnnotatorNotes T3\tC00000041\nT4\tDISO 0 8\tdouleurs\n"
    ),
    "corpus/train/EMEA/318.ann~": "an editor's copy",
    "corpus/test/MEDLINE/77.txt": "foie\n",
    "corpus/test/MEDLINE/77.ann": "T1\tANAT 0 4\tfoie\n#1\tAnnotatorNotes T1\tC0000005\n",
}


def test_quaero(script, tmp_path, capsys):
    parts = run(script, tmp_path, "quaero", QUAERO)
    assert list(parts) == ["test", "train"]
    assert [d["id"] for d in parts["test"]] == ["MEDLINE_77"]
    (document,) = parts["train"]
    assert (document["id"], document["language"]) == ("EMEA_318", "fr")
    assert brief(document) == [
        ("DISO", ["douleurs aiguës"], [[0, 15]], ["UMLS|C0000001", "UMLS|C0000002"]),
        ("DISO", ["douleurs", "chroniques"], [[0, 8], [19, 29]], ["UMLS|C0000003"]),
        ("DISO", ["ou"], [[16, 18]], []),
        ("DISO", ["douleurs"], [[0, 8]], []),
    ]
    assert "4 mentions, 3 ids, 2 without id, 1 discontinuous, 0 mismatches (1 ids that are not CUIs)" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus/train/EMEA/318.ann": "T1\tDISO 0\tdouleurs\n"}, "318.ann:1: not a BRAT mention"),
        ({"corpus/train/EMEA/318.ann": "T1\tA 0 1\td\nT1\tA 0 1\td\n"}, "318.ann:2: not a BRAT mention, or its id"),
        ({"corpus/train/EMEA/318.ann": "#1\tAnnotatorNotes T9\tC0000001\n"}, "318.ann:1: 'T9' is given a concept"),
        ({"corpus/train/EMEA/318.txt": b"caf\xe9\n"}, "318.txt:1: is not UTF-8"),
        ({"corpus/train/EMEA/9.ann": ""}, "9.ann: has no text file '9.txt' beside it"),
    ],
)
def test_broken_brat(script, tmp_path, capsys, change, message):
    source = lay(tmp_path / "src", QUAERO | change)
    assert message in fails(script, capsys, "quaero", source, "--output", tmp_path / "out")


def test_bronco(script, tmp_path, capsys):
    annotations = (
        "T1\tDIAGNOSIS 0 3\tHCC\nN1\tReference T1 ICD10GM:C22,0+\tKrebs\nA1\tLevelOfTruth T1 negative\n"
        "T2\tTREATMENT 4 7;8 9\tOp. A\nN2\tReference T2 OPS2017:5-501.0\tLeber\n"
        "T3\tMEDICATION 8 9\tA\nN3\tReference T3 ATC:\t\n"
    )
    files = {
        "BRONCO150/bratFiles/randomSentSet2.ann": annotations,
        "BRONCO150/textFiles/randomSentSet2.txt": "HCC\nOp. A\n",
    }
    (document,) = run(script, tmp_path, "bronco", files)["set2"]
    assert (document["id"], document["language"]) == ("randomSentSet2", "de")
    assert brief(document) == [
        ("DIAGNOSIS", ["HCC"], [[0, 3]], ["ICD10GM|C22.0"]),
        ("TREATMENT", ["Op.", "A"], [[4, 7], [8, 9]], ["OPS|5-501.0"]),
        ("MEDICATION", ["A"], [[8, 9]], []),
    ]
    assert "(1 normalisations that are no id)" in capsys.readouterr().out


def test_xlbel(script, tmp_path, capsys):
    files = {
        "v0/de_1k_test_query.txt": "C0000001||Fuß\nC0000002|C0000003||Bein\n",
        "v1/de_1k_test_query_with_context.txt": (
            "C0000001||Fuß||Der  <tgt>Fuß</tgt> || Schuh.\nC0000002|C0000003||Bein||Am <tgt></tgt>.\n"
        ),
        "v0/all_1k_test_query.txt": "passed over",
    }
    parts = run(script, tmp_path, "xlbel", files)
    assert list(parts) == ["v0.0_de", "v1.0_de"]
    assert [(d["id"], d["passages"][0]["text"]) for d in parts["v0.0_de"]] == [
        ("xlbel_v0.0_de_0", ["Fuß"]), ("xlbel_v0.0_de_1", ["Bein"]),
    ]  # fmt: skip
    assert brief(parts["v0.0_de"][1]) == [("MENTION", ["Bein"], [[0, 4]], ["UMLS|C0000002", "UMLS|C0000003"])]
    first, second = parts["v1.0_de"]
    assert first["passages"][0]["text"] == ["Der  Fuß || Schuh."]
    assert brief(first) == [("MENTION", ["Fuß"], [[5, 8]], ["UMLS|C0000001"])]
    assert brief(second) == [("MENTION", ["Bein"], [[3, 3]], ["UMLS|C0000002", "UMLS|C0000003"])]
    assert capsys.readouterr().err == ("mismatch: document 'xlbel_v1.0_de_1', entity 1: 'Bein', but at 3-3 stands ''\n")


CODIESP = {
    "v4/train/trainX.tsv": (
        "S1-1\tPROCEDIMIENTO\tbw03zzz\tRx tórax\t0 8\nS1-1\tDIAGNOSTICO\tr52\tdolor de mano\t17 22;28 35\n"
        "S1-1\tDIAGNOSTICO\tm25.5\tdolor de mano\t17 22;28 35\nS1-1\tDIAGNOSTICO\tm79\tdolor\t17 22;24 24\n"
        "S2-1\tDIAGNOSTICO\tr05\ttos\t1 4\n"
    ),
    "v4/train/text_files/S1-1.txt": "Rx tórax normal, dolor leve de mano.\n",
    "v4/train/text_files/S2-1.txt": "tos",
    "v4/train/text_files/S3-1.txt": "sin fila",
    "v4/train/text_files_en/S1-1.txt": "translated",
    "v4/test/text_files/S1-1.txt": "another",
}


def test_codiesp(script, tmp_path, capsys):
    files = CODIESP | {"v4/train/text_files/S2-1.txt": " tos"}
    (first, second) = run(script, tmp_path, "codiesp", files)["train"]
    assert (first["id"], second["id"], first["language"]) == ("S1-1", "S2-1", "es")
    assert brief(first) == [
        ("PROCEDIMIENTO", ["Rx tórax"], [[0, 8]], ["ICD10PCS|BW03ZZZ"]),
        ("DIAGNOSTICO", ["dolor", "de mano"], [[17, 22], [28, 35]], ["ICD10CM|R52", "ICD10CM|M25.5"]),
        ("DIAGNOSTICO", ["dolor"], [[17, 22]], ["ICD10CM|M79"]),
    ]
    assert brief(second) == [("DIAGNOSTICO", ["tos"], [[1, 4]], ["ICD10CM|R05"])]
    assert capsys.readouterr().out.startswith(
        "train: 2 documents, 4 mentions, 5 ids, 0 without id, 1 discontinuous, 0 mismatches (1 merged into another) -> "
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("S1-1\tDIAGNOSTICO\tr52\tdolor\n", "trainX.tsv:1: not a row of the table: 'S1-1"),
        ("S1-1\tDIAGNOSTIC\tr52\tdolor\t17 22\n", "trainX.tsv:1: not a row"),
        ("\nS1-1\tDIAGNOSTICO\tr52\tdolor\t17-22\n", "trainX.tsv:2: not a row"),
        ("S9-1\tDIAGNOSTICO\tr52\tdolor\t17 22\n", "trainX.tsv: no text_files/S9-1.txt for this table"),
    ],
)
def test_broken_codiesp(script, tmp_path, capsys, row, message):
    source = lay(tmp_path / "src", CODIESP | {"v4/train/trainX.tsv": row})
    assert message in fails(script, capsys, "codiesp", source, "--output", tmp_path / "out")


def mismatched(tmp_path: Path, offsets: str = "17 22") -> Path:
    rows = f"S1-1\tDIAGNOSTICO\tr05\ttos\t{offsets}\nS1-1\tDIAGNOSTICO\tr52\tdolor  leve\t17 27\n"
    return lay(tmp_path / "src", CODIESP | {"v4/train/trainX.tsv": rows})


def test_mismatch_is_kept_or_skipped(script, tmp_path, capsys):
    agreeing = ("DIAGNOSTICO", ["dolor leve"], [[17, 27]], ["ICD10CM|R52"])
    for policy, kept in (
        ("keep", [("DIAGNOSTICO", ["tos"], [[17, 22]], ["ICD10CM|R05"]), agreeing]),
        ("skip", [agreeing]),
    ):
        output = tmp_path / f"{policy}.jsonl"
        arguments = ["codiesp", str(mismatched(tmp_path)), "--output", str(output), "--mismatch", policy]
        assert script.main(arguments) == 0
        assert brief(read(output)[0]) == kept
        captured = capsys.readouterr()
        assert captured.err == "mismatch: document 'S1-1', entity 1: 'tos', but at 17-22 stands 'dolor'\n"
        assert f" {len(kept)} mentions, {len(kept)} ids, 0 without id, 0 discontinuous, 1 mismatches ->" in captured.out


def test_mismatch_is_an_error(script, tmp_path, capsys):
    arguments = ["codiesp", mismatched(tmp_path), "--output", tmp_path / "out"]
    message = fails(script, capsys, *arguments, "--mismatch", "error")
    assert "document 'S1-1', entity 1: 'tos', but at 17-22 stands 'dolor'" in message
    assert not (tmp_path / "out").exists()


def test_offsets_outside_the_text_are_never_kept(script, tmp_path, capsys):
    source = mismatched(tmp_path, "17 99")
    message = fails(script, capsys, "codiesp", source, "--output", tmp_path / "out")
    assert "'tos', but at 17-99 stands no span of the 37 characters; --mismatch skip leaves it out" in message
    (document,) = run(script, tmp_path, "codiesp", {}, "--mismatch", "skip")["train"]
    assert len(document["entities"]) == 1


def test_many_mismatches_are_counted_but_not_all_named(script, tmp_path, capsys):
    rows = "".join(f"S1-1\tDIAGNOSTICO\tr05\tq\t{n} {n + 1}\n" for n in range(13))
    run(script, tmp_path, "codiesp", CODIESP | {"v4/train/trainX.tsv": rows})
    captured = capsys.readouterr()
    assert "13 mentions, 1 ids, 0 without id, 0 discontinuous, 13 mismatches" in captured.out
    lines = captured.err.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "mismatch: and 3 more"


def test_distemist(script, tmp_path, capsys):
    header = "filename\tmark\tlabel\toff0\toff1\tspan\tcode\tsemantic_rel\n"
    tables = "training/subtrack2_linking/distemist_subtrack2"
    files = {
        f"{tables}_training1_linking.tsv": (
            header + 'es-S1\tT1\tENFERMEDAD\t0\t13\t"mal ""del"" pie"\t100000001+100000002\tEXACT\n'
            "es-S1\tT2\tENFERMEDAD\t10\t13\tpie\tNO_CODE\tNO\nes-S1\tT3\tENFERMEDAD\t0\t3\tmal\tNOMAP\tNO\n"
        ),
        f"{tables}_training2_linking.tsv": header + "es-S2\tT1\tENFERMEDAD\t6\t12\tfiebre\t100000003\tEXACT\n",
        "training/subtrack1_entities/distemist_subtrack1_training_mentions.tsv": "other columns",
        "training/text_files/es-S1.txt": 'mal "del" pie\n',
        "training/text_files/es-S2.txt": "tos y fiebre\n",
    }
    parts = run(script, tmp_path, "distemist", files)
    assert [d["id"] for d in parts["train"]] == ["es-S1", "es-S2"]
    assert brief(parts["train"][0]) == [
        ("ENFERMEDAD", ['mal "del" pie'], [[0, 13]], ["SNOMED_CT|100000001", "SNOMED_CT|100000002"]),
        ("ENFERMEDAD", ["pie"], [[10, 13]], []),
        ("ENFERMEDAD", ["mal"], [[0, 3]], []),
    ]
    assert brief(parts["train"][1]) == [("ENFERMEDAD", ["fiebre"], [[6, 12]], ["SNOMED_CT|100000003"])]
    assert "train: 2 documents, 4 mentions, 3 ids, 2 without id, 0 discontinuous, 0 mismatches ->" in (
        capsys.readouterr().out
    )


def test_symptemist(script, tmp_path, capsys):
    header = "filename\tlabel\tspan_ini\tspan_end\ttext\tcode\tsem_rel\tis_composite\tis_abbrev\tneed_context\n"
    rest = "\tEXACT\tFalse\tFalse\tFalse\n"
    train, test = (f"symptemist_{part}/subtask2-linking/symptemist_tsv_{part}_subtask2" for part in ("train", "test"))
    files = {
        f"{train}.tsv": header,
        f"{train}_complete.tsv": header + f"es-S1\tSINTOMA\t0\t3\ttos\t100000001{rest}",
        f"{train}_complete+COMPOSITE.tsv": (
            header + f"es-S1\tSINTOMA\t0\t3\ttos\t100000001+NO_CODE+100000002{rest}"
            f"es-S1\tSINTOMA\t6\t12\tfiebre\t1.66753E+16{rest}"
        ),
        f"{test}.tsv": header + f"es-S9\tSINTOMA\t0\t3\ttos\t100000001{rest}",
        "symptemist_train/subtask1-ner/txt/es-S1.txt": "tos y fiebre",
        "symptemist_test/subtask1-ner/txt/es-S9.txt": "tos",
        "symptemist_gazetteer/symptemist_gazetter_snomed_ES_v2.tsv": "code\tterm\n",
    }
    parts = run(script, tmp_path, "symptemist", files)
    assert brief(parts["train"][0]) == [
        ("SINTOMA", ["tos"], [[0, 3]], ["SNOMED_CT|100000001", "SNOMED_CT|100000002"]),
        ("SINTOMA", ["fiebre"], [[6, 12]], []),
    ]
    assert brief(parts["test"][0]) == [("SINTOMA", ["tos"], [[0, 3]], ["SNOMED_CT|100000001"])]
    assert "(1 codes that cannot be read)" in capsys.readouterr().out


def test_table_with_other_columns(script, tmp_path, capsys):
    source = lay(tmp_path, {"distemist_subtrack2_test_linking.tsv": "filename\tcode\n"})
    message = fails(script, capsys, "distemist", source, "--output", tmp_path / "out")
    assert (
        "distemist_subtrack2_test_linking.tsv:1: the columns are filename, code; expected filename, label, off0/"
        in message
    )


def test_gscplus(script, tmp_path):
    corpus = (
        "123\r\nShort toes and feet.\r\n0\t10\tShort toes\tHP:0000001\r\n\r\n"
        "124\r\nNothing.\r\n\r\n125\nToes\n0\t4\tToes\tHP:0000002"
    )
    documents = run(script, tmp_path, "gscplus", {"corpus/GSC/GSCplus_dev_gold.tsv": corpus})["dev"]
    assert [(d["id"], d["passages"][0]["type"], d["passages"][0]["text"]) for d in documents] == [
        ("123", "abstract", ["Short toes and feet."]), ("124", "abstract", ["Nothing."]), ("125", "abstract", ["Toes"]),
    ]  # fmt: skip
    assert [brief(d) for d in documents] == [
        [("Phenotype", ["Short toes"], [[0, 10]], ["HP|HP:0000001"])], [],
        [("Phenotype", ["Toes"], [[0, 4]], ["HP|HP:0000002"])],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [("123\n\n", "tsv:1: not a document"), ("\n123\nText\n0\t4\n", "tsv:4: not a row of START, END, TEXT, HP id")],
)
def test_broken_gscplus(script, tmp_path, capsys, text, message):
    source = lay(tmp_path, {"GSCplus_dev_gold.tsv": text})
    assert message in fails(script, capsys, "gscplus", source, "--output", tmp_path / "out")


@pytest.mark.parametrize(
    "line", ["12\t0\t4\tGout\tD\tD1", "10\tx\t4\tGout\tD\tD1", "free text", "12|a|abstract of another"]
)
def test_broken_pubtator(script, tmp_path, capsys, line):
    source = lay(tmp_path, {"NCBItestset_corpus.txt": f"10|t|Gout.\n10|a|No.\n{line}\n"})
    message = fails(script, capsys, "ncbi-disease", source, "--output", tmp_path / "out")
    assert "NCBItestset_corpus.txt:3: not a PubTator line of the document" in message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("xlbel/de_1k_test_query.txt", "C1||Fuß||zu viel\n"),
        ("xlbel/de_1k_test_query.txt", "C1 Fuß\n"),
        ("xlbel/de_1k_test_query_with_context.txt", "C1||Fuß||Der Fuß.\n"),
    ],
)
def test_broken_xlbel(script, tmp_path, capsys, name, text):
    assert f"{name}:1: no" in fails(script, capsys, "xlbel", lay(tmp_path, {name: text}), "--output", tmp_path / "out")


def archive(path: Path, files: dict[str, str | bytes], prefix: str = "") -> Path:
    """Write a zip or tar.gz archive."""
    contents = {prefix + n: c.encode() if isinstance(c, str) else c for n, c in files.items()}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as z:
            for name, data in contents.items():
                z.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz") as tar:
            for name, data in contents.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def test_archives_give_the_same_bytes_as_folders(script, tmp_path):
    sources = [
        lay(tmp_path / "src", QUAERO),
        archive(tmp_path / "a.zip", QUAERO),
        archive(tmp_path / "a.tgz", QUAERO, "./"),
    ]
    written = []
    for number, source in enumerate(sources):
        output = tmp_path / str(number)
        assert script.main(["quaero", str(source), "--output", str(output)]) == 0
        written.append({p.name: p.read_bytes() for p in output.iterdir()})
    assert set(written[0]) == {"quaero_train.jsonl.gz", "quaero_test.jsonl.gz"}
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize("ending", ["zip", "tar.gz"])
@pytest.mark.parametrize("name", ["../NCBItestset_corpus.txt", "/NCBItestset_corpus.txt", "a/../../x.txt", "..\\x.txt"])
def test_path_out_of_an_archive_is_refused(script, tmp_path, capsys, ending, name):
    source = archive(tmp_path / f"a.{ending}", {name: NCBI})
    message = fails(script, capsys, "ncbi-disease", source, "--output", tmp_path / "out")
    assert "a path that leads out of it, which is refused" in message
    assert {p.name for p in tmp_path.iterdir()} == {source.name}


def test_links_in_a_tar_are_passed_over(script, tmp_path, capsys):
    source = tmp_path / "a.tar"
    with tarfile.open(source, "w") as tar:
        link = tarfile.TarInfo("NCBItestset_corpus.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert "no files of the corpus ncbi-disease" in fails(script, capsys, "ncbi-disease", source)


def test_what_grows_too_much_is_refused(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(script, "LIMIT", 100)
    big = {"NCBItestset_corpus.txt": "x" * 101}
    packed = MEDMENTIONS | {"full/data/corpus_pubtator.txt.gz": gzip.compress(b"x" * 101)}
    for name, source in (
        ("ncbi-disease", archive(tmp_path / "a.zip", big)),
        ("ncbi-disease", archive(tmp_path / "a.tar.gz", big)),
        ("medmentions", lay(tmp_path / "src", packed)),
    ):
        assert "unpacks to more than 100 bytes" in fails(script, capsys, name, source)


def test_damaged_archives(script, tmp_path, capsys):
    whole = archive(tmp_path / "whole.zip", {"NCBItestset_corpus.txt": NCBI * 9}).read_bytes()
    at = whole.index(b"Gout")
    damaged = lay(tmp_path, {"a.zip": whole[:at] + b"Pout" + whole[at + 4 :]}) / "a.zip"
    assert "NCBItestset_corpus.txt: cannot be unpacked: Bad CRC-32" in fails(script, capsys, "ncbi-disease", damaged)
    packed = archive(tmp_path / "whole.tar.gz", {"NCBItestset_corpus.txt": NCBI * 999}).read_bytes()
    cut = lay(tmp_path, {"a.tar.gz": packed[:-99]}) / "a.tar.gz"
    assert "a.tar.gz: is a damaged archive" in fails(script, capsys, "ncbi-disease", cut)
    files = MEDMENTIONS | {"full/data/corpus_pubtator.txt.gz": gzip.compress(b"x")[:-9]}
    message = fails(script, capsys, "medmentions", lay(tmp_path / "src", files))
    assert "corpus_pubtator.txt.gz: cannot be unpacked" in message


def test_sources_that_cannot_be_used(script, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"{empty}: no files of the corpus quaero; name them" in fails(script, capsys, "quaero", empty)
    nothing = lay(tmp_path / "nothing", {"full/corpus_pubtator.bin": "x"})
    assert "no files of the corpus medmentions" in fails(script, capsys, "medmentions", nothing)
    assert "no such file or folder" in fails(script, capsys, "quaero", tmp_path / "missing")
    folder = lay(tmp_path / "src", QUAERO)
    assert "is given twice" in fails(script, capsys, "quaero", folder, folder)
    both = lay(tmp_path / "both", mantra_files() | {"EMEA_GSC_de_man.xml": XML})
    assert "BRAT and XML of the same corpus" in fails(script, capsys, "mantra", both)


def test_several_sources_and_one_output_file(script, tmp_path, capsys):
    one = lay(tmp_path / "a", {"NCBItestset_corpus.txt": NCBI}) / "NCBItestset_corpus.txt"
    two = lay(tmp_path / "b", {"NCBIdevelopset_corpus.txt": NCBI}) / "NCBIdevelopset_corpus.txt"
    target = tmp_path / "c.jsonl.gz"
    message = fails(script, capsys, "ncbi-disease", one, two, "--output", target)
    assert "--output is one file, but there are the parts dev, test" in message
    assert script.main(["ncbi-disease", str(one), "--output", str(target)]) == 0
    assert [d["id"] for d in read(target)] == ["10", "11"]
    assert gzip.decompress(target.read_bytes())
    assert target.read_bytes()[3:10] == bytes([0, 0, 0, 0, 0, 2, 255])  # no name, no time


def test_xnorm_reads_what_is_written(script, tmp_path):
    from xnorm.corpora.base import ReadReport
    from xnorm.reading import reader_for

    run(script, tmp_path, "quaero", QUAERO)
    report = ReadReport()
    mentions = list(reader_for(tmp_path / "out" / "quaero_train.jsonl.gz").mentions(report))
    assert [(m.text, m.lang, m.types, m.gold) for m in mentions] == [
        ("douleurs aiguës", "fr", ("DISO",), ("UMLS:C0000001", "UMLS:C0000002")),
        ("douleurs chroniques", "fr", ("DISO",), ("UMLS:C0000003",)),
        ("ou", "fr", ("DISO",), ()),
        ("douleurs", "fr", ("DISO",), ()),
    ]
    assert not report.noted
    assert not report.skipped


def test_command_line(tmp_path):
    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, str(FOLDER / "corpora.py"), *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, encoding="utf-8")

    source = lay(tmp_path / "src", {"NCBItestset_corpus.txt": NCBI})
    done = command("ncbi-disease", source, "--output", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("test: 2 documents, 4 mentions")
    failed = command("quaero", source)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == (
        f"error: {source}: no files of the corpus quaero; name them as the publisher does; --help says where they are\n"
    )
    assert command("no-such-corpus", source).returncode == 2
