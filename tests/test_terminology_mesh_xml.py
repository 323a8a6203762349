"""MeSH in NLM's XML. The records have the published form; what they say is made up."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc

import pytest
from parsing import tools

from xnorm.errors import ConfigError
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.base import RawConcept, RawName, SourceReport
from xnorm.terminology.mesh_xml import MeshXmlConfig, MeshXmlParser

DTD = "https://www.nlm.nih.gov/databases/dtd/nlmdescriptorrecordset_20260101.dtd"
HEAD = f"""<?xml version="1.0"?>
<!DOCTYPE DescriptorRecordSet SYSTEM "{DTD}">
<DescriptorRecordSet LanguageCode = "eng">
"""
CAT = """<DescriptorRecord DescriptorClass = "1">
 <DescriptorUI>D900002</DescriptorUI>
 <DescriptorName>
  <String>Cat Purring</String>
 </DescriptorName>
 <DateCreated>
  <Year>1999</Year>
  <Month>01</Month>
  <Day>01</Day>
 </DateCreated>
 <AllowableQualifiersList>
  <AllowableQualifier>
   <QualifierReferredTo>
    <QualifierUI>Q000902</QualifierUI>
    <QualifierName>
     <String>loudness &amp; pitch</String>
    </QualifierName>
   </QualifierReferredTo>
   <Abbreviation>LP</Abbreviation>
  </AllowableQualifier>
 </AllowableQualifiersList>
 <Annotation>not read
 </Annotation>
 <PharmacologicalActionList>
  <PharmacologicalAction>
   <DescriptorReferredTo>
    <DescriptorUI>D900009</DescriptorUI>
    <DescriptorName>
     <String>Soothing Agents</String>
    </DescriptorName>
   </DescriptorReferredTo>
  </PharmacologicalAction>
 </PharmacologicalActionList>
 <TreeNumberList>
  <TreeNumber>C98.100.250</TreeNumber>
  <TreeNumber>G97.500</TreeNumber>
  <TreeNumber>C98.300</TreeNumber>
 </TreeNumberList>
 <ConceptList>
  <Concept PreferredConceptYN="Y">
   <ConceptUI>M9000002</ConceptUI>
   <ConceptName>
    <String>Cat Purring</String>
   </ConceptName>
   <CASN1Name>purr-(1-2-meow)</CASN1Name>
   <RegistryNumberList>
    <RegistryNumber>0CAT0PURR0</RegistryNumber>
   </RegistryNumberList>
   <ScopeNote>A sound that cats make
 when they are &lt;pleased&gt;.
   </ScopeNote>
   <RelatedRegistryNumberList>
    <RelatedRegistryNumber>99999-12-3 (Cat Purring)</RelatedRegistryNumber>
    <RelatedRegistryNumber>EC 9.8.7.-</RelatedRegistryNumber>
    <RelatedRegistryNumber>whatever</RelatedRegistryNumber>
   </RelatedRegistryNumberList>
   <ConceptRelationList>
    <ConceptRelation RelationName="NRW">
     <Concept1UI>M9000002</Concept1UI>
     <Concept2UI>M9000003</Concept2UI>
    </ConceptRelation>
    <ConceptRelation RelationName="BRD">
     <Concept1UI>M9000002</Concept1UI>
     <Concept2UI>M9000004</Concept2UI>
    </ConceptRelation>
   </ConceptRelationList>
   <TermList>
    <Term  ConceptPreferredTermYN="Y"  IsPermutedTermYN="N"  LexicalTag="NON"  RecordPreferredTermYN="Y">
     <TermUI>T900001</TermUI>
     <String>Cat Purring</String>
     <DateCreated>
      <Year>1999</Year>
      <Month>01</Month>
      <Day>01</Day>
     </DateCreated>
     <ThesaurusIDlist>
      <ThesaurusID>NLM (1966)</ThesaurusID>
     </ThesaurusIDlist>
    </Term>
    <Term  ConceptPreferredTermYN="N"  IsPermutedTermYN="Y"  LexicalTag="NON"  RecordPreferredTermYN="N">
     <TermUI>T900001</TermUI>
     <String>Purring, Cat</String>
    </Term>
    <Term  ConceptPreferredTermYN="N"  IsPermutedTermYN="N"  LexicalTag="NON"  RecordPreferredTermYN="N">
     <TermUI>T900002</TermUI>
     <String>Feline Hum[ming]</String>
    </Term>
   </TermList>
  </Concept>
  <Concept PreferredConceptYN="N">
   <ConceptUI>M9000003</ConceptUI>
   <ConceptName>
    <String>Kitten Purring</String>
   </ConceptName>
   <RegistryNumber>11111-11-1</RegistryNumber>
   <TermList>
    <Term  ConceptPreferredTermYN="Y"  IsPermutedTermYN="N"  LexicalTag="NON"  RecordPreferredTermYN="N">
     <TermUI>T900003</TermUI>
     <String>Kitten Purring</String>
    </Term>
   </TermList>
  </Concept>
  <Concept PreferredConceptYN="N">
   <ConceptUI>M9000004</ConceptUI>
   <ConceptName>
    <String>Pet Noise</String>
   </ConceptName>
   <TermList>
    <Term  ConceptPreferredTermYN="Y"  IsPermutedTermYN="N"  LexicalTag="NON"  RecordPreferredTermYN="N">
     <TermUI>T900004</TermUI>
     <String>Pet Noise</String>
    </Term>
   </TermList>
  </Concept>
  <Concept PreferredConceptYN="N">
   <ConceptUI>M9000005</ConceptUI>
   <ConceptName>
    <String>Cat Sneezing</String>
   </ConceptName>
   <ConceptRelationList>
    <ConceptRelation RelationName="REL">
     <Concept1UI>M9000005</Concept1UI>
     <Concept2UI>M9000002</Concept2UI>
    </ConceptRelation>
   </ConceptRelationList>
   <TermList>
    <Term  ConceptPreferredTermYN="Y"  IsPermutedTermYN="N"  LexicalTag="NON"  RecordPreferredTermYN="N">
     <TermUI>T900005</TermUI>
     <String>Cat Sneezing</String>
    </Term>
   </TermList>
  </Concept>
 </ConceptList>
