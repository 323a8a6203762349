"""RDF files: every syntax, and what is refused."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from xnorm.errors import DataError, MissingExtraError
from xnorm.rdf import Triple, rdf_files, read_triples

CAT, LABEL, NOTE = "http://example.org/pets/cat", "http://example.org/label", "http://example.org/note"
TRIPLES = [
    Triple(CAT, LABEL, "Käse & Katze", "de"),
    Triple(CAT, LABEL, "cat", ""),
    Triple(CAT, NOTE, "http://example.org/pets/dog", None),
]
XML = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE rdf:RDF [
    <!-- as Protégé writes it, and some with single quotes -->
    <!ENTITY pets "http://example.org/pets/" >
    <!ENTITY ex 'http://example.org/' >
]>
<rdf:RDF xmlns="http://example.org/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xml:base="&pets;">
  <rdf:Description rdf:about="&pets;cat">
    <label xml:lang="de">K&#228;se &amp; Katze</label>
    <label xml:lang="">cat</label>
    <note rdf:resource="dog"/>
  </rdf:Description>
</rdf:RDF>
"""
TURTLE = """\
@prefix : <http://example.org/> . @base <http://example.org/pets/> .
<cat> :label "Käse & Katze"@de , "cat" ; :note <dog> .
"""
LINES = """\
<http://example.org/pets/cat> <http://example.org/label> "K\\u00E4se & Katze"@de .
<http://example.org/pets/cat> <http://example.org/label> "cat" .
<http://example.org/pets/cat> <http://example.org/note> <http://example.org/pets/dog> .
"""
JSON = """\
{"@context": {"@vocab": "http://example.org/", "@base": "http://example.org/pets/"},
 "@id": "cat", "label": [{"@value": "Käse & Katze", "@language": "de"}, "cat"], "note": {"@id": "dog"}}
"""


def written(tmp_path: Path, content: str | bytes, name: str = "pets.owl") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def message(path: Path) -> str:
    with pytest.raises(DataError) as e:
        list(read_triples(path))
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pets.owl", XML),
        ("pets.RDF", XML),
        ("pets.ttl", XML),  # content goes before the name
        ("pets", TURTLE),
        ("pets.ttl", TURTLE),
        ("pets.owl", TURTLE),
        ("pets.trig", TURTLE),
        ("pets.trig", f":g {{ {LINES} }}".replace(":g", "<http://example.org/g>")),
        ("pets.nt", LINES),
        ("pets.owl", LINES),
        ("pets.nq", LINES.replace(" .\n", " <http://example.org/g> .\n")),
        ("pets.jsonld", JSON),
        ("pets.json", JSON),
        ("pets.owl", JSON),
        ("pets.owl", "\ufeff" + XML),
        ("pets.ttl", "\ufeff" + TURTLE),
        ("pets.owl", XML.replace("\n", "\r\n")),
        ("pets.ttl.gz", gzip.compress(TURTLE.encode())),
        ("pets.gz", gzip.compress(XML.encode())),
    ],
)
def test_every_syntax(tmp_path, name, content):
    assert list(read_triples(written(tmp_path, content, name))) == TRIPLES


def test_iris_that_begin_like_a_tag(tmp_path):
    path = written(tmp_path, "<urn:isbn:1> <urn:title> 'x' .\n")
    assert list(read_triples(path)) == [Triple("urn:isbn:1", "urn:title", "x", "")]


def test_what_is_not_checked(tmp_path):
    """Published files have spaces in IRIs, and no base."""
    path = written(tmp_path, "<#cat> <urn:a b> <http://example.org/a b> .", "pets.ttl")
    assert list(read_triples(path)) == [Triple("#cat", "urn:a b", "http://example.org/a b", None)]


def test_triples_about_triples_are_passed_over(tmp_path):
    text = "@prefix : <urn:> . :a :b :c {| :d 'x' |} ."
    found = list(read_triples(written(tmp_path, text, "pets.ttl")))
    assert [(t.subject, t.value) for t in found if not t.subject.startswith("_:")] == [("urn:a", "urn:c")]


