"""Classifications in ClaML. The files have the published form; what they say is made up."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest
from parsing import tools

from xnorm.errors import DataError
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.base import RawConcept, RawName

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE ClaML SYSTEM "ClaML.dtd">
<ClaML version="2.0.0">
<Meta name="TopLevelSort" value="I II"/>
<Meta name="lang" value="en"/>
<Identifier authority="PETS" uid="pets10"/>
<Title date="2026-01-31" name="PETS-10" version="2026">Classification of Pets</Title>
<ClassKinds><ClassKind name="chapter"/><ClassKind name="block"/><ClassKind name="category"/></ClassKinds>
<UsageKinds><UsageKind mark="*" name="aster"/><UsageKind mark="+" name="dagger"/></UsageKinds>
<RubricKinds><RubricKind inherited="false" name="preferred"/><RubricKind inherited="false" name="note"/></RubricKinds>
"""
TAIL = "</ClaML>\n"
CHAPTER = """<Class code="I" kind="chapter">
 <SubClass code="P00-P09"/>
 <Rubric id="D1" kind="preferred"><Label xml:lang="en" xml:space="default">Pets</Label></Rubric>
 <Rubric id="D2" kind="exclusion"><Label xml:lang="en">wild beasts (<Reference>W00</Reference>)</Label></Rubric>
</Class>
<Class code="P00-P09" kind="block">
 <SuperClass code="I"/>
 <SubClass code="P05"/>
 <Rubric id="D3" kind="preferred"><Label xml:lang="en">Cats</Label></Rubric>
</Class>
"""
CAT = """<Class code="P05" kind="category">
 <Meta name="Para301" value="P"/>
 <Meta name="SexCode" value="9"/>
 <SuperClass code="P00-P09"/>
 <SubClass code="P05.0"/>
 <Rubric id="D4" kind="preferred">
  <Label xml:lang="en" xml:space="default">
   Purring of vitamin B<Term class="subscript">12</Term> cats
  </Label>
 </Rubric>
</Class>
<Class code="P05.0" kind="category" usage="dagger">
 <SuperClass code="P05"/>
 <Rubric id="D5" kind="preferredLong"><Label xml:lang="en">Purring of cats: At night</Label></Rubric>
 <Rubric id="D6" kind="preferred">
  <Label xml:lang="en">At night<Reference class="in brackets" code="Q05.0" usage="aster">Q05.0*</Reference></Label>
 </Rubric>
 <Rubric id="D7" kind="inclusion"><Label xml:lang="en">
  <Fragment type="list">Purring:</Fragment>
  <Fragment type="list">nocturnal</Fragment>
 </Label></Rubric>
 <Rubric id="D8" kind="inclusion"><Label xml:lang="en">Midnight hum (<Reference>Q05.1</Reference>) NOS</Label></Rubric>
 <Rubric id="D9" kind="inclusion"><Label xml:lang="de">Nachtschnurren</Label></Rubric>
 <Rubric id="D10" kind="definition">
  <Label xml:lang="en"><Para>A sound</Para><Para>at night (<Reference>Q05</Reference>).</Para></Label>
 </Rubric>
 <Rubric id="D11" kind="note"><Label xml:lang="en">Listen.</Label></Rubric>
 <Rubric id="D12" kind="coding-hint"><Label xml:lang="en">Use additional code.</Label></Rubric>
 <History author="x" date="2020-01-01">changed</History>
</Class>
"""
PETS = HEAD + CHAPTER + CAT + TAIL


def labelled(text: str, kind: str = "preferred", lang: str = "en") -> str:
    return f'<Rubric kind="{kind}"><Label xml:lang="{lang}">{text}</Label></Rubric>'


def category(code: str, inside: str, name: str = "", above: str = "") -> str:
    superclass = f'<SuperClass code="{above}"/>' if above else ""
    return f'<Class code="{code}" kind="category">{superclass}{inside}{labelled(name or f"name of {code}")}</Class>\n'


def character(modifier: str, code: str, name: str, more: str = "", usage: str = "") -> str:
    attribute = f' usage="{usage}"' if usage else ""
    superclass = f'<SuperClass code="{modifier}"/>'
    return (
        f'<ModifierClass code="{code}" modifier="{modifier}"{attribute}>{superclass}{labelled(name)}{more}'
        "</ModifierClass>\n"
    )


