"""SNOMED CT in Release Format 2. The files have the published form; concepts and names are made up."""

from __future__ import annotations

import gzip
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rf2_data as data
from rf2_data import DE, FSN, GB, PREFERRED, US, Release, concept, curie, pets, sctid

from xnorm.config import read_yaml, validate
from xnorm.errors import ConfigError, DataError
from xnorm.rf2 import wrong_check_digit
from xnorm.rf2_history import ASSOCIATIONS
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.base import SourceReport
from xnorm.terminology.snomed import SnomedConfig, SnomedParser

ROOT = Path(__file__).parent.parent


class Read:
    """What the parser says of a release, as plain data by id."""

    def __init__(self, path: Path, **options) -> None:
        self.report = SourceReport("snomed", str(path))
        config = validate(SnomedConfig, {"type": "snomed", "path": path, **options}, where="test")
        self.parser = SnomedParser(config)
        (batch,) = self.parser.columns(self.report)
        rows = {kind: table.to_pylist() for kind, table in batch.items()}
        self.concepts = {row["id"]: None for row in rows["concepts"]}
        self.concepts |= {row["id"]: row["value"] for row in rows["definitions"]}
        assert len(self.concepts) == len(rows["concepts"])
        self.names: dict[str, list[tuple[str, str, str]]] = {}
        for row in rows["names"]:
            self.names.setdefault(row["id"], []).append((row["text"], row["lang"], row["scope"]))
        self.types = [(row["id"], row["value"]) for row in rows["types"]]
        self.parents = [(row["id"], row["value"]) for row in rows["parents"]]
        self.retired = {row["id"]: (row["replaced_by"], row["name"], row["reason"]) for row in rows["retired"]}
        self.skipped = dict(self.report.skipped)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "release"


# names


def test_a_release_with_every_field(folder):
    read = Read(pets().write(folder))
    assert read.concepts == {
        curie(1): None, curie(2): None, curie(3): "A purr that fails.", curie(4): None, curie(9): None,
    }  # fmt: skip
    assert read.names == {
        curie(1): [("Thing", "en", "preferred")],
        curie(2): [("Pet disorder", "en", "preferred"), ("Disorder of pet", "en", "exact")],
        curie(3): [
            ("Defective purr, colorless", "en", "preferred"),  # US English
            ("Defective purr, colourless", "en", "exact"),  # British English
            ("Purring failure", "en", "exact"),
            ("Purring insufficiency", "en", "exact"),
        ],
        curie(4): [("Limp tail (tail)", "en", "preferred")],  # the tag alone is cut off
        curie(9): [("Limp ear", "en", "preferred"), ("Ear that is limp", "en", "exact")],
    }
    assert read.types == [
        (curie(1), "thing"), (curie(2), "disorder"), (curie(3), "disorder"), (curie(4), "finding"),
    ]  # fmt: skip
    assert read.parents == [
        (curie(2), curie(1)), (curie(3), curie(2)), (curie(4), curie(2)), (curie(9), curie(1)),
    ]  # fmt: skip
    assert read.retired == {
        curie(5): ([curie(3)], "Purring failure 2", "duplicate: same as"),
        curie(6): ([], "Limp tail of old", "ambiguous: possibly equivalent to"),
        curie(7): ([curie(5)], "Old one", "obsolete: replaced by"),
        curie(8): ([], None, "obsolete"),
    }
    assert (read.report.read, read.report.version) == (9, "20260101")
    assert read.skipped == {"synonym in no language reference set": 1}
    assert read.report.examples == {"synonym in no language reference set": [str(sctid(800009, "01"))]}


def test_a_terminology_of_it(folder):
    source = {"type": "snomed", "path": str(pets().write(folder)), "name": "SCT", "types": ["disorder"]}
    terminology, report = read_terminology(TerminologyConfig(sources=[source]))
    assert terminology.concepts.column("id").to_pylist() == [curie(2), curie(3)]
    found = terminology[curie(3)]
    assert (found.name, found.definition) == ("Defective purr, colorless", "A purr that fails.")
    assert (list(found.types), list(found.parents)) == (["disorder"], [curie(2)])
    assert (report.concepts, report.names, report.retired) == (2, 6, 4)
    assert report.sources[0].version == "20260101"
    assert sorted(Path(path).name for path in report.sources[0].files) == [
        "der2_cRefset_AssociationSnapshot_INT_20260101.txt",
        "der2_cRefset_AttributeValueSnapshot_INT_20260101.txt",
        "der2_cRefset_LanguageSnapshot-en_INT_20260101.txt",
        "sct2_Concept_Snapshot_INT_20260101.txt",
        "sct2_Description_Snapshot-en_INT_20260101.txt",
        "sct2_Relationship_Snapshot_INT_20260101.txt",
        "sct2_TextDefinition_Snapshot-en_INT_20260101.txt",
    ]


def test_a_dialect(folder):
    pets().write(folder)
    british = [
        ("Defective purr, colourless", "en", "preferred"),
        ("Purring failure", "en", "exact"),
        ("Purring insufficiency", "en", "exact"),
    ]
    read = Read(folder, refsets={"eng": GB})
    assert read.names[curie(3)] == british
    assert read.names[curie(9)] == [("Limp ear", "en", "preferred")]
    assert read.skipped["synonym in no language reference set"] == 3  # Purrlessness, US colour, the ear
    both = Read(folder, refsets={"en": [str(GB), f"{US} |US English|"]})
    assert both.names[curie(3)] == [british[0], ("Defective purr, colorless", "en", "exact"), *british[1:]]
    everything = Read(folder, unlisted=True)
    assert everything.names[curie(3)][-1] == ("Purrlessness", "en", "exact")
    assert everything.skipped == {}


