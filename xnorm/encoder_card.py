"""The model card of a trained encoder: what it is, what it was trained on, what it is worth, how it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from xnorm.markdown import one_line, table

__all__ = ["FEW", "duration", "languages", "measures", "model_card", "verdict"]

FEW = 30
"""Names below which a comparison says next to nothing."""


def duration(seconds: float) -> str:
    """Return a time in seconds or minutes."""
    return f"{seconds:,.0f} s" if seconds < 90 else f"{seconds / 60:,.1f} min"


def languages(about: Mapping[str, Any]) -> str:
    """Return on one line which languages the names were in, and what that means beside an encoder that knows others."""
    codes = ", ".join(one_line(lang) for lang in about["names"]["names_by_lang"])
    return (
        f"trained on names in {codes} alone; other languages were not measured, and are often found worse: beside "
        f"a multilingual encoder set `languages: [{codes}]`, and say the language of mentions (--lang)"
    )


def verdict(about: Mapping[str, Any]) -> str:
    """Return on one line whether the training helped on held-out concepts."""
    row = about["held_out"]["compared"][0]
    figures = f"{_figure(row['before'])} before, {_figure(row['after'])} after ({_difference(row)})"
    where = f"recall@1 on {row['queries']:,} names of {_looked_up(about):,} held-out concepts"
    if row["difference"] is None or row["low"] is None or row["queries"] < FEW:
        return f"{where}: {figures}; too few to say whether it helped"
    if row["low"] > 0:
        return f"{where}: {figures}; it helped"
    if row["high"] < 0:
        return f"{where}: {figures}; it did not help, but harmed: do not use it"
    return f"{where}: {figures}; no gain that can be told from chance"


def measures(about: Mapping[str, Any]) -> list[tuple[str, str, str, str, str, str]]:
    """Return rows (language, metric, names, before, after, difference) of what was measured."""
    return [
        (row["lang"] or "all", row["metric"], f"{row['queries']:,}", _figure(row["before"]), _figure(row["after"]),
         _difference(row))
        for row in about["held_out"]["compared"]
    ]  # fmt: skip


def model_card(about: Mapping[str, Any], output: Path) -> str:
    """Return the card as Markdown.

    Args:
        about: what the manifest says.
        output: the folder, as it was asked for.
    """
    config, counts, training = about["config"], about["names"], about["training"]
    trainer = _without_folders(config["trainer"])
    start = trainer.get("start") or {}
    base = trainer.get("model") or start.get("model") or start.get("type") or "nothing"
    spoken = ", ".join(f"{one_line(lang)} {n:,}" for lang, n in counts["names_by_lang"].items())
    sources = ", ".join(f"{one_line(source)} {n:,}" for source, n in about["sources"].items())
    shown = {**{key: config[key] for key in ("names", "sampling", "held_out")}, "trainer": trainer}
    settings = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)
    encoder = {**about["encoder"], "model": f"./{output.name}", "languages": list(counts["names_by_lang"])}
    member = {"members": {"trained": {"type": "dense", "encoder": encoder}}}
    use = yaml.safe_dump({"extends": "hpo", "candidates": member}, sort_keys=False, allow_unicode=True)
    lines = [
        f"# {one_line(about['name'])}",
        "",
        f"An encoder of names of medical and other concepts, made by `xnorm train` (xnorm {about['xnorm_version']}): "
        "names of one concept, in whatever language, are near each other.",
        "",
        *([one_line(about["about"], 2000), ""] if about["about"] else []),
        f"- Trainer: `{trainer['type']}`; starts from: {one_line(str(base))}",
        f"- Names: {counts['names']:,} of {counts['concepts']:,} concepts ({spoken})",
        f"- Sources, with their names: {sources}; their licences hold for what is done with this model, too",
        *_of_mentions(about["corpus"]),
        f"- Training: {one_line(str(training['stopped']))}; {training['trained']['steps']:,} updates in "
        f"{duration(training['trained']['seconds'])}; seed {trainer.get('seed', 0)}",
        f"- Fingerprint of the terminology: `{about['terminology'][:16]}`; of the held-out ids: "
        f"`{about['held_out']['sha256'][:16]}`",
        "",
        "## What it is worth",
        "",
        one_line(verdict(about), 400) + ".",
        "",
        f"No name of the {about['held_out']['concepts']:,} held-out concepts was trained on. Of {_looked_up(about):,} "
        f"of them one name in each language was looked up among {about['held_out']['pool']:,} names; the best weights "
        "were chosen by others, where there are enough. Intervals are of 95 %, by resampling concepts; "
        "p-values are of a paired randomisation test.",
        "",
        *table(("language", "metric", "names", "before", "after", "difference"), measures(about)),
        "",
        "## How to use it",
        "",
        "Beside this folder, in a config of `xnorm index`, as a member of an ensemble (here that of `hpo`):",
        "",
        "```yaml",
        use.rstrip(),
        "```",
        "",
        f"It was {languages(about)}.",
        "",
        f"It was made by `xnorm train CONFIG --output {one_line(output.name)}` with these settings:",
        "",
        "```yaml",
        settings.replace("```", "'''").rstrip(),
        "```",
        "",
    ]
    return "\n".join(lines)


def _looked_up(about: Mapping[str, Any]) -> int:
    """Return of how many concepts names were looked up; those that share a name count as one."""
    found = about["held_out"]
    return int(found.get("looked_up", found["concepts"]))  # models of an earlier xnorm do not say


def _without_folders(settings: Any) -> Any:
    """Return settings in which a model in a folder is called by the folder's name: where it stood says nothing to
    others."""
    if isinstance(settings, Mapping):
        return {
            key: Path(value).name if key == "model" and isinstance(value, str) and value.startswith((".", "/", "~"))
            else _without_folders(value)
            for key, value in settings.items()
        }  # fmt: skip
    return settings


def _of_mentions(corpus: Mapping[str, Any] | None) -> list[str]:
    if corpus is None:
        return []
    parts = ", ".join(one_line(part) for part in corpus["parts"])
    return [f"- Mentions: {corpus['mentions']:,} of the parts {parts}"]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _difference(row: Mapping[str, Any]) -> str:
    """Return a difference with its interval and p-value: +0.214 [+0.180, +0.249], p < 0.001."""
    if row["difference"] is None:
        return "-"
    interval = "" if row["low"] is None else f" [{row['low']:+.3f}, {row['high']:+.3f}]"
    p = row["p_value"]
    tested = "" if p is None else ", p < 0.001" if p < 0.001 else f", p = {p:.3f}"
    return f"{row['difference']:+.3f}{interval}{tested}"