</DescriptorRecord>
"""
# the child of C98.300 stands before it in the file, as in NLM's, which is in the order of the ids
SOUNDS = """<DescriptorRecord DescriptorClass = "1">
 <DescriptorUI>D900003</DescriptorUI>
 <DescriptorName>
  <String>Animal Sounds</String>
 </DescriptorName>
 <TreeNumberList>
  <TreeNumber>C98</TreeNumber>
  <TreeNumber>C98.100</TreeNumber>
  <TreeNumber>G97</TreeNumber>
 </TreeNumberList>
 <ConceptList>
  <Concept PreferredConceptYN="Y">
   <ConceptUI>M9000006</ConceptUI>
   <ConceptName>
    <String>Animal Sounds</String>
   </ConceptName>
   <RegistryNumber>0</RegistryNumber>
   <TermList>
    <Term  ConceptPreferredTermYN="Y"  IsPermutedTermYN="N"  LexicalTag="NON"  RecordPreferredTermYN="Y">
     <TermUI>T900006</TermUI>
     <String>Animal Sounds</String>
    </Term>
   </TermList>
  </Concept>
 </ConceptList>
</DescriptorRecord>
"""
DESC = HEAD + CAT + SOUNDS + "</DescriptorRecordSet>\n"
SUPP = """<?xml version="1.0"?>
<!DOCTYPE SupplementalRecordSet SYSTEM "https://www.nlm.nih.gov/databases/dtd/nlmsupplementalrecordset_20260101.dtd">
<SupplementalRecordSet LanguageCode = "eng">
<SupplementalRecord SCRClass = "3">
 <SupplementalRecordUI>C900001</SupplementalRecordUI>
 <SupplementalRecordName>
  <String>Silent purr syndrome</String>
 </SupplementalRecordName>
 <Note>A cat that purrs without a sound.
 </Note>
 <Frequency>3</Frequency>
 <HeadingMappedToList>
  <HeadingMappedTo>
   <DescriptorReferredTo>
    <DescriptorUI>*D900002</DescriptorUI>
    <DescriptorName>
     <String>Cat Purring</String>
    </DescriptorName>
   </DescriptorReferredTo>
   <QualifierReferredTo>
    <QualifierUI>*Q000902</QualifierUI>
    <QualifierName>
     <String>loudness &amp; pitch</String>
    </QualifierName>
   </QualifierReferredTo>
  </HeadingMappedTo>
  <HeadingMappedTo>
   <DescriptorReferredTo>
    <DescriptorUI>D900077</DescriptorUI>
    <DescriptorName>
     <String>Silence</String>
    </DescriptorName>
   </DescriptorReferredTo>
  </HeadingMappedTo>
 </HeadingMappedToList>
 <SourceList>
  <Source>J Pets 50(1):4;1976</Source>
 </SourceList>
 <ConceptList>
  <Concept PreferredConceptYN="Y">
   <ConceptUI>M9000011</ConceptUI>
   <ConceptName>
    <String>Silent purr syndrome</String>
   </ConceptName>
   <RegistryNumber>txid99999</RegistryNumber>
   <TermList>
    <Term  ConceptPreferredTermYN="Y"  IsPermutedTermYN="N"  LexicalTag="NON"  RecordPreferredTermYN="Y">
     <TermUI>T900011</TermUI>
     <String>Silent purr syndrome</String>
    </Term>
    <Term  ConceptPreferredTermYN="N"  IsPermutedTermYN="N"  LexicalTag="NON"  RecordPreferredTermYN="N">
     <TermUI>T900012</TermUI>
     <String>Mute purring</String>
    </Term>
   </TermList>
  </Concept>
 </ConceptList>