def test_tags(folder):
    r = pets()
    r.name(3, "急性（障碍）", lang="zh", kind=FSN)
    r.name(3, "Schnurrversagen (Störung) ", lang="de", kind=FSN)
    r.name(9, "Hängeohr (Befund)", lang="de", kind=FSN)
    r.name(9, "(nur so)", lang="es", kind=FSN)
    r.write(folder)
    read = Read(folder)
    assert [n for n in read.names[curie(3)] if n[1] != "en"] == [
        ("Schnurrversagen", "de", "preferred"), ("急性", "zh", "preferred"),
    ]  # fmt: skip
    assert (curie(3), "disorder") in read.types
    assert ("(nur so)", "es", "preferred") in read.names[curie(9)]
    assert [i for i, _ in read.types] == [curie(n) for n in (1, 2, 3, 4)]  # English has none for the last
    kept = Read(folder, strip_tags=False, semantic_tags=False)
    assert ("Purring failure (disorder)", "en", "exact") in kept.names[curie(3)]
    assert ("Limp tail (tail) (finding)", "en", "preferred") in kept.names[curie(4)]
    assert kept.types == []
    assert kept.retired[curie(7)][1] == "Old one (finding)"


def test_types_are_of_another_language_where_there_is_no_english(folder):
    r = Release()
    r.concept(1)
    r.name(1, "Cosa (trastorno)", lang="es", kind=FSN)
    r.concept(2)
    r.name(2, "Ding (Befund)", lang="de", kind=FSN)
    assert Read(r.write(folder)).types == [(curie(1), "trastorno"), (curie(2), "Befund")]


def test_the_language_of_the_source_comes_first(folder):
    r = pets()
    r.name(3, "Schnurrversagen", lang="de", de=PREFERRED)
    r.name(3, "Ein Schnurren, das versagt.", lang="de", kind=data.DEFINITION, de=PREFERRED)
    r.name(4, "Hängeschwanz", lang="de", de=data.ACCEPTABLE)
    r.write(folder)
    english, german = Read(folder), Read(folder, lang="ger")
    assert english.names[curie(3)][-1] == german.names[curie(3)][0] == ("Schnurrversagen", "de", "preferred")
    assert english.concepts[curie(3)] == "A purr that fails."
    assert german.concepts[curie(3)] == "Ein Schnurren, das versagt."
    assert german.names[curie(4)][0] == ("Hängeschwanz", "de", "exact")


def test_which_definition_counts(folder):
    r = Release()
    r.concept(1, "Thing (thing)")
    r.name(1, "First, acceptable.", kind=data.DEFINITION, us=data.ACCEPTABLE)
    r.name(1, "Gone.", kind=data.DEFINITION, us=PREFERRED, active=0)
    r.name(1, "Preferred.", kind=data.DEFINITION, us=PREFERRED)
    assert Read(r.write(folder)).concepts == {curie(1): "Preferred."}


def test_national_dialects_come_first_and_small_ones_last(folder):
    national, patients = sctid(32570, "10"), sctid(15551, "10")
    r = Release()
    for n in range(1, 4):
        r.concept(n, f"Thing {n} (thing)")
        r.member(national, r.name(n, f"national {n}"), PREFERRED)
        r.name(n, f"American {n}", us=PREFERRED)
    r.member(patients, r.name(1, "for patients"), PREFERRED)
    r.write(folder)
    assert [text for text, _, _ in Read(folder).names[curie(1)]] == [
        "national 1",
        "American 1",
        "for patients",
        "Thing 1",
    ]
    chosen = Read(folder, refsets={"en": [patients, US]})
    assert [text for text, _, _ in chosen.names[curie(1)]] == ["for patients", "American 1", "Thing 1"]
    assert [text for text, _, _ in chosen.names[curie(2)]] == ["American 2", "Thing 2"]


def test_two_preferred_synonyms_of_a_dialect(folder):
    r = Release()
    r.concept(1, "Thing (thing)")
    r.name(1, "one", us=PREFERRED)
    r.name(1, "two", us=PREFERRED)
    read = Read(r.write(folder))
    assert read.names[curie(1)] == [("one", "en", "preferred"), ("two", "en", "exact"), ("Thing", "en", "exact")]


def test_no_language_reference_set(folder):
    pets().write(folder)
    (path,) = folder.glob("Snapshot/Refset/Language/*")
    path.unlink()
    read = Read(folder)
    assert read.skipped == {"kind of file that the release lacks": 1, "language without a language reference set": 1}
    assert read.report.examples["language without a language reference set"] == ["en"]
    assert read.names[curie(3)] == [
        ("Purring failure", "en", "preferred"),
        ("Purring insufficiency", "en", "exact"),
        ("Defective purr, colorless", "en", "exact"),
        ("Defective purr, colourless", "en", "exact"),
        ("Purrlessness", "en", "exact"),
    ]


def test_what_language_reference_sets_say_in_vain(folder):
    r = pets()
    r.member(US, sctid(1, "01"), PREFERRED, lang="en")
    r.member(US, r.name(1, "Otherwise"), data.CORE, lang="en")
    r.member(US, r.name(1, "Withdrawn"), PREFERRED, lang="en", active=0)
    r.name(1, "Strange", kind=data.CORE, us=PREFERRED)
    read = Read(r.write(folder))
    assert read.names[curie(1)] == [("Thing", "en", "preferred")]
    assert read.skipped == {
        "member of a language reference set for a description that is missing": 1,
        "member of a language reference set of another acceptability": 1,
        "description of another type": 1,
        "synonym in no language reference set": 3,
    }


def test_wanted_reference_sets_that_are_not_there(folder):
    pets().write(folder)
    with pytest.raises(DataError, match=rf"no language reference set {DE} has members; found: {GB}, {US}; look at"):
        Read(folder, refsets={"en": [US, DE]})
    with pytest.raises(DataError, match="no description is in 'de'; languages: en;"):
        Read(folder, refsets={"de": DE})


# hierarchy