STAGES = (
    '<Modifier code="S04_4"><SubClass code=".0"/><SubClass code=".1"/></Modifier>\n'
    + character("S04_4", ".0", "With sleep", labelled("Sleepy: cat", "inclusion"), usage="dagger")
    + character("S04_4", ".1", "Without sleep")
)
MOODS = (
    '<Modifier code="S04_5"><SubClass code="0"/><SubClass code="1"/></Modifier>\n'
    + character("S04_5", "0", "Calm")
    + '<ModifierClass code="1" modifier="S04_5"><Meta name="excludeOnPrecedingModifier" value="S04_4 .0"/>'
    + f'<SuperClass code="S04_5"/>{labelled("Angry")}</ModifierClass>\n'
)


written, parse, message = tools("claml", "pets.xml")


def codes(tmp_path: Path, *parts: str, **options: object) -> dict[str, str]:
    """Return code -> preferred English name."""
    concepts, _ = parse(written(tmp_path, HEAD + "".join(parts) + TAIL), **options)
    return {c.id: next(n.text for n in c.names if n.scope == "preferred") for c in concepts}


def test_every_field(tmp_path):
    concepts, report = parse(written(tmp_path, PETS), prefix="PETS10")
    assert concepts == [
        RawConcept("PETS10:I", [RawName("Pets", "en", "preferred")], types=["chapter"], line=11),
        RawConcept(
            "PETS10:P00-P09", [RawName("Cats", "en", "preferred")], types=["block"], parents=["PETS10:I"], line=16
        ),
        RawConcept(
            "PETS10:P05",
            [RawName("Purring of vitamin B12 cats", "en", "preferred")],
            types=["category"],
            parents=["PETS10:P00-P09"],
            line=21,
        ),
        RawConcept(
            "PETS10:P05.0",
            [
                RawName("Purring of cats: At night", "en", "preferred"),
                RawName("At night", "en", "related"),
                RawName("Purring nocturnal", "en", "exact"),
                RawName("Midnight hum NOS", "en", "exact"),
                RawName("Nachtschnurren", "de", "exact"),
            ],
            types=["category", "dagger"],
            parents=["PETS10:P05"],
            definition="A sound at night (Q05).",
            line=32,
        ),
    ]
    assert report.version == "2026"
    assert report.skipped == {"rubric of kind exclusion": 1, "rubric of kind note": 1, "rubric of kind coding-hint": 1}
    assert report.examples["rubric of kind note"] == ["P05.0"]


def test_options(tmp_path):
    path = written(tmp_path, PETS)
    concepts, report = parse(path, rubrics={"note": "related", "inclusion": "narrow"}, meta=["Para301", "SexCode"])
    assert concepts[2].types == ["category", "Para301=P", "SexCode=9"]
    assert [(n.text, n.scope) for n in concepts[3].names][2:] == [
        ("Purring nocturnal", "narrow"),
        ("Midnight hum NOS", "narrow"),
        ("Nachtschnurren", "narrow"),
        ("Listen.", "related"),
    ]
    assert report.skipped == {"rubric of kind exclusion": 1, "rubric of kind coding-hint": 1}


def test_full_names(tmp_path):
    classes = (
        '<Class code="5-01" kind="block">' + labelled("Paws") + "</Class>\n",
        category("5-010", "", "Incision", "5-01"),
        category("5-010.0", "", "Skin", "5-010"),
        category("5-010.00", labelled("Of the leg, in full", "preferredLong"), "Of the leg", "5-010.0"),
        category("5-010.01", "", "Of the tail", "5-010.0"),
    )
    concepts, _ = parse(written(tmp_path, HEAD + "".join(classes) + TAIL), full_names=True)
    assert [[(n.text, n.scope) for n in c.names] for c in concepts] == [
        [("Paws", "preferred")],
        [("Incision", "preferred")],
        [("Incision: Skin", "preferred"), ("Skin", "related")],
        [("Of the leg, in full", "preferred"), ("Of the leg", "related")],
        [("Incision: Skin: Of the tail", "preferred"), ("Of the tail", "related")],
    ]