def test_blank_nodes_of_several_files_stay_apart(tmp_path):
    for name in ("a.nt", "b.nt"):
        written(tmp_path, f'_:x <urn:p> "{name}" .\n<urn:s> <urn:p> _:x .\n', name)
    written(tmp_path, "not RDF", "readme.txt")
    found = list(read_triples(tmp_path))
    assert [t.value for t in found if t.lang == ""] == ["a.nt", "b.nt"]
    assert found[0].subject == found[1].value != found[2].subject == found[3].value


def test_folder_without_rdf(tmp_path):
    assert message(tmp_path).startswith(f"{tmp_path}: holds no RDF file; expected names that end in .owl, .rdf,")


def with_doctype(subset: str, text: str = "x") -> str:
    return (
        XML.replace(XML[XML.index("[") + 1 : XML.index("]>")], subset)
        .replace("&pets;", "urn:")
        .replace(">cat<", f">{text}<")
    )


@pytest.mark.parametrize(
    ("subset", "text"),
    [
        ('<!ENTITY a "ha"><!ENTITY b "&a;&a;">', "&b;"),
        ('<!ENTITY a "ha"><!ENTITY b "&#38;a;&#38;a;">', "&b;"),
        ('<!ENTITY b "<urn:x/>">', "&b;"),
        ('<!ENTITY b SYSTEM "file:///etc/passwd">', "&b;"),
        ('<!ENTITY b PUBLIC "x" "http://example.invalid/b">', "&b;"),
        ('<!ENTITY % b SYSTEM "http://example.invalid/b"> %b;', "x"),
        ("<!ENTITY % b \"<!ENTITY c 'x'>\"> %b;", "&c;"),
        (f'<!ENTITY b "{"x" * 257}">', "&b;"),
    ],
)
def test_entities_that_are_refused(tmp_path, subset, text):
    path = written(tmp_path, with_doctype(subset, text))
    problem = "declares the entity 'b', which is refused: it is not a short plain text; replace the entity by its text"
    assert message(path) == f"{path}:2: {problem}"


def test_entities_in_comments_are_none(tmp_path):
    """pyoxigraph would take them; what it gets is the declarations as expat sees them."""
    path = written(tmp_path, with_doctype('<!-- <!ENTITY b "ha"> -->', "&b;"))
    assert message(path) == f"{path}:6: not well-formed XML: undefined entity (column 24)"


def test_entity_of_a_dtd_that_is_not_read(tmp_path):
    path = written(tmp_path, with_doctype("", "&b;").replace("rdf:RDF [", 'rdf:RDF SYSTEM "urn:x" ['))
    assert "uses the entity 'b', which it does not declare; its DTD is not read" in message(path)


def test_defaults_of_attributes_are_refused(tmp_path):
    path = written(tmp_path, with_doctype('<!ATTLIST label xml:lang CDATA "de">'))
    assert "declares a default for the attribute 'xml:lang' of <label>" in message(path)


def test_deep_nesting_is_refused(tmp_path):
    deep = "<rdf:Description><note>" * 100_000
    path = written(tmp_path, XML.replace("<label", deep + "<label", 1))
    assert message(path) == f"{path}:9: elements are nested more than 1,000 deep"


@pytest.mark.parametrize("name", ["pets.jsonld", "pets.ttl"])
def test_deep_nesting_of_other_syntaxes(tmp_path, name):
    content = '{"urn:a":' * 100_000 if name == "pets.jsonld" else "<urn:a> <urn:b> " + "[ <urn:b> " * 100_000
    problem = "objects and lists are nested more than 1,000 deep" if name == "pets.jsonld" else "not valid"
    assert problem in message(written(tmp_path, content, name))