def test_roots(folder):
    read = Read(pets().write(folder), roots=[f"SNOMEDCT:{concept(2)}", f"{concept(9)} |Limp ear|"])
    assert list(read.concepts) == list(read.names) == [curie(2), curie(3), curie(4), curie(9)]
    assert [child for child, _ in read.parents] == [curie(2), curie(3), curie(4), curie(9)]
    assert list(read.retired) == [curie(5), curie(7)]  # which lead to a concept that is kept, one by way of the other
    assert read.skipped["concept outside the roots"] == 3
    assert read.report.examples["concept outside the roots"] == [str(concept(n)) for n in (1, 6, 8)]


@pytest.mark.parametrize(("n", "problem"), [(77, "no concept"), (5, "no active concept")])
def test_a_root_that_is_not_there(folder, n, problem):
    with pytest.raises(DataError, match=f"has {problem} '{curie(n)}'; look at `roots`"):
        Read(pets().write(folder), roots=[concept(2), concept(n)])


def test_bad_relationships(folder):
    r = pets()
    r.is_a(1, 4)  # a circle of 1, 2, 4
    r.is_a(4, 4)
    r.is_a(4, 77)
    r.is_a(78, 4)
    r.is_a(4, 5)
    r.is_a(3, 2)  # a second time, with another id
    r.write(folder)
    read = Read(folder)
    assert read.skipped == {
        "synonym in no language reference set": 1,
        "is-a of a concept that is missing": 2,
        "is-a of an inactive concept": 1,
        "is-a from a concept to itself": 1,
        "concept that is-a leads back to, kept": 3,
    }
    assert read.report.examples["concept that is-a leads back to, kept"] == [str(concept(n)) for n in (1, 2, 4)]
    assert read.parents.count((curie(3), curie(2))) == 1
    assert (curie(1), curie(4)) in read.parents
    assert list(Read(folder, roots=[concept(4)]).concepts) == [curie(n) for n in (1, 2, 3, 4, 9)]


def test_a_hierarchy_of_great_depth(folder):
    r = Release()
    for n in range(3000):
        r.concept(n, f"c{n} (thing)")
        r.is_a(n, n + 1)
    read = Read(r.write(folder), roots=[concept(2500)])
    assert len(read.concepts) == 2501


def test_no_relationships(folder):
    pets().write(folder)
    for path in folder.glob("Snapshot/Terminology/sct2_Relationship*"):
        path.unlink()
    assert Read(folder).parents == []
    with pytest.raises(DataError, match="has no file of kind Relationship, such as sct2_Relationship_Snapshot_INT"):
        Read(folder, roots=[concept(2)])


# inactive concepts


def test_chosen_associations(folder):
    pets().write(folder)
    read = Read(folder, associations=["possibly_equivalent_to", "SAME-AS"])
    assert read.retired[curie(5)][0] == [curie(3)]
    assert read.retired[curie(6)] == ([curie(3), curie(4)], "Limp tail of old", "ambiguous: possibly equivalent to")
    assert read.retired[curie(7)][0] == []
    assert Read(folder, associations=[]).retired[curie(5)] == ([], "Purring failure 2", "duplicate: same as")


def test_order_of_replacements(folder):
    r = pets()
    r.association(data.REPLACED_BY, 5, 2)
    r.association(data.REPLACED_BY, 5, 3)  # a second time
    r.association(data.SAME_AS, 5, 4, active=0)
    r.association(data.SAME_AS, 5, 5)  # itself
    r.association(data.SAME_AS, 5, 77)  # not there
    r.association(data.CORE, 5, 4)  # no association
    r.association(data.SAME_AS, 3, 4)  # of an active concept
    read = Read(r.write(folder))
    assert read.retired[curie(5)] == ([curie(3), curie(2)], "Purring failure 2", "duplicate: same as, replaced by")
    assert read.skipped["concept replaced by one that is missing"] == 1
    assert Read(folder, associations=["REPLACED BY", "SAME AS"]).retired[curie(5)][0] == [curie(2), curie(3)]


def test_the_newest_reason_counts(folder):
    r = pets()
    r.reason(5, data.OUTDATED, date="20000131")
    r.reason(6, data.OUTDATED, date="20200131")
    r.reason(8, 723277005)
    r.reason(7, 12345000)
    r.reason(3, data.OUTDATED)
    read = Read(r.write(folder))
    assert [read.retired[curie(n)][2] for n in (5, 6, 7, 8)] == [
        "duplicate: same as",
        "outdated: possibly equivalent to",
        "reason 12345000: replaced by",
        "nonconformance to editorial policy",
    ]


def test_published_ids_have_right_check_digits():
    """A slip of the pen in an id of SNOMED CT's own model would read nothing, silently."""
    import xnorm.rf2_history as history
    import xnorm.rf2_names as names
    import xnorm.terminology.snomed as snomed

    found = {*ASSOCIATIONS.values(), *history._REASONS, history.INACTIVATION, snomed._IS_A, 22298006, 138875005}
    found |= {names.FSN, names.SYNONYM, names.DEFINITION, names._PREFERRED, names._ACCEPTABLE, names._US_ENGLISH}
    assert len(found) == 31
    assert not wrong_check_digit(np.array(sorted(found))).any()


def test_check_digits():
    right = np.array(sorted(sctid(random.Random(n).randrange(1, 10 ** (1 + n % 14)), "10") for n in range(300)))
    assert not wrong_check_digit(right).any()
    wrong = right - right % 10 + (right % 10 + 1) % 10
    assert wrong_check_digit(np.sort(wrong)).all()
    assert wrong_check_digit(np.array([], np.int64)).tolist() == []


def test_wrong_check_digits_are_counted(folder):
    r = pets()
    r.name(1, "Odd one", us=PREFERRED, id=sctid(5, "01") + 1)
    r.add("sct2_Concept_", data.CORE, id=concept(50) + 1)
    read = Read(r.write(folder))
    assert read.skipped["concept id with a wrong check digit, kept"] == 1
    assert read.skipped["description id with a wrong check digit, kept"] == 1
    assert ("Odd one", "en", "preferred") in read.names[curie(1)]