</SupplementalRecord>
</SupplementalRecordSet>
"""
FRENCH = """<?xml version="1.0" encoding="UTF-8"?>
<DescriptorRecordSet LanguageCode = "fre">
<DescriptorRecord DescriptorClass = "1">
 <DescriptorUI>D900002</DescriptorUI>
 <DescriptorName>
  <String>Ronronnement[Cat Purring]</String>
 </DescriptorName>
 <ConceptList>
  <Concept PreferredConceptYN="Y">
   <ConceptUI>M9000002</ConceptUI>
   <ConceptName>
    <String>Ronronnement[Cat Purring]</String>
   </ConceptName>
   <ScopeNote>A sound.</ScopeNote>
   <TranslatorsScopeNote>Un son du chat.</TranslatorsScopeNote>
   <TermList>
    <Term  ConceptPreferredTermYN="Y"  IsPermutedTermYN="N"  LexicalTag="NON"  RecordPreferredTermYN="Y">
     <TermUI>fre0900001</TermUI>
     <String>Ronronnement</String>
    </Term>
    <Term  ConceptPreferredTermYN="N"  IsPermutedTermYN="N"  LexicalTag="NON"  RecordPreferredTermYN="N">
     <TermUI>fre0900002</TermUI>
     <String>Ronron du chat[Cat Purring]</String>
    </Term>
    <Term  ConceptPreferredTermYN="N"  IsPermutedTermYN="N"  LexicalTag="NON"  RecordPreferredTermYN="N">
     <TermUI>fre0900003</TermUI>
     <String>Poly[ron]</String>
    </Term>
    <Term  ConceptPreferredTermYN="N"  IsPermutedTermYN="N"  LexicalTag="NON"  RecordPreferredTermYN="N">
     <TermUI>T900002</TermUI>
     <String>Feline Humming</String>
    </Term>
   </TermList>
  </Concept>
 </ConceptList>
</DescriptorRecord>
</DescriptorRecordSet>
"""
INSERM = """<?xml version="1.0" encoding="UTF-8"?>
<DescriptorRecordSet LanguageCode="fre">
<DescriptorRecord DescriptorClass="1">
 <DescriptorUI>D900002</DescriptorUI>
 <DescriptorName>
  <StringUS>Cat Purring</StringUS>
  <StringFR>Ronronnement</StringFR>
 </DescriptorName>
 <ConceptList>
  <Concept PreferredConceptYN="Y">
   <ConceptUI>M9000002</ConceptUI>
   <TermList>
    <Term ConceptPreferredTermYN="N">
     <TermUI>T900002</TermUI>
     <StringUS>Feline Humming</StringUS>
     <StringFR>Ronron</StringFR>
    </Term>
   </TermList>
  </Concept>
 </ConceptList>
