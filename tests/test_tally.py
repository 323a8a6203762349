"""Reports that count by reason: the first places of each, whoever counts."""

from __future__ import annotations

import pytest

from xnorm.cleanup.base import StageReport
from xnorm.corpora.base import ReadReport
from xnorm.mappings.base import MappingReport
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