# kinds of releases


def full() -> Release:
    """Return the pets with a history: 3 was once inactive, a name of 4 came and went, 2 had another parent."""
    r = pets("Full")
    r.concept(3, active=0, date="20020131")
    r.concept(3, date="20050131")
    late = r.name(4, "Flaccid tail", us=PREFERRED, date="20030131")
    r.name(4, "Flaccid tail", id=late, active=0, date="20080131")
    edge = sctid(99, "02")
    r.is_a(2, 9, id=edge, date="20020131")
    r.is_a(2, 9, id=edge, active=0, date="20060131")
    return r


def test_full_files(folder):
    full().write(folder)
    newest, snapshot = Read(folder), Read(pets().write(folder.parent / "snapshot"))
    assert newest.skipped == snapshot.skipped
    for what in ("concepts", "names", "types", "parents", "retired"):
        assert getattr(newest, what) == getattr(snapshot, what), what
    then = Read(folder, date="2004-01-31")
    assert curie(3) in then.retired
    assert curie(3) not in then.concepts
    assert then.names[curie(4)] == [("Flaccid tail", "en", "preferred"), ("Limp tail (tail)", "en", "exact")]
    assert (curie(2), curie(9)) in then.parents
    assert curie(5) not in then.retired  # which was made inactive later, and is not there in the file before
    assert list(Read(folder, date=20050131).concepts) == [curie(n) for n in (1, 2, 3, 4, 9)]


def test_snapshots_come_before_full_files(folder):
    full().write(folder)
    changed = pets()
    changed.name(1, "Of the Snapshot", us=PREFERRED)
    changed.write(folder)
    assert Read(folder).names[curie(1)][0][0] == "Of the Snapshot"
    assert Read(folder, release="full").names[curie(1)] == [("Thing", "en", "preferred")]
    assert Read(folder, date=20100101).names[curie(1)] == [("Thing", "en", "preferred")]
    for path in folder.glob("Snapshot/Refset/Language/*"):
        path.unlink()
    mixed = Read(folder)  # the one file that has no Snapshot is taken from the Full ones
    assert "language without a language reference set" not in mixed.skipped
    assert mixed.names[curie(2)][0] == ("Pet disorder", "en", "preferred")


def test_a_date_before_the_first_release(folder):
    with pytest.raises(DataError, match="has no concept as early as 19000101: it begins later; give a later `date`"):
        Read(full().write(folder), date=19000101)


def test_files_of_other_dates_and_kinds(folder):
    pets().write(folder)
    (old,) = folder.rglob("sct2_Concept_*")
    old.rename(old.with_name("sct2_Concept_Snapshot_INT_20250101.txt"))
    (other,) = folder.rglob("sct2_Relationship_*")
    other.rename(other.with_name("sct2_Relationship_Full_INT_20260101.txt"))
    read = Read(folder)
    assert read.report.examples["file of another date than the edition's"] == ["sct2_Concept_Snapshot_INT_20250101.txt"]
    assert read.report.examples["Full file, for want of a Snapshot"] == ["sct2_Relationship_Full_INT_20260101.txt"]


def test_links_that_lead_out_of_the_folder(tmp_path):
    pets().write(tmp_path / "a")
    (file,) = (tmp_path / "a").rglob("sct2_Relationship_*")
    secret = file.rename(tmp_path / file.name)
    try:
        file.symlink_to(secret)
    except OSError:
        pytest.skip("no symbolic links here")
    read = Read(tmp_path / "a")
    assert read.report.examples["link that leads out of the folder"] == [file.name]
    assert read.parents == []


def test_a_date_without_full_files(folder):
    pets().write(folder)
    for options in ({"date": 20200131}, {"release": "full"}):
        with pytest.raises(DataError, match=r"has no Full files of SNOMED CT, .*; found only Snapshot files; give"):
            Read(folder, **options)


def test_a_delta_alone(folder):
    with pytest.raises(DataError, match=r"has no Snapshot or Full files of SNOMED CT, .*; found only Delta files"):
        Read(pets("Delta").write(folder))


def test_duplicate_rows_of_a_snapshot(folder):
    r = pets()
    r.concept(3, active=0, date="20200131")
    r.concept(3, active=1, date="20210131")
    r.concept(4, active=0, date="20020131")  # as new as the other: the later line counts
    known = r.name(2, "Old spelling", us=PREFERRED, date="20020131", id=sctid(700, "01"))
    r.name(2, "New spelling", date="20030131", id=known)
    r.member(GB, known, PREFERRED, lang="en", id="0f0f0f0f-0000-4000-8000-000000000001", date="20050131")
    r.member(GB, known, PREFERRED, lang="en", id="0F0F0F0F-0000-4000-8000-000000000001", date="20060131", active=0)
    read = Read(r.write(folder))
    assert curie(3) in read.concepts
    assert curie(4) in read.retired
    assert [text for text, _, _ in read.names[curie(2)]] == ["New spelling", "Pet disorder", "Disorder of pet"]
    assert read.skipped["older row of an id in a Snapshot file"] == 5
    british = Read(folder, refsets={"en": GB})
    assert [text for text, _, _ in british.names[curie(2)]] == ["Pet disorder", "Disorder of pet"]


def newest_by_hand(rows, day):
    """Return the last state of each row up to a day."""
    state = {}
    for row in sorted((row for row in rows if int(row[1]) <= day), key=lambda row: int(row[1])):
        state[row[0]] = row
    return state.values()


