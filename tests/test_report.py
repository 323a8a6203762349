"""The report: what stands in it is what was measured, hostile texts stay texts, plots can be read by their axes."""

from __future__ import annotations

import copy
import hashlib
import itertools
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import report_data
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from xnorm import plots, report

HOSTILE = (
    "<script>alert(1)</script> | `a` ``b`` [c](http://evil.example) ![d](//evil.example/e.png) http://evil.example "
    "www.evil.example e@evil.example <http://evil.example> $x^2$ *f* _g_ ~~h~~ &lt; \\ \"' {{ 7*7 }} \u202e i \x00 j"
)
OPENINGS = ("# ", "- ", "1. ", "=1+1 ", "> ", "+ ", "``` ", "--- ", "| ", "<b> ", "\n\n# ")


class Page(HTMLParser):
    """Tags, attributes and the tables of a page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.tables, self.open = [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.tags.append(f"/{tag}")

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


@pytest.fixture
def metrics():
    return report_data.metrics()


@pytest.fixture
def manifest():
    return report_data.manifest()


def markdown_tokens(text):
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)


def markdown_tables(text):
    """Read the tables as a Markdown reader sees them."""
    tables = []
    for token, inner in zip(tokens := markdown_tokens(text), [*tokens[1:], None], strict=True):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in ("td_open", "th_open"):
            tables[-1][-1].append("".join(t.content for t in inner.children))
    return tables


def folded_together(tables):
    """Join a table with the rows that a page folds away."""
    joined = []
    for table in tables:
        if joined and len(joined[-1]) == plots.MOST + 1 and table[0] == joined[-1][0]:
            joined[-1] += table[1:]
        else:
            joined.append(table)
    return joined


def svgs(text):
    found = re.findall(r"<svg.*?</svg>", text, re.S)
    return {e.get("aria-labelledby").split("-")[0]: e for e in map(ElementTree.fromstring, found)}


def points_of(path):
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", path.get("d"))]


def marked(svg, name):
    return [e for e in svg.iter() if e.get("class") == name]


def axis(svg, way):
    """Return what turns a place into a number, from the grid and the labels of its ends: as a reader does."""
    ends = []
    for line in marked(svg, "grid"):
        (x1, y1), (_, y2) = points_of(line)
        if (way == "y") == (y1 == y2):
            for label in svg.iter("text"):
                x, y = float(label.get("x")), float(label.get("y"))
                if (way == "y" and y - 4 == y1 and x < x1) or (way == "x" and x == x1 and 0 < y - y2 < 20):
                    ends.append((y1 if way == "y" else x1, float(label.text.replace("%", "").replace(",", ""))))
    (p, a), (q, b) = ends[0], ends[-1]
    return lambda place: a + (place - p) / (q - p) * (b - a)


# what stands in the report


def test_headline_has_every_metric_with_interval_and_numbers(metrics, manifest):
    rows = markdown_tables(report.markdown(metrics, manifest))[0]
    assert rows[0] == ["metric", "value [95 % interval]", "n", "documents"]
    assert rows[1:] == [
        ["accuracy", "0.674 [0.640-0.708]", "890", "100"],
        ["recall@5", "0.801 [0.767-0.835]", "878", "100"],
        ["recall@64", "0.921 [0.887-0.955]", "878", "100"],
        ["mrr", "0.730 [0.696-0.764]", "878", "100"],
        ["mean_rank", "2.418 [2.103-2.795]", "820", "100"],
        ["f1[strict]", "0.661 [0.627-0.695]", "100", "100"],
        ["nil_f1", "–", "0", "100"],
    ]


def test_a_breakdown_is_a_table_to_paste_into_a_paper(metrics, manifest):
    text = report.markdown(metrics, manifest)
    table = next(t for t in markdown_tables(text) if t[0][0] == "lang")
    assert table[0] == ["lang", "n", "accuracy", "recall@5", "recall@64", "mrr"]
    assert [row[0] for row in table[1:]] == list(report_data.LANGS)
    parts = [p for p in metrics["breakdowns"] if p["by"] == "lang"]
    for row, part in zip(table[1:], parts, strict=True):
        assert row[1] == str(part["rows"])
        for cell, m in zip(row[2:], part["metrics"], strict=True):
            interval = "" if m["low"] is None else f" [{m['low']:.3f}-{m['high']:.3f}]"
            assert cell == f"{m['value']:.3f}{interval}"
    assert "| vi | 1 | 1.000 | 1.000 | 1.000 |" in text  # one mention: no interval


def test_every_number_of_a_table_is_traceable(metrics, manifest):
    known = set()

    def walk(data):
        if isinstance(data, dict):
            for key, value in data.items():
                known.update(re.findall(r"\d+", key))
                walk(value)
        elif isinstance(data, list):
            for value in data:
                walk(value)
        elif isinstance(data, str):
            known.update(re.findall(r"\d[\d,]*(?:\.\d+)?", data))
        elif isinstance(data, int | float) and not isinstance(data, bool):
            known.update(
                (f"{data:,}", f"{data:.3f}", f"{data:.1f}", f"{100 * data:.1f}", f"{100 * data:g}", f"{1 - data:.3f}")
            )

    walk([metrics, manifest])
    for table in markdown_tables(report.markdown(metrics, manifest)):
        for row in table:
            for cell in row:
                for number in re.findall(r"\d[\d,]*(?:\.\d+)?", cell):
                    assert number.rstrip(",") in known, (number, row)


@pytest.mark.parametrize("make", [report_data.metrics, report_data.many_types, report_data.smallest])
def test_both_formats_have_the_same_tables(make, manifest):
    page = Page(report.html(make(), manifest))
    assert folded_together(page.tables) == markdown_tables(report.markdown(make(), manifest))


def test_clean_up_is_a_flow_of_numbers(metrics, manifest):
    table = next(t for t in markdown_tables(report.markdown(metrics, manifest)) if t[0][0] == "step" and len(t[0]) == 4)
    assert [(row[0], row[2], row[3]) for row in table[1:]] == [
        ("read", "", "960"),
        ("types", "60", "900"),
        ("retired", "4", ""),
        ("retired", "2", "900"),
        ("duplicates", "10", "890"),
        ("judged", "", "890"),
    ]


def test_risk_is_told_at_four_coverages(metrics, manifest):
    table = next(t for t in markdown_tables(report.markdown(metrics, manifest)) if t[0][0] == "coverage")
    by_coverage = {p["coverage"]: p for p in metrics["risk_coverage"]["points"]}
    for row, coverage in zip(table[1:], (1.0, 0.9, 0.8, 0.5), strict=True):
        point = by_coverage[coverage]
        numbers = [f"{1 - point['risk']:.3f}", f"{point['risk']:.3f}", f"{point['threshold']:.3f}"]
        assert row == [f"{100 * coverage:.1f} %", *numbers]


def test_another_corpus_than_the_expected_is_said_at_the_top(metrics, manifest):
    for text in (report.markdown(metrics, manifest), report.html(metrics, manifest)):
        assert text.index("Warning: this is not the corpus that was expected") < text.index("Main results")
    metrics["protocol"]["corpus"]["expected"] = {"met": True, "differences": []}
    assert "Warning" not in report.markdown(metrics, manifest)


def test_same_input_same_bytes_and_the_input_is_left_alone(metrics, manifest):
    before = copy.deepcopy((metrics, manifest))
    first = report.html(metrics, manifest) + report.markdown(metrics, manifest)
    assert (metrics, manifest) == before
    code = (
        "import hashlib, report_data as d; from xnorm import report as r; data = d.metrics(), d.manifest(); "
        "print(hashlib.sha256((r.html(*data) + r.markdown(*data)).encode()).hexdigest())"
    )
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment,
            cwd=Path(__file__).parent,
        ).stdout  # fmt: skip
        assert out.strip() == hashlib.sha256(first.encode()).hexdigest()


# texts from outside


def with_texts(data, text, *, kept=("by", "outcome", "metric")):
    """Replace every text of the data; and names of reasons, packages and the like."""
    if isinstance(data, dict):
        return {key: value if key in kept else with_texts(value, text) for key, value in data.items()}
    if isinstance(data, list):
        return [with_texts(value, text) for value in data]
    return text if isinstance(data, str) else data


def texts_everywhere(text):
    metrics = with_texts(report_data.metrics(), text)
    for entry in [*metrics["errors"]["outcomes"], *metrics["errors"]["causes"]]:
        entry["outcome"] = text
    for record in metrics["metrics"]:
        record["metric"] = text
    protocol = metrics["protocol"]
    protocol["cleanup"][0]["dropped"], protocol["cleanup"][0]["examples"] = {text: 60}, {text: [text]}
    protocol["corpus"]["skipped"], protocol["corpus"]["parts"] = {text: 2}, {text: {"mentions": 3, "format": text}}
    for case in (e for c in metrics["errors"]["causes"] for e in c["examples"]):
        case["context"] = f"{text} [{text}] {text}"
        case["ranks"] = {text: 3}
    manifest = with_texts(report_data.manifest(), text)
    manifest |= {"packages": {text: text}, "files": {text: text}, "seconds": {text: 1.5}, "config": {text: [text]}}
    return metrics, manifest


@pytest.mark.parametrize("opening", OPENINGS)
def test_hostile_texts_change_nothing_of_the_page(opening):
    plain, hostile = (Page(report.html(*texts_everywhere(text))) for text in ("word", opening + HOSTILE))
    assert without_tips(hostile.tags) == without_tips(plain.tags)
    names = [(tag, name) for tag, name, _ in plain.attributes]
    assert {(tag, name) for tag, name, _ in hostile.attributes} <= set(names)
    for tag, name, value in hostile.attributes:
        if name != "aria-label":
            assert not re.search("evil|script", value or ""), (tag, name, value)


def without_tips(tags):
    """Leave out the titles of labels in plots, which long texts have and short ones have not."""
    return re.sub(r"title /title /text", "/text", " ".join(tags))


@pytest.mark.parametrize("opening", OPENINGS)
def test_hostile_texts_change_nothing_of_the_markdown(opening):
    def shape(text):
        kinds = []
        for token in markdown_tokens(text):
            kinds.append(token.type)
            kinds += [
                child.type for child in token.children or () if child.type != "text" and child.type != "text_special"
            ]
        return kinds

    plain, hostile = (report.markdown(*texts_everywhere(text)) for text in ("word", opening + HOSTILE))
    assert shape(hostile) == shape(plain)
    assert not {"html_inline", "html_block", "link_open", "image", "code_inline", "em_open"} & set(shape(hostile))
    outside_fences = re.sub(r"(`{3,})\n.*?\n\1", "", hostile, flags=re.S)
    assert not re.search(r"(?<!\\)\$|(?<!\\)://|(?<!\\)@(?!\d)|\u202e|\x00", outside_fences)
    assert not re.search(r"^[|-] =", outside_fences, re.M)


def test_markdown_shows_the_text_that_was_given(metrics, manifest):
    metrics["breakdowns"][0]["part"] = text = "a|b `c` <d> [e](f) \\ g_h_ *i* $j$ &amp; 1. k"
    table = next(t for t in markdown_tables(report.markdown(metrics, manifest)) if t[0][0] == "lang")
    assert table[1][0] == text


def test_the_page_loads_nothing_and_runs_nothing(metrics, manifest):
    text = report.html(metrics, manifest)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "image", "use", "foreignobject"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert not re.fullmatch("on.*|src|srcset|action|xlink:href|data|poster", name), (tag, name)
        assert name != "href" or value.startswith("#")
    assert not re.search(r"url\(|@import|expression\(", text)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {v[1:] for _, name, v in page.attributes if name == "href"} <= set(ids)


def test_mentions_carry_language_and_direction(metrics, manifest):
    metrics["errors"]["causes"][1]["examples"][0]["lang"] = 'x" onclick="alert(1)'
    text = report.html(metrics, manifest)
    assert '<bdi lang="ar">تم إدخال المريض بسبب <mark>فشل القلب</mark> ' in text
    assert '<bdi lang="ja">患者は<mark>心不全</mark>の' in text
    assert "onclick=" not in text.replace("&#34; onclick=", "")


def test_long_mentions_are_cut(metrics, manifest):
    for text in (report.markdown(metrics, manifest), report.html(metrics, manifest)):
        assert "acute on chronic acute" in text
        assert "acute on chronic " * 6 not in text
    assert plots.shown("a" * 10, 5) == "aaaa…"
    assert plots.shown("abcx\u0301fg", 5) == "abc…"  # an accent goes with its letter
    assert plots.shown(" a\n\tb\u202e\u2067c\x07 ") == "a bc"


def test_context_keeps_what_is_near_the_mention(metrics, manifest):
    case = report_data.example("HF", context="far away " * 20 + "near [HF] close" + " far away" * 20)
    metrics["errors"]["causes"] = [report_data.cause("ranked below", None, 1, case)]
    text = report.markdown(metrics, manifest)
    line = next(line for line in text.splitlines() if "near" in line)
    assert line.startswith("- …")
    assert line.endswith("…")
    assert "near \\[HF\\] close far" in line
    assert len(line) < 140


# extremes


def test_one_stage_one_language_no_errors_one_candidate(manifest):
    text = report.html(report_data.smallest(), manifest)
    assert set(svgs(text)) == {"outcomes"}
    assert "There are no errors." in text
    assert "Risk and coverage" not in text
    assert "icd10-multi</bdi></h1>" in text


def test_undefined_numbers_are_dashes(manifest):
    metrics = report_data.metrics()
    for record in [*metrics["metrics"], *(m for s in metrics["stages"] for m in s["metrics"])]:
        record |= {"value": None, "low": None, "high": math.nan}
    for stage in metrics["stages"]:
        stage["recall"] = [None] * len(report_data.KS)
    for part in metrics["breakdowns"]:
        for record in part["metrics"]:
            record |= {"value": math.nan, "low": None, "high": None}
    text = report.html(metrics, manifest)
    assert "nan" not in re.sub(r"[a-z]+nan|nan[a-z]+", "", text.lower())
    assert "None" not in text
    assert "lang" not in svgs(text)
    assert "type" not in svgs(text)
    markdown = report.markdown(metrics, manifest)
    assert "| accuracy | – | 890 | 100 |" in markdown
    assert "None" not in markdown


def test_a_bare_run_of_predictions(manifest):
    metrics = report_data.smallest() | {"stages": [], "breakdowns": [], "errors": {"outcomes": []}, "metrics": []}
    metrics["protocol"] = {"statements": ["One."], "corpus": None, "judged": None, "cleanup": None}
    text = report.markdown(metrics, {"created": "today", "xnorm_version": "1"})
    assert "## Stages" not in text
    assert "## Errors" not in text
    assert "- One." in text
    report.html(metrics, {"created": "today", "xnorm_version": "1"})


def test_sixty_types_show_twenty_and_fold_forty(manifest):
    metrics = report_data.many_types()
    text = report.html(metrics, manifest)
    svg = svgs(text)["type"]
    assert len(marked(svg, "dot")) == 20
    assert "the 20 most frequent, 40 more in the table" in text
    assert "<summary>40 more</summary>" in text
    values = [p["metrics"][0]["value"] for p in metrics["breakdowns"][:20]]
    at = [float(dot.get("cx")) for dot in marked(svg, "dot")]
    assert at == sorted(at, reverse=True)
    assert len(values) == len(at)


# plots


def test_svgs_are_named_and_fit_their_box(metrics, manifest):
    metrics["stages"] = [report_data.stage("stage " + "x" * 9 * i, [0.9 + 0.001 * i] * 7) for i in range(6)]
    found = svgs(report.html(metrics, manifest))
    assert set(found) == {"recall", "lang", "type", "outcomes", "causes", "risk"}
    for name, svg in found.items():
        width, height = map(float, svg.get("viewBox").split()[2:])
        assert svg.get("role") == "img"
        assert [svg[0].tag, svg[1].tag] == ["title", "desc"]
        assert svg[0].text
        assert svg[1].text
        for text in svg.iter("text"):
            x, long = float(text.get("x")), 5.5 * len(text.text)  # narrower than the letters are
            start = {"end": x - long, "middle": x - long / 2}.get(text.get("text-anchor"), x)
            assert start >= -1, (name, text.text)
            assert start + long <= width + 1, (name, text.text)
            assert 8 <= float(text.get("y")) <= height, (name, text.text)
    ends = [t for t in found["recall"].iter("text") if t.text.startswith("stage")]
    places = sorted(float(t.get("y")) for t in ends)
    assert len(ends) == 6
    assert min(b - a for a, b in itertools.pairwise(places)) >= 13.9
    assert ends[-1].find("title").text == "stage " + "x" * 45


def test_recall_curves_can_be_read_by_their_axes(metrics, manifest):
    svg = svgs(report.html(metrics, manifest))["recall"]
    y = axis(svg, "y")
    ticks = [line for line in marked(svg, "grid") if points_of(line)[0][0] == points_of(line)[1][0]]
    places = {points_of(tick)[0][0] for tick in ticks}
    for series, stage in zip(marked(svg, "series"), metrics["stages"], strict=True):
        (line,) = marked(series, "line")
        points = points_of(line)
        assert [y(at) for _, at in points] == pytest.approx(stage["recall"], abs=0.001)
        steps = [b[0] - a[0] for a, b in itertools.pairwise(points)]
        assert max(steps) - min(steps) < 0.05  # 1, 2, 4, ... on a log scale
        assert {x for x, _ in points} == places
        assert len(marked(series, "mark")) == len(stage["recall"])
    dashes = [marked(s, "line")[0].get("stroke-dasharray") for s in marked(svg, "series")]
    assert len(set(dashes)) == 3
    assert dashes[-1] == "none"


def test_an_undefined_recall_is_left_out():
    svg = ElementTree.fromstring(plots.recall_curves([1, 2, 4], [("a", [None, 0.5, 0.6]), ("b", [None] * 3)]))
    assert [len(marked(s, "mark")) for s in marked(svg, "series")] == [2, 0]


def test_dots_can_be_read_by_their_axis(metrics, manifest):
    svg = svgs(report.html(metrics, manifest))["lang"]
    x = axis(svg, "x")
    parts = sorted((p for p in metrics["breakdowns"] if p["by"] == "lang"), key=lambda p: -p["metrics"][0]["value"])
    dots, intervals = marked(svg, "dot"), marked(svg, "interval")
    assert [x(float(d.get("cx"))) for d in dots] == pytest.approx([p["metrics"][0]["value"] for p in parts], abs=0.003)
    with_interval = [p["metrics"][0] for p in parts if p["metrics"][0]["low"] is not None]
    assert len(intervals) == len(parts) - 1
    assert "paper" in dots[0].get("fill")
    for line, m in zip(intervals, with_interval, strict=True):
        assert [x(at) for at, _ in points_of(line)] == pytest.approx([m["low"], m["high"]], abs=0.003)
    ((at, _), _) = points_of(marked(svg, "overall")[0])
    assert x(at) == pytest.approx(metrics["metrics"][0]["value"], abs=0.003)
    texts = [t.text for t in svg.iter("text")]
    for part in parts:
        assert part["part"] in texts
        assert f"{part['rows']:,}" in texts


def test_bars_are_as_long_as_their_counts(metrics, manifest):
    found = svgs(report.html(metrics, manifest))
    for name, entries in (("outcomes", metrics["errors"]["outcomes"]), ("causes", metrics["errors"]["causes"])):
        counts = [e["mentions"] for e in entries]
        lengths = [float(bar.get("width")) for bar in marked(found[name], "bar")]
        assert lengths == pytest.approx([360 * c / max(counts) for c in counts], abs=0.01)
        texts = [t.text for t in found[name].iter("text")]
        for entry in entries:
            assert f"{entry['mentions']} ({100 * entry['share']:.1f} %)" in texts


def test_risk_can_be_read_by_its_axes(metrics, manifest):
    svg = svgs(report.html(metrics, manifest))["risk"]
    x, y = axis(svg, "x"), axis(svg, "y")
    points = metrics["risk_coverage"]["points"]
    drawn = points_of(marked(svg, "line")[0])
    assert [x(at) / 100 for at, _ in drawn] == pytest.approx([p["coverage"] for p in points], abs=0.001)
    assert [y(at) for _, at in drawn] == pytest.approx([p["risk"] for p in points], abs=0.001)
    assert [round(x(float(m.get("cx")))) for m in marked(svg, "mark")] == [100, 90, 80, 50]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.booleans())
def test_an_axis_holds_its_values_within_0_and_1(values, zero):
    marks = plots.ticks(values, zero=zero)
    assert 0 <= marks[0] <= min(values) + 1e-9
    assert max(values) - 1e-9 <= marks[-1] <= 1
    assert 4 <= len(marks) <= 6
    assert not zero or marks[0] == 0
    steps = [b - a for a, b in itertools.pairwise(marks)]
    assert max(steps) - min(steps) < 1e-9