@pytest.mark.parametrize("levels", [2_000, 20_000, 60_000])
@pytest.mark.parametrize(
    ("name", "before", "opening", "inner", "closing", "after"),
    [
        ("a.jsonld", "", '{"urn:a":', '"x"', "}", ""),
        ("a.jsonld", '{"urn:a":', '{"@list":[', '"x"', "]}", "}"),
        ("a.jsonld", '{"urn:a":', '\n{"urn:\\"a\\\\":', '"x"', "}\n", "}"),
        ("a.jsonld", "", '{"@context":{"x":', "null", "}}", ""),
        ("a.ttl", "<urn:a> <urn:b> ", "<<( <urn:a> <urn:b> ", "<urn:c>", " )>>", " ."),
        ("a.trig", "<urn:a> <urn:b> ", "<<( <urn:a\n,> # )>> <<( '\n <urn:b> ", "'x'", " )>>", " ."),
        ("a.nt", "<urn:a> <urn:b> ", "<<(<urn:a><urn:b>", "<urn:c>", ")>>", " ."),
        ("a.nq", "<urn:a> <urn:b> \"<<( <\" .\n<urn:a> <urn:b> ", "<<( _:a <urn:b> ", '"x"', " )>>", " ."),
    ],
)  # fmt: skip
def test_deep_nesting_that_is_closed(tmp_path, name, before, opening, inner, closing, after, levels):
    """In another process, for it would end it."""
    path = written(tmp_path, before + opening * levels + inner + closing * levels + after, name)
    code = "import sys, pathlib, xnorm.rdf\ntry: list(xnorm.rdf.read_triples(pathlib.Path(sys.argv[1])))\n"
    code += "except xnorm.errors.DataError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "are nested more than 1,000 deep (in this line or a few before it)" in done.stdout
    assert done.stdout.count("\n") == 1


def test_what_is_not_nested(tmp_path):
    """Many brackets and triple terms beside each other, and in strings."""
    row = '{"urn:a": [{"urn:b": "[[[{{{ \\" [[ \\\\"}]}'
    assert len(list(read_triples(written(tmp_path, f"[{','.join([row] * 5000)}]", "a.jsonld")))) == 10_000
    text = "<a> <b> <<(<a><b><c>)>> .\n" * 5000 + "<a> <b> '<<( <<( <<(' .\n" * 5000
    assert len(list(read_triples(written(tmp_path, text, "a.ttl")))) == 5000


def test_protege_catalog(tmp_path):
    written(tmp_path, XML)
    written(tmp_path, '<catalog prefer="public"/>', "catalog-v001.xml")
    assert list(read_triples(tmp_path)) == TRIPLES


def test_links_that_lead_out_of_the_folder(tmp_path):
    folder = tmp_path / "pets"
    folder.mkdir()
    inside = written(folder, XML)
    try:
        (folder / "out.owl").symlink_to(written(tmp_path, XML, "secret.owl"))
        (folder / "pets.rdf").symlink_to(inside)
    except OSError:
        pytest.skip("no symbolic links here")
    left: list[tuple[str, str]] = []
    assert rdf_files(folder, lambda *what: left.append(what)) == [inside, folder / "pets.rdf"]
    assert left == [("link that leads out of the folder", "out.owl")]