def test_random_histories_equal_a_plain_reading(folder):
    """A Full release of random states, at random days, beside a reading with dicts."""
    rng = random.Random(1)
    days = [f"20{n:02}0131" for n in range(2, 20)]
    r = Release(kind="Full")
    for n in range(60):
        for day in [*days[: n % 50 > 1], *rng.sample(days[1:], rng.randint(1, 3))]:  # some come later
            r.concept(n, active=rng.random() < 0.8, date=day)
    for k in range(300):
        n, known = rng.randrange(60), sctid(5000 + k, "01")
        kind = FSN if rng.random() < 0.3 else data.SYNONYM
        for day in rng.sample(days, rng.randint(1, 3)):
            r.name(n, f"term {k} {day}", kind=kind, id=known, active=rng.random() < 0.8, date=day)
        for refset in (US, GB):
            value = rng.choice([PREFERRED, data.ACCEPTABLE])
            for day in rng.sample(days, rng.randint(0, 3)):
                r.member(refset, known, value, active=rng.random() < 0.8, date=day, lang="en")
    for k in range(150):
        child, parent = rng.randrange(60), rng.randrange(60)
        for day in rng.sample(days, rng.randint(1, 3)):
            r.is_a(child, parent, id=sctid(k + 1, "02"), active=rng.random() < 0.8, date=day)
    r.write(folder)
    for day in (20050131, 20110131, 20190131):
        read = Read(folder, date=day)
        state = {content: list(newest_by_hand(rows, day)) for (content, _), rows in r.rows.items()}
        live = {row[0] for row in state["sct2_Concept_"] if row[2]}
        known = {row[0] for row in state["sct2_Concept_"]}
        listed = {}
        for row in state["der2_cRefset_Language"]:
            if row[2]:
                listed.setdefault(row[5], set()).add((row[4], row[6]))
        expected: dict[str, list] = {}
        for row in state["sct2_Description_"]:
            if row[2] and row[4] in known:
                said = listed.get(row[0], set())
                rank = 2 if row[6] == FSN else 0 if (US, PREFERRED) in said else 1 if (GB, PREFERRED) in said else 3
                if row[4] in live and (said or row[6] == FSN):
                    expected.setdefault(f"SNOMEDCT:{row[4]}", []).append((rank, row[0], row[7]))
        names = {
            i: [
                (term, "en", "preferred" if n == 0 and rank < 3 else "exact")
                for n, (rank, _, term) in enumerate(sorted(v))
            ]
            for i, v in expected.items()
        }
        assert read.names == names
        edges = {(row[4], row[5]) for row in state["sct2_Relationship_"] if row[2] and row[4] != row[5]}
        assert {(int(a[9:]), int(b[9:])) for a, b in read.parents} == {(a, b) for a, b in edges if {a, b} <= live}
        assert {int(i[9:]) for i in read.concepts} == live
        assert {int(i[9:]) for i in read.retired} == known - live


# editions and extensions


def german() -> Release:
    """Return an extension: German names, a concept of its own, and an international one that it makes inactive."""
    r = Release("DE1000274", date="20251115", module=data.MODULE_DE)
    r.concept(20, date="20250515")
    r.name(20, "Paw failure (disorder)", kind=FSN, us=PREFERRED)
    r.name(20, "Pfotenversagen", lang="de", de=PREFERRED)
    r.is_a(20, 2)
    r.name(3, "Schnurrversagen", lang="de", de=PREFERRED)
    r.name(3, "Schnurrschwäche", lang="de", de=data.ACCEPTABLE)
    r.concept(9, active=0, date="20250515")
    r.concept(2, active=0, date="20010131")  # older than the international row
    r.association(data.REPLACED_BY, 9, 4, date="20250515")
    return r


def check_extended(read: Read) -> None:
    assert list(read.concepts) == [curie(n) for n in (1, 2, 3, 4, 20)]
    assert read.names[curie(20)] == [("Paw failure", "en", "preferred"), ("Pfotenversagen", "de", "preferred")]
    assert read.names[curie(3)][-2:] == [("Schnurrversagen", "de", "preferred"), ("Schnurrschwäche", "de", "exact")]
    assert (curie(20), curie(2)) in read.parents
    assert (curie(9), curie(1)) not in read.parents
    assert read.retired[curie(9)] == ([curie(4)], "Limp ear", "obsolete: replaced by")
    assert read.report.version == "INT 20260101, DE1000274 20251115"
    assert read.skipped == {"synonym in no language reference set": 1, "is-a of an inactive concept": 1}


def test_an_extension(tmp_path):
    pets().write(tmp_path / "international")
    german().write(tmp_path / "german")
    read = Read(tmp_path / "international", extensions=[{"path": tmp_path / "german"}])
    check_extended(read)
    files = {path.relative_to(tmp_path).parts[0] for path in read.parser.paths()}
    assert files == {"international", "german"}
    archives = [pets().zip(tmp_path / "int.zip"), german().zip(tmp_path / "de.zip")]
    zipped = Read(archives[0], extensions=[{"path": archives[1]}])
    check_extended(zipped)
    assert zipped.parser.paths() == archives[1:]


def test_editions_in_one_folder(folder):
    german().write(folder / "B" / "SnomedCT_Germany")
    pets().write(folder / "A")
    check_extended(Read(folder))


def test_an_extension_may_bring_newer_members_of_a_reference_set(tmp_path):
    international, extension = pets(), german()
    same = "5d9d4d4e-0000-5000-8000-00000000000a"
    term = international.name(4, "Drooping tail", id=sctid(900, "01"))
    international.member(US, term, PREFERRED, lang="en", id=same, date="20200131")
    extension.member(US, term, data.ACCEPTABLE, lang="de", id=same, date="20250515")
    international.write(tmp_path / "international")
    extension.write(tmp_path / "german")
    alone = Read(tmp_path / "international")
    assert alone.names[curie(4)][0] == ("Drooping tail", "en", "preferred")
    both = Read(tmp_path / "international", extensions=[{"path": tmp_path / "german"}])
    assert both.names[curie(4)] == [("Limp tail (tail)", "en", "preferred"), ("Drooping tail", "en", "exact")]


def test_an_extension_alone(folder):
    german().write(folder)
    half = Read(german().write(folder))  # half of its descriptions
    assert half.skipped["description of a concept that is missing"] == 2
    assert list(half.concepts) == [curie(20)]
    r = german()
    r.name(4, "Hängeschwanz", lang="de", de=PREFERRED)
    problem = (
        rf"is an extension: 3 of 5 descriptions .* such as {concept(3)}; give .* under `extensions`, or set `overlay"
    )
    with pytest.raises(DataError, match=problem):
        Read(r.write(folder))