def test_language_of_labels(tmp_path):
    text = HEAD.replace('value="en"', 'value="de"') + category("A00", "", "Katze") + TAIL
    assert parse(written(tmp_path, text))[0][0].names == [RawName("Katze", "en", "preferred")]
    text = text.replace(' xml:lang="en"', "")
    assert parse(written(tmp_path, text))[0][0].names == [RawName("Katze", "de", "preferred")]
    assert parse(written(tmp_path, text), lang="nl")[0][0].names == [RawName("Katze", "nl", "preferred")]
    text = text.replace('<Meta name="lang" value="de"/>', "")
    assert parse(written(tmp_path, text))[0][0].names == [RawName("Katze", "en", "preferred")]


def test_several_languages(tmp_path):
    label = '<Rubric kind="preferred"><Label xml:lang="en">Cat</Label><Label xml:lang="nl">Kat</Label></Rubric>'
    characters = (
        '<ModifierClass code=".0" modifier="M_4"><Rubric kind="preferred"><Label xml:lang="nl">klein</Label>'
        '<Label xml:lang="de">klein</Label></Rubric></ModifierClass>'
    )
    text = HEAD + characters + f'<Class code="A00" kind="category"><ModifiedBy code="M_4"/>{label}</Class>' + TAIL
    concepts, _ = parse(written(tmp_path, text))
    assert concepts[0].names == [RawName("Cat", "en", "preferred"), RawName("Kat", "nl", "preferred")]
    assert concepts[1].names == [RawName("Kat: klein", "nl", "preferred")]


def test_modifier_of_the_fourth_character(tmp_path):
    text = HEAD + STAGES + category("E10", '<ModifiedBy code="S04_4"/>', "Purring") + TAIL
    concepts, report = parse(written(tmp_path, text), prefix="P")
    line = text[: text.index('<Class code="E10"')].count("\n") + 1
    assert concepts == [
        RawConcept("P:E10", [RawName("Purring", "en", "preferred")], types=["category"], line=line),
        RawConcept(
            "P:E10.0",
            [RawName("Purring: With sleep", "en", "preferred"), RawName("Sleepy: cat", "en", "related")],
            types=["category", "dagger"],
            parents=["P:E10"],
            line=line,
        ),
        RawConcept(
            "P:E10.1",
            [RawName("Purring: Without sleep", "en", "preferred")],
            types=["category"],
            parents=["P:E10"],
            line=line,
        ),
    ]
    assert not report.skipped
    assert [c.id for c in parse(written(tmp_path, text), modifiers=False)[0]] == ["E10"]


def test_two_modifiers_and_what_one_excludes_of_the_other(tmp_path):
    both = '<ModifiedBy code="S04_5"/><ModifiedBy code="S04_4"/>'
    assert codes(tmp_path, STAGES, MOODS, category("E10", both, "Purring")) == {
        "E10": "Purring",
        "E10.0": "Purring: With sleep",
        "E10.1": "Purring: Without sleep",
        "E10.00": "Purring: With sleep: Calm",
        "E10.10": "Purring: Without sleep: Calm",
        "E10.11": "Purring: Without sleep: Angry",
    }
    concepts, _ = parse(tmp_path / "pets.xml")
    assert {c.id: c.parents for c in concepts}["E10.11"] == ["E10.1"]


def test_modifier_holds_below_its_class_unless_excluded(tmp_path):
    sites = character("S13_5", "0", "Many paws") + character("S13_5", "1", "Left paw")
    built = codes(
        tmp_path,
        sites,
        '<Class code="M00-M09" kind="block"><ModifiedBy code="S13_5"/>' + labelled("Paws") + "</Class>\n",
        category("M00", '<SubClass code="M00.0"/><SubClass code="M00.1"/>', "Sore", "M00-M09"),
        category("M00.0", "", "Very sore", "M00"),
        category("M00.1", '<ExcludeModifier code="S13_5"/>', "Slightly sore", "M00"),
        category("M01", '<ExcludeModifier code="S13_5"/><SubClass code="M01.0"/>', "Lame", "M00-M09"),
        category("M01.0", "", "Very lame", "M01"),
        category("M02.0", '<ModifiedBy code="S13_5"><ValidModifierClass code="1"/></ModifiedBy>', "Cut", "M00-M09"),
        category("M03.0", '<ModifiedBy all="false" code="S13_5"/>', "Bite", "M00-M09"),
    )
    assert built == {
        "M00-M09": "Paws",
        "M00": "Sore",
        "M00.0": "Very sore",
        "M00.00": "Very sore: Many paws",
        "M00.01": "Very sore: Left paw",
        "M00.1": "Slightly sore",
        "M01": "Lame",
        "M01.0": "Very lame",
        "M02.0": "Cut",
        "M02.01": "Cut: Left paw",
        "M03.0": "Bite",
    }