@pytest.mark.parametrize("cut", ["  </rdf:Description>", "<note", "Katze", "</rdf:RDF>", "ource="])
def test_xml_that_was_cut_off(tmp_path, cut):
    path = written(tmp_path, XML[: XML.index(cut)])
    assert message(path).endswith("ends before </rdf:RDF>; the file was cut off, fetch it again")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.ttl", TURTLE[:-20], ":2: not valid Turtle: Unexpected end of file; the file was cut off, fetch it again"),
        ("a.ttl", TURTLE.replace(":note", "note"), ":2: not valid Turtle: "),
        ("a.ttl", TURTLE.replace("@prefix", "#"), ":2: not valid Turtle: The prefix : has not been declared"),
        ("a.ttl", TURTLE.encode("latin-1"), ":2: not valid Turtle: is not UTF-8; convert it to UTF-8"),
        ("a.owl", TURTLE[:-20], ":2: not valid Turtle or TriG: Unexpected end of file; the file was cut off"),
        ("a.nt", LINES[:-20], ":3: not valid N-Triples: "),
        ("a.nt", TURTLE, ":1: not valid N-Triples: "),
        ("a.nq", "x", ":1: not valid N-Quads: "),
        ("a.jsonld", JSON[:-5], ":2: not valid JSON-LD: Unexpected end of file"),
        ("a.jsonld", JSON.replace('"cat"', r'"\ud83d"'), ":2: not valid JSON-LD: "),
        ("a.jsonld", "cat", ":1: not valid JSON-LD: "),
        ("a.owl", XML.encode("latin-1"), ":3: not well-formed XML: not well-formed (invalid token) (column "),
        ("a.owl", XML.replace("UTF-8", "latin1"), ":1: is in the encoding latin1; convert it to UTF-8"),
        ("a.owl", XML.encode("utf-16"), ": is UTF-16; convert it to UTF-8 (iconv -f utf-16 -t utf-8)"),
        ("a.gz", gzip.compress(XML.encode("utf-16")), ": is UTF-16; convert it to UTF-8 (iconv -f utf-16 -t utf-8)"),
        ("a.owl", XML.replace("</label>", "</lable>", 1), ":9: not well-formed XML: mismatched tag (column "),
        ("a.owl", XML.replace("<note", "<q:note"), "not valid RDF/XML: Unknown prefix q: (in this line or a few"),
        ("a.ttl.gz", gzip.compress(TURTLE.encode())[:-20], ": is a damaged gzip file: "),
        ("a.owl", b"PK\x03\x04\x14\0", ": is a zip archive, expected RDF; unpack it; only gzip is read as it is"),
        ("a.owl", "<!doctype html><html><p>404</html>", ": is a web page, which is no RDF; did a server send it"),
        ("a.owl", "<ClaML version='2'/>", ":1: expected RDF/XML (<rdf:RDF>), found <ClaML>"),
        ("a.owl", '<?xml version="1.0"?>', ":1: not well-formed XML: no element found"),
        ("a.owl", '<Ontology xmlns="http://www.w3.org/2002/07/owl#" ontologyIRI="urn:x"/>', "is OWL/XML, which is"),
        ("a.owl", "Prefix(:=<urn:x>)\nOntology(<urn:x>)", ": is OWL in functional syntax, which is no RDF; convert it"),
        ("a.owl", "Prefix: owl: <urn:x>\nOntology: <urn:x>", ": is OWL in Manchester syntax, which is no RDF; convert"),
        ("a.owl", "format-version: 1.2\n", ": is OBO, which is no RDF; read it with `type: obo`"),
        ("a.owl", "", ": is empty"),
        ("a.ttl", " \n", ": holds nothing but white space"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(tmp_path, name, content, problem):
    path = written(tmp_path, content, name)
    found = message(path)
    assert found.startswith(str(path))
    assert problem in found


def test_where_rdf_xml_is_no_rdf(tmp_path):
    """The line is that of the block in which pyoxigraph stumbles."""
    lines = XML.splitlines()
    block = lines[7:12]
    bad = [line.replace('rdf:resource="dog"', 'rdf:resource="dog" rdf:nodeID="x"') for line in block]
    path = written(tmp_path, "\n".join([*lines[:7], *block * 1000, *bad, *block * 1000, lines[12]]))
    found = message(path)
    line = int(found.removeprefix(f"{path}:").partition(":")[0])
    assert 5012 - 1 <= line <= 5012 + 60
    assert "not valid RDF/XML: Not both rdf:resource and rdf:nodeID" in found


@pytest.mark.parametrize(
    "context",
    ['"http://example.invalid/c.jsonld"', '{"@version": 1.1, "@import": "file:///etc/passwd"}', '["c.jsonld"]'],
)
def test_nothing_is_fetched(tmp_path, context):
    path = written(tmp_path, f'{{"@context": {context}, "@id": "urn:a", "urn:b": "c"}}', "a.jsonld")
    assert message(path) == (
        f"{path}: not valid JSON-LD: has a context that is not in the file, and nothing is fetched; "
        "put the @context into the file"
    )


def test_long_literals(tmp_path):
    path = written(tmp_path, "<urn:a> <urn:b> '" + "x" * 20_000_000, "a.ttl")
    assert "is a quote or a bracket left open?" in message(path)
    text = "y" * 3_000_000  # which spans several reads
    assert list(read_triples(written(tmp_path, XML.replace(">cat<", f">{text}<"))))[1].value == text


def test_nothing_but_a_comment(tmp_path):
    path = written(tmp_path, "<?xml version='1.0'?>\n<!--" + "x" * 20_000_000)
    assert message(path).endswith("has no element in its first 16 MB; is it a file of this type?")


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyoxigraph", None)
    with pytest.raises(MissingExtraError) as e:
        list(read_triples(written(tmp_path, XML)))
    assert (
        str(e.value) == "reading RDF needs the package 'pyoxigraph', which is not installed: pip install 'xnorm[rdf]'"
    )