def test_an_extension_laid_over_another_source(tmp_path):
    pets().write(tmp_path / "international")
    german().write(tmp_path / "german")
    sources = [
        {"type": "snomed", "path": str(tmp_path / "international"), "name": "INT"},
        {"type": "snomed", "path": str(tmp_path / "german"), "name": "DE", "overlay": True, "langs": ["de"]},
    ]
    terminology, report = read_terminology(TerminologyConfig(sources=sources))
    assert [(n.text, n.scope, n.source) for n in terminology[curie(3)].names if n.lang == "de"] == [
        ("Schnurrversagen", "preferred", "DE"), ("Schnurrschwäche", "exact", "DE"),
    ]  # fmt: skip
    assert curie(20) not in terminology  # which only the extension has
    assert curie(9) in terminology
    assert report.sources[1].skipped["names for an id that no earlier source has"] == 1


def test_two_releases_of_one_edition(folder):
    pets().write(folder)
    Release(date="20250701").write(folder)
    with pytest.raises(
        DataError, match=r"holds two files of one kind: .*_INT_20250701.txt and .*_INT_20260101.txt; give"
    ):
        Read(folder)


def test_modules(folder):
    r = pets()
    r.module = data.MODULE_DE
    r.concept(30, "National thing (thing)")
    r.name(3, "National purr", us=data.ACCEPTABLE)
    r.write(folder)
    core = Read(folder, modules=[data.CORE])
    assert curie(30) not in core.concepts
    assert ("National purr", "en", "exact") not in core.names[curie(3)]
    assert core.skipped["concept of another module"] == 1
    assert core.skipped["description of another module"] == 2  # that of this concept, too
    national = Read(folder, modules=[str(data.MODULE_DE)])
    assert list(national.concepts) == [curie(30)]
    assert national.retired == {}


# files


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("sct2_Description_Snapshot-en_INT", "sct2_Description_Snapshot_sv_SE1000052"),
        ("sct2_Description_Snapshot-en_INT_20260101", "xsct2_Description_UKCLSnapshot-en_GB1000000_20260101T120000Z"),
        ("sct2_Concept_Snapshot_INT", "sct2_Concept_SpanishExtensionSnapshot_INT"),
        ("der2_cRefset_LanguageSnapshot-en_INT", "der2_cRefset_LanguageSpanishExtensionSnapshot-es_INT"),
        ("der2_cRefset_LanguageSnapshot-en_INT", f"der2_cRefset_Language{US}Snapshot_INT"),
        ("der2_cRefset_AssociationSnapshot", "der2_cRefset_AssociationReferenceSnapshot"),
        ("sct2_Concept_Snapshot_INT_20260101", "sct2_Concept_Snapshot"),
    ],
)
def test_names_of_files(folder, before, after):
    plain = Read(pets().write(folder))
    (path,) = folder.rglob(f"{before}*")
    path.rename(path.with_name(path.name.replace(before, after)))
    # other files of a release, that are not read
    for name in (
        "sct2_StatedRelationship_Snapshot_INT_20260101.txt",
        "sct2_RelationshipConcreteValues_Snapshot_INT_20260101.txt",
        "der2_Refset_SimpleSnapshot_INT_20260101.txt",
        "der2_cRefset_MRCMModuleScopeSnapshot_INT_20260101.txt",
        ".sct2_Concept_Snapshot_INT_20260101.txt",
        "Readme_en_20260101.txt",
    ):
        (folder / name).write_text("not read")
    renamed = Read(folder)
    for what in ("concepts", "names", "types", "parents", "retired"):
        assert getattr(renamed, what) == getattr(plain, what), what


def test_a_folder_without_concepts(folder):
    pets().write(folder)
    (path,) = folder.rglob("sct2_Concept*")
    path.unlink()
    with pytest.raises(
        DataError, match=r"has no file of kind Concept, such as sct2_Concept_Snapshot_.*found .*sct2_Rel"
    ):
        Read(folder)


def test_a_folder_with_something_else(folder):
    folder.mkdir()
    for n in range(7):
        (folder / f"MRCONSO{n}.RRF").write_text("C1|")
    problem = r"has no Snapshot or Full files .*; found MRCONSO0.RRF, .*MRCONSO4.RRF and 2 more; give the folder of an"
    with pytest.raises(DataError, match=problem):
        Read(folder)
    with pytest.raises(DataError, match="no such file or folder"):
        Read(folder / "nothing")


def edit(folder: Path, name: str, change) -> Path:
    """Change the bytes of a file of a release."""
    (path,) = folder.rglob(f"{name}*")
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda b: b.replace(b"\r\n", b"\n"), id="line feeds"),
        pytest.param(lambda b: b"\xef\xbb\xbf" + b, id="byte order mark"),
        pytest.param(lambda b: b[:-2], id="no last line end"),
        pytest.param(lambda b: gzip.compress(b), id="gzip"),
        pytest.param(
            lambda b: b"".join(b"\t".join(line.split(b"\t")[::-1]) + b"\r\n" for line in b.split(b"\r\n") if line),
            id="columns in another order",
        ),
    ],
)
def test_forms_of_files(folder, change):
    plain = Read(pets().write(folder))
    for name in ("sct2_Concept", "sct2_Desc", "der2_cRefset_Language"):
        edit(folder, name, change)
    changed = Read(folder)
    assert (changed.names, changed.concepts, changed.skipped) == (plain.names, plain.concepts, plain.skipped)


def test_quotes_are_no_quotes(folder):
    r = pets()
    r.name(1, '"dry" form', us=PREFERRED)
    r.name(1, 'a "thing', us=PREFERRED)
    read = Read(r.write(folder))
    assert read.names[curie(1)][:2] == [('"dry" form', "en", "preferred"), ('a "thing', "en", "exact")]


