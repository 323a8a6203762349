"""SSSLM tables of names."""

from __future__ import annotations

import gzip

from parsing import tools

from xnorm.config import validate
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.base import RawConcept, RawName

TABLE = """\
text\tcurie\tname\tpredicate\ttype\tprovenance\tcontributor\tdate\tlanguage\tcomment\tsource\ttaxon
cat\tpet:2\tcat\trdfs:label\t\t\t\t2026-01-01\t\t\tpets\t
kitty\tpet:2\tcat\toboInOwl:hasExactSynonym\tOMO:0003003\tpubmed:1,pubmed:2\torcid:0\t\t\t\tpets\t
"""
REST = (
    'mouser "the cat"\tpet:2\tcat\t\t\t\t\t\t\t\tpets\t',
    "chat tigré\tpet:2\tcat\toio:hasNarrowSynonym\t\t\t\t\tfr\t\tpets\tNCBITaxon:9685",
    "animal\tpet:2\tcat\thttp://www.geneontology.org/formats/oboInOwl#hasBroadSynonym\t\t\t\t\t\t\tpets\t",
    "puss\tpet:2\tcat\tskos:altLabel\t\t\t\t\t\t\tpets\t",
    "\tpet:2\tcat\t\t\t\t\t\t\t\tpets\t",
    "dog\t\t\t\t\t\t\t\t\t\tpets\t",
    "pup\tDOG:1\tdog\toboInOwl:hasRelatedSynonym\t\t\t\t\t\t\tpets\tNCBITaxon:9615",
)
ALL = TABLE + '"' + REST[0].replace('"', '""').replace("\t", '"\t', 1) + "\n" + "\n".join(REST[1:]) + "\n"


written, parse, message = tools("ssslm", "pets.ssslm.tsv")


def test_every_row(tmp_path):
    concepts, report = parse(written(tmp_path, ALL), rename_prefixes={"pet": "PET"})
    assert concepts == [
        RawConcept("PET:2", [RawName("cat", "en", "preferred")], line=2),
        RawConcept("PET:2", [RawName("kitty", "en", "exact")], line=3),
        RawConcept("PET:2", [RawName('mouser "the cat"', "en", "related")], line=4),
        RawConcept("PET:2", [RawName("chat tigré", "fr", "narrow")], line=5),
        RawConcept("PET:2", [RawName("animal", "en", "broad")], line=6),
        RawConcept("DOG:1", [RawName("pup", "en", "related")], line=10),
    ]
    assert report.skipped == {
        "row with the predicate skos:altLabel": 1, "row without a name": 1, "row without an id": 1,
    }  # fmt: skip
    assert report.examples["row without an id"] == ["line 9"]


def test_types_and_taxa(tmp_path):
    path = written(tmp_path, ALL.replace("\n", "\r\n"))
    concepts, report = parse(path, skip_synonym_types=["OMO:0003003"], taxa=["NCBITaxon:9685"], lang="de")
    assert [n.text for c in concepts for n in c.names] == ["cat", 'mouser "the cat"', "chat tigré", "animal"]
    assert [n.lang for c in concepts for n in c.names] == ["de", "de", "fr", "de"]
    assert report.skipped["synonym of the type OMO:0003003"] == 1
    assert report.skipped["name of the taxon NCBITaxon:9615"] == 1


def test_a_table_that_stands_alone(tmp_path):
    path = written(tmp_path, "\ufeff" + ALL)
    source = {"type": "ssslm", "path": path, "overlay": False}
    terminology, _ = read_terminology(validate(TerminologyConfig, {"sources": [source]}, where="test"))
    assert [(n.text, n.scope) for n in terminology["DOG:1"].names] == [("dog", "preferred"), ("pup", "related")]
    assert terminology["pet:2"].name == "cat"


def test_few_columns_are_enough(tmp_path):
    concepts, _ = parse(written(tmp_path, "curie,text\n5,cat\n", "pets.csv"), prefix="PET")
    assert concepts == [RawConcept("PET:5", [RawName("cat", "en", "related")], line=2)]


def test_bad_tables(tmp_path):
    path = written(tmp_path, ALL.replace("curie", "id", 1))
    assert message(path).startswith(f"{path}:1: has no column 'curie'")
    path = written(tmp_path, TABLE + "cat\tpet:3\n")
    assert message(path) == f"{path}:4: has 2 cells, the header has 12"
    path = written(tmp_path, TABLE.encode() + b"k\xe4tzchen")
    assert message(path) == f"{path}:4: is not UTF-8 (byte 0xe4); convert it to UTF-8"
    path = written(tmp_path, gzip.compress((TABLE * 99).encode())[:60], "pets.tsv.gz")
    assert message(path).startswith(f"{path}: is a damaged gzip file")
    path = written(tmp_path, "")
    assert message(path) == f"{path}: is empty"