</DescriptorRecord>
</DescriptorRecordSet>
"""
PURRING = RawConcept(
    id="MESH:D900002",
    names=[
        RawName("Cat Purring", "en", "preferred"),
        RawName("Feline Hum[ming]", "en", "exact"),
        RawName("Kitten Purring", "en", "narrow"),
        RawName("Pet Noise", "en", "broad"),
        RawName("Cat Sneezing", "en", "related"),
    ],
    types=["C", "G"],
    xrefs=["UNII:0CAT0PURR0", "CAS:99999-12-3", "EC:9.8.7.-"],
    parents=["MESH:D900003"],
    definition="A sound that cats make when they are <pleased>.",
    line=4,
)


written, parse, message = tools("mesh_xml", "desc2026.xml")


def test_every_field_of_a_descriptor(tmp_path):
    concepts, report = parse(written(tmp_path, DESC))
    assert (
        concepts
        == [
            PURRING,
            RawConcept(
                "MESH:D900003",
                [RawName("Animal Sounds", "en", "preferred")],
                types=["C", "G"],
                parents=[],  # it stands at C98 and at C98.100, and is not its own parent
                line=DESC[: DESC.index("D900003")].count("\n"),
            ),
        ]
    )
    assert report.version == "2026"
    assert report.skipped == {"permuted term": 1, "registry number of an unknown kind": 1}
    assert report.examples["permuted term"] == ["D900002"]


def test_every_field_of_a_supplementary_concept(tmp_path):
    concepts, report = parse(written(tmp_path, SUPP, "supp2026.xml"))
    assert concepts == [
        RawConcept(
            id="MESH:C900001",
            names=[RawName("Silent purr syndrome", "en", "preferred"), RawName("Mute purring", "en", "exact")],
            types=["SCR3"],
            xrefs=["NCBITaxon:99999"],
            parents=["MESH:D900002", "MESH:D900077"],
            definition="A cat that purrs without a sound.",
            line=4,
        )
    ]
    assert not report.skipped


def test_folder_reads_descriptors_first_and_passes_over_the_rest(tmp_path):
    written(tmp_path, SUPP, "a-supp2026.xml")
    written(tmp_path, gzip.compress(DESC.encode()), "desc2026.gz")
    written(tmp_path, "<PharmacologicalActionSet><PharmacologicalAction/></PharmacologicalActionSet>", "pa2026.xml")
    written(tmp_path, "<QualifierRecordSet LanguageCode='eng'/>", "qual2026.xml")
    written(tmp_path, "not read", "README.txt")
    written(tmp_path, gzip.compress(b"not read"), "mtrees2026.bin.gz")
    concepts, report = parse(tmp_path)
    assert [c.id for c in concepts] == ["MESH:D900002", "MESH:D900003", "MESH:C900001"]
    assert concepts[0] == PURRING
    assert concepts[2].types == ["SCR3", "C", "G"]
    assert report.skipped["file of <PharmacologicalActionSet>"] == 1
    assert report.examples["file of <QualifierRecordSet>"] == ["qual2026.xml"]
    read = ["desc2026.gz", "a-supp2026.xml"]
    sums = "".join(f"{hashlib.sha256((tmp_path / n).read_bytes()).hexdigest()}  {n}\n" for n in read)
    assert report.sha256 == hashlib.sha256(sums.encode()).hexdigest()
    assert report.bytes == sum((tmp_path / n).stat().st_size for n in read)


def test_files_of_a_folder(tmp_path):
    written(tmp_path, SUPP, "supp2026.xml")
    written(tmp_path, DESC, "desc2026.xml")
    written(tmp_path, DESC.replace("Cat Purring", "Old"), "desc2025.xml")
    concepts, report = parse(tmp_path, files=["supp2026.xml", "desc2026.xml"])
    assert [c.id for c in concepts] == ["MESH:D900002", "MESH:D900003", "MESH:C900001"]
    assert report.version == "2026"
    assert "none.xml: no such file" in message(tmp_path, files=["none.xml"])
    with pytest.raises(ConfigError, match=r"expected names of files in this folder, found '\.\./desc2026\.xml'"):
        parse(tmp_path, files=["../desc2026.xml"])
    with pytest.raises(ConfigError, match="`path` is a file"):
        parse(tmp_path / "desc2026.xml", files=["desc2026.xml"])


def test_folder_without_mesh(tmp_path):
    assert message(tmp_path) == f"{tmp_path}: holds no file of MeSH; expected desc2026.xml, supp2026.xml or the like"


def test_translation_with_the_english_in_brackets(tmp_path):
    concepts, report = parse(written(tmp_path, FRENCH, "fredesc2019.xml"))
    assert concepts == [
        RawConcept(
            "MESH:D900002",
            [
                RawName("Ronronnement", "fr", "preferred"),
                RawName("Cat Purring", "en", "preferred"),
                RawName("Ronron du chat", "fr", "exact"),
                RawName("Poly[ron]", "fr", "exact"),
                RawName("Feline Humming", "en", "exact"),
            ],
            definition="Un son du chat.",
            line=3,
        )
    ]
    assert (report.version, report.skipped) == ("2019", {})


def test_brackets_within_brackets(tmp_path):
    text = FRENCH.replace("[Cat Purring]", "[Cat [Loud] Purring]")
    names = parse(written(tmp_path, text))[0][0].names
    assert names[:2] == [
        RawName("Ronronnement", "fr", "preferred"),
        RawName("Cat [Loud] Purring", "en", "preferred"),
    ]


def test_preferred_term_of_a_translation_whose_record_has_no_translated_name(tmp_path):
    text = FRENCH.replace("Ronronnement[Cat Purring]", "").replace("Ronron du chat[Cat Purring]", "Ronron du chat")
    assert parse(written(tmp_path, text))[0][0].names == [
        RawName("Ronronnement", "fr", "preferred"),
        RawName("Ronron du chat", "fr", "exact"),
        RawName("Poly[ron]", "fr", "exact"),
        RawName("Feline Humming", "en", "exact"),
    ]


def test_translation_in_two_strings(tmp_path):
    assert parse(written(tmp_path, INSERM))[0][0].names == [
        RawName("Cat Purring", "en", "preferred"),
        RawName("Ronronnement", "fr", "preferred"),
        RawName("Feline Humming", "en", "exact"),
        RawName("Ronron", "fr", "exact"),
    ]


def test_language_of_the_config_comes_before_the_files(tmp_path):
    names = parse(written(tmp_path, FRENCH.replace("fre", "eng", 1)), lang="fra")[0][0].names
    assert names[0] == RawName("Ronronnement", "fr", "preferred")
    assert parse(written(tmp_path, FRENCH.replace(' LanguageCode = "fre"', "")))[0][0].names[0] == RawName(
        "Ronronnement[Cat Purring]", "en", "preferred"
    )


def test_options(tmp_path):
    path = written(tmp_path, DESC)
    concept = parse(path, permuted=True, related_numbers=False, tree_depth=2, prefix="M")[0][0]
    assert concept.names[1] == RawName("Purring, Cat", "en", "exact")
    assert concept.xrefs == ["UNII:0CAT0PURR0"]
    assert concept.types == ["C", "C98", "G", "G97"]
    assert (concept.id, concept.parents) == ("M:D900002", ["M:D900003"])
    assert parse(path, tree_depth=9)[0][0].types == [
        "C", "C98", "C98.100", "C98.100.250", "G", "G97", "G97.500", "C98.300",
    ]  # fmt: skip


def test_what_is_left_out_is_counted(tmp_path):
    text = (
        HEAD
        + "<DescriptorRecord><DescriptorUI> </DescriptorUI></DescriptorRecord>\n"
        + "<DescriptorRecord><DescriptorUI>D9</DescriptorUI><Novelty><Deep/></Novelty></DescriptorRecord>\n"
        + "<Extra><DescriptorRecord/></Extra>\n"
        + CAT.replace("<TermUI>T900001", "<Mood/><TermUI>T900001").replace("<ScopeNote>", "<Humour/><ScopeNote>")
        + "</DescriptorRecordSet>"
    )
    concepts, report = parse(written(tmp_path, text))
    assert [c.id for c in concepts] == ["MESH:D900002"]
    del report.skipped["permuted term"], report.skipped["registry number of an unknown kind"]
    assert report.skipped == {
        "record without a DescriptorUI": 1,
        "record without a name": 1,
        "element <Novelty>, which xnorm does not read": 1,
        "element <Extra>, which xnorm does not read": 1,
        "element <Mood>, which xnorm does not read": 1,
        "element <Humour>, which xnorm does not read": 1,
    }
    assert report.examples["record without a DescriptorUI"] == ["line 4"]
    assert report.examples["element <Extra>, which xnorm does not read"] == ["line 6"]


def test_encodings_and_line_ends(tmp_path):
    expected = parse(written(tmp_path, FRENCH.replace("chat", "ch\u00e2t")))[0]
    assert parse(written(tmp_path, b"\xef\xbb\xbf" + FRENCH.replace("chat", "ch\u00e2t").encode()))[0] == expected
    latin = FRENCH.replace("chat", "ch\u00e2t").replace("UTF-8", "ISO-8859-1").encode("latin-1")
    assert parse(written(tmp_path, latin))[0] == expected
    assert parse(written(tmp_path, FRENCH.replace("\n", "\r\n")))[0] == parse(written(tmp_path, FRENCH))[0]


def test_descriptors_and_a_translation_laid_over_them(tmp_path):
    english, french = written(tmp_path, DESC), written(tmp_path, FRENCH, "fredesc2026.xml")
    config = TerminologyConfig(
        sources=[
            {"type": "mesh_xml", "path": english, "name": "MeSH"},
            {"type": "mesh_xml", "path": french, "langs": ["fr"], "overlay": True},
        ]
    )
    terminology, _ = read_terminology(config)
    concept = terminology["MESH:D900002"]
    assert [(n.text, n.lang, n.scope) for n in concept.names if n.lang == "fr"] == [
        ("Ronronnement", "fr", "preferred"),
        ("Ronron du chat", "fr", "exact"),
        ("Poly[ron]", "fr", "exact"),
    ]
    assert concept.definition == "A sound that cats make when they are <pleased>."


def test_memory_does_not_grow_with_supplementary_records(tmp_path):
    record = SUPP[SUPP.index("<SupplementalRecord SCR") : SUPP.index("</SupplementalRecordSet>")]
    head = SUPP[: SUPP.index("<SupplementalRecord SCR")]
    peaks = []
    for count in (1500, 4500):
        path = written(tmp_path, head + record * count + "</SupplementalRecordSet>\n", "supp2026.xml")
        parser = MeshXmlParser(MeshXmlConfig(type="mesh_xml", path=path))
        tracemalloc.start()
        assert sum(1 for _ in parser.read(SourceReport("mesh", ""))) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_cut_anywhere(tmp_path):
    for end in range(len(HEAD) - 5, len(DESC) - 2, 37):
        path = written(tmp_path, DESC[:end])
        line = DESC[:end].count("\n") + 1
        assert message(path).startswith(f"{path}:"), DESC[:end][-30:]
        if end > len(HEAD):
            assert message(path) == (
                f"{path}:{line}: ends before </DescriptorRecordSet>; the file was cut off, fetch it again"
            )


def test_not_well_formed(tmp_path):
    path = written(tmp_path, DESC.replace("</DescriptorUI>", "</DescriptorID>", 1))
    assert message(path) == f"{path}:5: not well-formed XML: mismatched tag (column 25)"
    path = written(tmp_path, DESC.replace("&amp;", "&", 1))
    assert message(path).startswith(f"{path}:19: not well-formed XML: not well-formed (invalid token)")
    path = written(tmp_path, DESC.encode().replace(b"Pet Noise", b"Pet N\xf6ise", 1))
    assert "not well-formed XML: not well-formed (invalid token)" in message(path)
    path = written(tmp_path, "[Term]\nid: HP:1\n")
    assert message(path).startswith(f"{path}:1: not well-formed XML: ")


def test_another_root(tmp_path):
    for text, found in (
        ("<!DOCTYPE html>\n<html><body>not found</body></html>", "html"),
        ("\n<PharmacologicalActionSet/>", "PharmacologicalActionSet"),
    ):
        path = written(tmp_path, text)
        assert message(path) == (
            f"{path}:2: expected the root element <DescriptorRecordSet> or <SupplementalRecordSet>, found <{found}>; "
            "is it a file of this type?"
        )


BOMB = '<!ENTITY lol0 "lol">' + "".join(f'<!ENTITY lol{n + 1} "{f"&lol{n};" * 10}">' for n in range(9))
REFUSED = "declarations of entities are refused, for they can name other files or grow without end"


@pytest.mark.parametrize(
    ("subset", "name"),
    [
        (BOMB, "lol0"),
        ('<!ENTITY big "' + "A" * 100_000 + '">', "big"),
        ('<!ENTITY xxe SYSTEM "file:///etc/passwd">', "xxe"),
        ('<!ENTITY xxe PUBLIC "x" "http://127.0.0.1:9/x">', "xxe"),
        ('<!ENTITY % remote SYSTEM "http://127.0.0.1:9/x.dtd"> %remote;', "remote"),
        ('<!ENTITY % inner "&#60;!ENTITY x SYSTEM &#39;file:///etc/passwd&#39;&#62;"> %inner;', "inner"),
        ('<!NOTATION gif SYSTEM "x"><!ENTITY picture SYSTEM "x.gif" NDATA gif>', "picture"),
    ],
)
def test_entities_are_refused(tmp_path, subset, name):
    root = f'<!DOCTYPE DescriptorRecordSet SYSTEM "{DTD}" [\n{subset}]>\n<DescriptorRecordSet LanguageCode = "eng">\n'
    body = CAT.replace("Cat Purring", f"&{name};")
    path = written(tmp_path, root + body + "</DescriptorRecordSet>")
    text = message(path)
    assert text.startswith(f"{path}:2: declares the entity '{name}'; {REFUSED}")
    for name in ("desc2026.xml.gz", "desc2026.gz"):
        path = written(tmp_path, gzip.compress((root + body).encode()), name)
        assert f"{REFUSED}; replace the entity by its text" in message(path)
    assert REFUSED in message(tmp_path)


def test_entity_that_only_the_dtd_declares(tmp_path):
    path = written(tmp_path, DESC.replace("Pet Noise", "Pet&nbsp;Noise", 1))
    line = DESC[: DESC.index("Pet Noise")].count("\n") + 1
    assert message(path) == (
        f"{path}:{line}: uses the entity 'nbsp', which it does not declare; its DTD is not read; "
        "replace the entity by its text"
    )
    path = written(tmp_path, DESC.replace(f' SYSTEM "{DTD}"', "").replace("Pet Noise", "Pet&nbsp;Noise", 1))
    assert "not well-formed XML: undefined entity" in message(path)


def test_defaults_of_attributes_are_refused(tmp_path):
    subset = f'<!ATTLIST Term x CDATA "{"x" * 10_000}">'
    path = written(tmp_path, DESC.replace(f'"{DTD}">', f'"{DTD}" [{subset}]>'))
    assert message(path).startswith(f"{path}:2: declares a default for the attribute 'x' of <Term>; ")
    path = written(tmp_path, DESC.replace(f'"{DTD}">', f'"{DTD}" [<!ATTLIST Term x CDATA #IMPLIED>]>'))
    assert parse(path)[0][0] == PURRING


def test_external_dtd_is_not_fetched(tmp_path):
    (tmp_path / "desc.dtd").write_text("<!ELEMENT broken", encoding="utf-8")
    assert parse(written(tmp_path, DESC.replace(DTD, (tmp_path / "desc.dtd").as_uri())))[0][0] == PURRING


def test_elements_nested_without_end(tmp_path):
    deep = CAT.replace("<CASN1Name>", "<CASN1Name>" + "<a>" * 100_000 + "</a>" * 100_000)
    assert parse(written(tmp_path, HEAD + deep + SOUNDS + "</DescriptorRecordSet>"))[0][0] == PURRING
    deep = CAT.replace("<String>Pet Noise", "<String>Pet " + "<a>" * 100_000 + "</a>" * 100_000 + "Noise")
    assert parse(written(tmp_path, HEAD + deep + SOUNDS + "</DescriptorRecordSet>"))[0][0] == PURRING


def test_bad_files(tmp_path):
    missing = tmp_path / "none.xml"
    assert message(missing) == f"{missing}: no such file"
    path = written(tmp_path, b"")
    assert message(path) == f"{path}: is empty"
    path = written(tmp_path, gzip.compress(DESC.encode())[:-20])
    assert message(path).startswith(f"{path}: is a damaged gzip file: ")
    path = written(tmp_path, DESC.encode("utf-16"))
    assert message(path).startswith(f"{path}: is UTF-16")
    path = written(tmp_path, DESC.replace('"1.0"', '"1.0" encoding="klingon"'))
    assert message(path) == (
        f"{path}:1: is in an encoding that cannot be read: unknown encoding: klingon; convert it to UTF-8"
    )
    path = written(tmp_path, DESC.replace('"1.0"', '"1.0" encoding="shift-jis"'))
    assert "is in an encoding that cannot be read" in message(path)


def test_tree_number_with_levels_without_end(tmp_path):
    number = "C98" + ".1" * 100_000
    path = written(tmp_path, DESC.replace("C98.100.250", number))
    tracemalloc.start()
    concepts, _ = parse(path, tree_depth=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert concepts[0].types == ["C", "C98", "G", "G97"]
    assert peak < 50e6