def test_bad_rows_are_counted(folder):
    pets().write(folder)
    name = "sct2_Description_Snapshot-en_INT_20260101.txt"
    good = f"\t20020131\t1\t{data.CORE}\t{concept(1)}\ten\t{data.SYNONYM}\tA name\t{data.CORE}\r\n"
    bad = [
        "1012\t20020131\t1\r\n",
        f"X12{good}",
        f"-5{good}",
        f"1234567890123456789{good}",
        f"1012{good}".replace("20020131", "2002-01-31"),
        f"1012{good}".replace("20020131", "200201"),
        f"1012{good}".replace("\t1\t", "\t2\t"),
        f"1012{good}".replace("\t1\t", "\ttrue\t"),
        f"1012{good}".replace(str(concept(1)), ""),
        f"1012{good}".replace("A name", "A n\xe4me"),
    ]
    lines = edit(folder, name, lambda b: b + "".join(bad).encode("latin-1")).read_bytes().count(b"\n")
    first = lines - len(bad) + 1
    language = "der2_cRefset_LanguageSnapshot-en_INT_20260101.txt"
    member = f"\t20020131\t1\t{data.CORE}\t{US}\t{concept(1)}\t{PREFERRED}\r\n"
    wrong = ["123", "5d9d4d4e-0000-5000-8000-00000000000g", "5d9d4d4e000050008000000000000000aaaa"]
    edit(folder, language, lambda b: b + "".join(f"{w}{member}" for w in wrong).encode())
    read = Read(folder)
    assert read.skipped == {
        "synonym in no language reference set": 1,
        "row with 3 columns, expected 9": 1,
        "row that is not UTF-8": 1,
        "row with a bad value of id": 6,
        "row with a bad value of effectiveTime": 2,
        "row with a bad value of active": 2,
        "row with a bad value of conceptId": 1,
    }
    assert read.report.examples["row with 3 columns, expected 9"] == [f"{name}:{first}"]
    assert read.report.examples["row with a bad value of id"] == [f"{name}:{first + n}" for n in (1, 2, 3)]
    assert read.report.examples["row that is not UTF-8"] == [f"{name}:{first + 9}"]
    assert read.names[curie(1)] == [("Thing", "en", "preferred")]


@pytest.mark.parametrize(
    ("column", "row"),
    [
        ("id", f"1234567890123456789\t20020131\t1\t{data.CORE}\t1"),
        ("id", f"-90001003\t20020131\t1\t{data.CORE}\t1"),
        ("effectiveTime", f"90050009\t200201311\t1\t{data.CORE}\t1"),
        ("active", f"90050009\t20020131\t2\t{data.CORE}\t1"),
    ],
)
def test_a_number_that_cannot_be(folder, column, row):
    edit(pets().write(folder), "sct2_Concept", lambda b: b + f"{row}\r\n".encode())
    read = Read(folder)
    assert read.skipped[f"row with a bad value of {column}"] == 1
    assert read.report.read == 9


def test_times_of_a_day(folder):
    r = pets("Full")
    r.concept(4, active=0, date="20250620T120000Z")
    r.write(folder)
    assert curie(4) in Read(folder).retired
    assert curie(4) in Read(folder, date=20250619).concepts
    assert curie(4) not in Read(folder, date=20250620).concepts


def test_a_file_of_bad_rows(folder):
    pets().write(folder)
    edit(folder, "sct2_Concept", lambda b: b + b"x\t20020131\t1\t2\t3\r\n" * 50)
    with pytest.raises(DataError, match=r"sct2_Concept_.*:11: bad value of id: 'x', and 50 rows like it"):
        Read(folder)


def test_no_header(folder):
    pets().write(folder)
    edit(folder, "sct2_Concept", lambda b: b.partition(b"\r\n")[2])
    with pytest.raises(DataError, match=r"sct2_Concept_.*:1: has no column 'id'; its columns are: 9000"):
        Read(folder)


def test_empty_files(folder):
    pets().write(folder)
    for name in ("sct2_TextDef", "der2_cRefset_A"):
        for path in folder.rglob(f"{name}*"):
            path.write_bytes(path.read_bytes().partition(b"\r\n")[0] + b"\r\n")
    read = Read(folder)
    assert read.concepts[curie(3)] is None
    assert read.retired[curie(5)] == ([], "Purring failure 2", "obsolete")
    edit(folder, "sct2_Concept", lambda b: b"")
    with pytest.raises(DataError, match=r"sct2_Concept_.*: is empty"):
        Read(folder)


def test_a_release_without_rows(folder):
    r = Release()
    r.rows["sct2_Description_", "-en"] = []
    read = Read(r.write(folder))
    assert (read.concepts, read.names, read.retired, read.parents, read.report.read) == ({}, {}, {}, [], 0)
    with pytest.raises(DataError, match="holds no concept"):
        read_terminology(TerminologyConfig(sources=[{"type": "snomed", "path": str(folder)}]))


def test_a_truncated_gzip_file(folder):
    pets().write(folder)
    edit(folder, "sct2_Concept", lambda b: gzip.compress(b)[:-20])
    with pytest.raises(DataError, match=r"sct2_Concept_.*damaged"):
        Read(folder)


# zip archives


def test_a_zip_archive(tmp_path):
    plain, zipped = Read(pets().write(tmp_path / "r")), Read(pets().zip(tmp_path / "r.zip"))
    for what in ("concepts", "names", "types", "parents", "retired", "skipped"):
        assert getattr(zipped, what) == getattr(plain, what), what
    assert zipped.report.version == "20260101"
    assert zipped.parser.paths() == []