def test_points_and_fillers_in_codes(tmp_path):
    digits = character("S20W00_4", "0", "At home") + character("S13_5", "0", "Many paws") + character("ST", "0", "Fast")
    built = codes(
        tmp_path,
        digits,
        category("W00", '<ModifiedBy code="S20W00_4"/>'),
        category("M45", '<ModifiedBy code="S13_5"/>'),
        category("M46", '<ModifiedBy code="ST" position="5"/>'),
        category("T14.2", '<ModifiedBy code="S13_5"/>'),
        category("5-870.2", '<ModifiedBy code="ST"/>'),
        category("5-87", '<ModifiedBy code="ST"/>'),
    )
    assert list(built) == [
        "W00", "W00.0", "M45", "M45.X0", "M46", "M46.X0", "T14.2", "T14.20", "5-870.2", "5-870.20", "5-87", "5-870",
    ]  # fmt: skip


def test_class_of_the_file_comes_before_a_built_one(tmp_path):
    built = codes(
        tmp_path,
        STAGES,
        category("E10", '<ModifiedBy code="S04_4"/>', "Purring"),
        category("E10.1", '<ExcludeModifier code="S04_4"/>', "Its own name"),
    )
    assert built == {"E10": "Purring", "E10.0": "Purring: With sleep", "E10.1": "Its own name"}


def test_links_of_one_side(tmp_path):
    text = HEAD + category("A00", '<SubClass code="A00.0"/>') + category("A00.0", "") + category("B", "", above="A00")
    concepts, _ = parse(written(tmp_path, text + TAIL))
    assert [c.parents for c in concepts] == [[], ["A00"], ["A00"]]


def test_classes_in_a_circle_end(tmp_path):
    circle = (category("A00", '<ModifiedBy code="S04_4"/>', above="B00"), category("B00", "", above="A00"))
    assert list(codes(tmp_path, STAGES, *circle, full_names=True)) == ["A00", "B00"]


def test_what_is_left_out_is_counted(tmp_path):
    text = (
        HEAD
        + '<Class kind="category"/>\n<Novelty><Class code="X"/></Novelty>\n<Class code="A00" kind="category"/>\n'
        + category("A01", "<Mood/>" + '<ModifiedBy code="NONE"/>')
        + category("A02", '<ModifiedBy code="S04_4"><ValidModifierClass code=".7"/></ModifiedBy>')
        + category("A03.1", '<ModifiedBy code="S04_4"/>')
        + '<ModifierClass code="0"/>'
        + STAGES
        + TAIL
    )
    concepts, report = parse(written(tmp_path, text))
    assert [c.id for c in concepts] == ["A01", "A02", "A03.1"]
    assert report.skipped == {
        "class without a code": 1,
        "class without a name": 1,
        "element <Novelty>, which xnorm does not read": 1,
        "element <Mood>, which xnorm does not read": 1,
        "modifier NONE, which the file does not define": 1,
        "valid modifier class that the file does not define": 1,
        "code that modifiers make twice, or with two points": 2,
        "modifier class without a modifier or a code": 1,
    }
    assert report.examples["class without a code"] == ["line 11"]
    assert report.examples["valid modifier class that the file does not define"] == ["A02.7"]


def test_codes_that_come_twice(tmp_path):
    path = written(tmp_path, HEAD + category("A00", "", "Cat") + category("A00", "", "Dog") + TAIL)
    with pytest.raises(DataError, match=r":12: duplicate id 'A00': named 'Dog' here and 'Cat' before \(line 11\)"):
        read_terminology(TerminologyConfig(sources=[{"type": "claml", "path": path}]))


def test_kinds_are_types_that_can_be_kept(tmp_path):
    source = {"type": "claml", "path": written(tmp_path, PETS), "prefix": "P", "types": ["category"]}
    terminology, report = read_terminology(TerminologyConfig(sources=[source]))
    assert terminology.concepts["id"].to_pylist() == ["P:P05", "P:P05.0"]
    assert report.sources[0].skipped["concept of another type"] == 2


