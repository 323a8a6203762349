"""Reports that count by reason: the first places of each, whoever counts."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from xnorm.cleanup.base import StageReport
from xnorm.corpora.base import ReadReport
from xnorm.id_files import IdCounts
from xnorm.mappings.base import MappingReport
from xnorm.merging import MergeReport
from xnorm.sources import Report
from xnorm.tally import as_plain
from xnorm.terminology.base import SourceReport, predicate_scope

SOURCE, MAPPING, READ, STAGE = SourceReport("a", "a.obo"), MappingReport("a.tsv"), ReadReport(), StageReport("types")


@pytest.mark.parametrize(
    ("count", "counts", "report"),
    [
        (SOURCE.skip, SOURCE.skipped, SOURCE),
        (MAPPING.skip, MAPPING.skipped, MAPPING),
        (READ.skip, READ.skipped, READ),
        (READ.note, READ.noted, READ),
        (STAGE.drop, STAGE.dropped, STAGE),
        (STAGE.change, STAGE.changed, STAGE),
    ],
)
def test_the_first_three_places_are_kept_each_once(count, counts, report):
    reason = f"odd by {count.__name__}"
    for where in (None, "X:1", "X:1", "X:2", None, "X:3", "X:4"):
        count(reason, where)
    count("nowhere")
    assert counts == {reason: 7, "nowhere": 1}
    assert (report.examples[reason], report.examples["nowhere"]) == (["X:1", "X:2", "X:3"], [])


def test_lines_and_numbers():
    report = SourceReport("a", "a.obo")
    report.skip("odd", 3, 20)
    report.skip("odd", 0)
    report.skip("even", "X:1", 0)
    assert (report.skipped, report.examples) == ({"odd": 21}, {"odd": ["line 3", "line 0"]})


def test_reports_as_plain_data():
    """Counts stay counts, in reports within reports too."""
    source = SourceReport("a", "a.obo", skipped=Counter(odd=2), examples={"odd": ["line 1"]})
    merge = MergeReport(groups=2, by_sources=Counter({"A + B": 2}))
    plain = as_plain(Report(sources=[source], merge=merge, files={"a.obo": {"bytes": 7}}))
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["sources"][0]["skipped"], plain["sources"][0]["examples"]) == ({"odd": 2}, {"odd": ["line 1"]})
    assert (plain["merge"]["by_sources"], plain["merge"]["groups"]) == ({"A + B": 2}, 2)
    assert (plain["files"], plain["concepts"]) == ({"a.obo": {"bytes": 7}}, 0)
    assert type(plain["merge"]["by_sources"]) is dict
    plain["sources"][0]["examples"]["odd"].append("line 2")
    assert source.examples == {"odd": ["line 1"]}
    mapping = MappingReport("a.tsv", predicates=Counter(exact=3), skipped=Counter(odd=1))
    assert (mapping.as_dict()["predicates"], mapping.as_dict()["skipped"]) == ({"exact": 3}, {"odd": 1})
    assert IdCounts(records=1, ids=Counter(same=4)).as_dict() == {
        "records": 1, "ids": {"same": 4}, "examples": {}, "left_out": 0, "without": 0, "joined": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("predicate", "scope"),
    [
        ("rdfs:label", "preferred"),
        (" http://www.w3.org/2000/01/rdf-schema#label ", "preferred"),
        ("oboInOwl:hasExactSynonym", "exact"),
        ("http://www.geneontology.org/formats/oboInOwl#hasNarrowSynonym", "narrow"),
        ("BROADSYNONYM", "broad"),
        ("hasRelatedSynonym", "related"),
        ("skos:altLabel", None),
        ("oboInOwl:hasSynonym", None),
        ("", None),
    ],
)
def test_scopes_of_predicates(predicate, scope):
    assert predicate_scope(predicate) == scope