def rewrite(path: Path, change) -> Path:
    """Write an archive anew, each name and text changed."""
    with zipfile.ZipFile(path) as old:
        members = [change(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, text in members:
            new.writestr(name, text)
    return path


def test_names_in_a_zip_archive(tmp_path):
    path = pets().zip(tmp_path / "r.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/r/._sct2_Concept_Snapshot_INT_20260101.txt", "rubbish")
        archive.writestr("__MACOSX/r/sct2_Concept_Snapshot_INT_20260101.txt", "rubbish")
    assert len(Read(path).concepts) == 5
    assert len(Read(rewrite(path, lambda name, text: (name.replace("/", "\\"), text))).concepts) == 5


@pytest.mark.parametrize("name", ["../a.txt", "r/../../a.txt", "/etc/a.txt", "C:\\a.txt", "r\\..\\a.txt"])
def test_a_zip_archive_that_leads_outside(tmp_path, name):
    path = pets().zip(tmp_path / "r.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(DataError, match=r"r.zip: holds a name that leads outside: .*; do not trust it"):
        Read(path)
    assert [p.name for p in tmp_path.iterdir()] == ["r.zip"]


def test_a_zip_bomb(tmp_path):
    path = pets().zip(tmp_path / "r.zip")
    bomb = b"\0" * (20 << 20)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("r/Snapshot/Terminology/sct2_Description_Snapshot-de_INT_20260101.txt", bomb)
    with pytest.raises(
        DataError, match=r"Snapshot-de_INT_20260101.txt: unpacks from .* to 20,971,520 bytes, .*do not trust"
    ):
        Read(path)


def test_a_zip_bomb_that_lies_about_its_size(tmp_path):
    path = tmp_path / "r.zip"
    pets().zip(path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        info = next(i for i in archive.infolist() if "sct2_Description" in i.filename)
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        header = whole.index(signature, info.header_offset if signature[2] == 3 else 0)
        while signature[2] == 1 and info.filename.encode() not in whole[header : header + 46 + len(info.filename)]:
            header = whole.index(signature, header + 1)
        assert struct.unpack("<I", whole[header + at : header + at + 4])[0] == info.file_size
        whole = whole[: header + at] + struct.pack("<I", 100) + whole[header + at + 4 :]
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"sct2_Description.*is damaged: Bad CRC-32"):
        Read(path)


@pytest.mark.parametrize("keep", [0.3, 0.97])
def test_a_zip_archive_that_was_cut_off(tmp_path, keep):
    path = pets().zip(tmp_path / "r.zip")
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(DataError, match=r"r.zip: cannot be read as a zip archive: .*fetch it again"):
        Read(path)


def test_a_damaged_member(tmp_path):
    path = pets().zip(tmp_path / "r.zip")
    with zipfile.ZipFile(path) as archive:
        info = next(i for i in archive.infolist() if "sct2_Concept" in i.filename)
    text = bytearray(path.read_bytes())
    start = info.header_offset + 30 + len(info.filename)
    text[start : start + 8] = b"\xff" * 8
    path.write_bytes(text)
    with pytest.raises(
        DataError, match=r"sct2_Concept_Snapshot_INT_20260101.txt: is damaged: .*; fetch the zip archive again"
    ):
        Read(path)


def test_an_encrypted_member(tmp_path):
    path = pets().zip(tmp_path / "r.zip")
    with zipfile.ZipFile(path) as archive:
        offset = min(i.header_offset for i in archive.infolist() if "sct2_Concept" in i.filename)
    text = bytearray(path.read_bytes())
    central = text.index(b"PK\x01\x02")
    while b"sct2_Concept" not in text[central : central + 200].split(b"PK\x01\x02")[1]:
        central = text.index(b"PK\x01\x02", central + 1)
    text[offset + 6] |= 1
    text[central + 8] |= 1
    path.write_bytes(text)
    with pytest.raises(DataError, match=r"cannot be unpacked: .*encrypted.*; unpack it to a folder yourself"):
        Read(path)


def test_a_file_that_is_no_archive(folder):
    (path,) = pets().write(folder).rglob("sct2_Concept*")
    with pytest.raises(DataError, match="cannot be read as a zip archive: File is not a zip file"):
        Read(path)


def test_a_gzip_file_in_a_zip_archive(tmp_path):
    path = rewrite(pets().zip(tmp_path / "r.zip"), lambda name, text: (f"{name}.gz", gzip.compress(text)))
    assert len(Read(path).concepts) == 5


# settings


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"associations": ["SAME"]}, "unknown association 'SAME'; did you mean 'SAME AS'?"),
        ({"date": "January"}, "date: expected a day as in 20260101, found 'January'"),
        ({"roots": ["heart"]}, "roots.0: expected an id of SNOMED CT, as in 22298006, found 'heart'"),
        ({"refsets": {"en": True}}, "expected an id of SNOMED CT, as in 22298006, found 'True'"),
        ({"modules": ["1234567890123456789"]}, "expected an id of SNOMED CT"),
        ({"release": "delta"}, "release: Input should be 'snapshot' or 'full'"),
        ({"extensions": ["german"]}, "extensions.0: "),
        ({"refset": {}}, "unknown key 'refset'; did you mean 'refsets'?"),
    ],
)
def test_settings_that_cannot_be(options, problem):
    with pytest.raises(ConfigError) as caught:
        validate(SnomedConfig, {"type": "snomed", "path": "r", **options}, where="test")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ids_without_a_prefix(folder):
    read = Read(pets().write(folder), prefix=None)
    assert list(read.concepts) == [str(concept(n)) for n in (1, 2, 3, 4, 9)]
    assert read.retired[str(concept(5))][0] == [str(concept(3))]


@pytest.mark.parametrize("name", ["snomed", "snomed-extension"])
def test_the_configs_that_come_with_xnorm(name):
    (source,) = read_yaml(ROOT / "configs" / f"{name}.yaml")["terminology"]["sources"]
    config = validate(SnomedConfig, source, where=name)
    assert config.path == ROOT / "data" / "snomed"
    assert [extension.path for extension in config.extensions] == (
        [ROOT / "data" / "snomed-germany"] if name == "snomed-extension" else []
    )