def test_encodings_and_gzip(tmp_path):
    text = PETS.replace("Nachtschnurren", "Nächtliches Schnurren")
    expected = parse(written(tmp_path, text))[0]
    assert expected[3].names[4].text == "Nächtliches Schnurren"
    for encoding in ("ISO-8859-1", "windows-1252"):
        path = written(tmp_path, text.replace("UTF-8", encoding).encode(encoding))
        assert parse(path)[0] == expected
    path = written(tmp_path, gzip.compress(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()), "pets.xml.gz")
    assert parse(path)[0] == expected


def test_cut_and_broken_files(tmp_path):
    for end in range(len(HEAD) + 1, len(PETS) - 2, 29):
        path = written(tmp_path, PETS[:end])
        line = PETS[:end].count("\n") + 1
        assert message(path) == f"{path}:{line}: ends before </ClaML>; the file was cut off, fetch it again"
    path = written(tmp_path, PETS.replace("</Rubric>", "</Rubrik>", 1))
    assert message(path).startswith(f"{path}:13: not well-formed XML: mismatched tag")
    path = written(tmp_path, gzip.compress(PETS.encode())[:-20])
    assert message(path).startswith(f"{path}: is a damaged gzip file: ")
    assert message(tmp_path) == f"{tmp_path}: is a folder, expected a file"


def test_another_root(tmp_path):
    path = written(tmp_path, '<?xml version="1.0"?>\n<ICD10CM.tabular/>')
    assert message(path) == (
        f"{path}:2: expected the root element <ClaML>, found <ICD10CM.tabular>; is it a file of this type?"
    )


@pytest.mark.parametrize(
    "subset",
    [
        '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">',
        '<!ENTITY a SYSTEM "file:///etc/hostname">',
        '<!ENTITY % a SYSTEM "http://127.0.0.1:9/evil.dtd">%a;',
    ],
)
def test_entities_are_refused(tmp_path, subset):
    text = PETS.replace('"ClaML.dtd">', f'"ClaML.dtd" [{subset}]>').replace(">Cats<", ">&a;<")
    path = written(tmp_path, text)
    assert message(path).startswith(f"{path}:2: declares the entity 'a'; declarations of entities are refused")


def test_entity_of_the_dtd(tmp_path):
    path = written(tmp_path, PETS.replace(">Cats<", ">Ca&shy;ts<"))
    assert message(path).startswith(f"{path}:19: uses the entity 'shy', which it does not declare; its DTD is not read")


def test_label_nested_without_end(tmp_path):
    for tag in ("Fragment", "Term"):
        path = written(tmp_path, PETS.replace(">Cats<", f">{f'<{tag}>' * 30_000}Cats{f'</{tag}>' * 30_000}<"))
        assert message(path) == f"{path}:16: elements nested more than 50 deep"


def test_modifiers_that_make_codes_without_end(tmp_path):
    many = [character(f"S{n}", str(c), "x") for n in range(9) for c in range(10)]
    divided = category("Z00", "".join(f'<ModifiedBy code="S{n}"/>' for n in range(9)))
    path = written(tmp_path, HEAD + "".join(many) + divided + TAIL)
    line = HEAD.count("\n") + "".join(many).count("\n") + 1
    assert message(path) == f"{path}:{line}: modifiers make more than 10000 codes of the class Z00"


def test_classes_nested_without_end(tmp_path):
    chain = "".join(category(f"A{n}", "", above=f"A{n - 1}") for n in range(1, 100))
    path = written(tmp_path, HEAD + category("A0", "") + chain + TAIL)
    assert message(path).endswith(": classes nested more than 50 deep")


def test_many_classes_below_one(tmp_path):
    many = "".join(f"<Class code='{n}'><SuperClass code='A'/></Class>" for n in range(40_000))
    path = written(tmp_path, HEAD + category("A", "") + many + TAIL)
    start = time.process_time()
    assert len(parse(path)[0]) == 1
    assert time.process_time() - start < 5


def test_names_and_definitions_that_come_twice(tmp_path):
    more = labelled("Feline") + labelled("Cat") + labelled("Meows.", "definition") + labelled("Purrs.", "definition")
    concepts, report = parse(written(tmp_path, HEAD + category(" A00 ", more, "Cat") + category(" ", "", "Dog") + TAIL))
    assert [(c.id, c.definition) for c in concepts] == [("A00", "Meows.")]
    names = {n.text: n.scope for n in concepts[0].names}
    assert sorted(names) == ["Cat", "Feline"]
    assert sorted(names.values()) == ["exact", "preferred"]
    assert report.skipped == {"further definition": 1, "class without a code": 1}
