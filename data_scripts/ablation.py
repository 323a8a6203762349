"""Ablations: trains a model for each variant of a config, and compares them mention by mention on the validation.

    python data_scripts/ablation.py configs/ablations/ncbi.yaml --output models/ablation
    python data_scripts/ablation.py ... --only base,kl-0.3       # some of them; the table is of all that are there
    python data_scripts/ablation.py ... trainer.model=./FOLDER    # KEY=VALUE for every variant

The file has `base`, a config of `xnorm train` beside it, and `variants`: a name and what it changes. A variant whose
model is there is not trained again, so a killed run goes on. Differences are those to the variant `base`, with 95%
intervals from resampled documents; p is of the paired randomisation test, adjusted by Holm for the number of variants.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from xnorm.artifact import open_folder
from xnorm.metrics import Measured, parse_metric
from xnorm.resampling import bootstrap, compare, holm
from xnorm.train import KIND, TrainConfig, run_training
from xnorm.training._validation import VALIDATION


def train(plan: dict[str, Any], folder: Path, names: list[str], base: Path, settings: list[str]) -> None:
    """Train the variants that are not there yet."""
    for name in names:
        if (folder / name).exists():
            continue
        print(f"== {name}", flush=True)
        config = TrainConfig.read(base, [*plan["variants"][name], *settings])
        run_training(config, folder / name, say=lambda line: print(line, flush=True))


def right(folder: Path, when: str) -> tuple[Measured, list[str]]:
    """Return which mentions of the validation are right, `before` or `after` the model, and their documents."""
    lines = [json.loads(line) for line in (folder / VALIDATION).read_text(encoding="utf-8").splitlines()]
    values = np.array([[line[when], 1] for line in lines], float)
    return Measured(parse_metric("accuracy"), values), [line["document"] or line["id"] for line in lines]


def table(plan: dict[str, Any], folder: Path) -> list[str]:
    """Return the lines of a Markdown table of all variants that are there."""
    there = [name for name in plan["variants"] if (folder / name).exists()]
    first, units = right(folder / "base", "after")
    rows = [("no reranker", *right(folder / "base", "before"), "")]
    for name in there:
        trained = open_folder(folder / name, kind=KIND)["trained"]
        rows.append((name, *right(folder / name, "after"), f"{trained['seconds']:.0f} s"))
    if any(own != units for _, _, own, _ in rows):
        raise SystemExit("the variants were not validated on the same mentions")
    compared = [compare(found, first, units) for name, found, _, _ in rows if name != "base"]
    adjusted = iter(zip(compared, holm([c.p_value for c in compared]), strict=True))
    head = ["", "model alone", "with the generator's score", "to base", "p", "training"]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for name, found, _, seconds in rows:
        own = bootstrap([found], units)[0]
        alone = "" if found is rows[0][1] else f"{right(folder / name, 'alone')[0].value:.3f}"
        cells = ["", ""]
        if name != "base":
            c, p = next(adjusted)
            d = c.difference
            cells = [f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]", "<0.001" if p < 0.001 else f"{p:.3f}"]
        shown = f"{own.value:.3f} [{own.low:.3f}, {own.high:.3f}]"
        lines.append(f"| {' | '.join([name, alone, shown, *cells, seconds])} |")
    return [f"{len(first)} mentions in {len(set(units))} documents", "", *lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("settings", nargs="*", help="KEY=VALUE for every variant")
    parser.add_argument("--output", type=Path, default=Path("models/ablation"))
    parser.add_argument("--only", help="names of variants, separated by commas")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_intermixed_args()
    plan = yaml.safe_load(options.plan.read_text(encoding="utf-8"))
    names = options.only.split(",") if options.only else list(plan["variants"])
    if unknown := [name for name in names if name not in plan["variants"]]:
        parser.error(f"there is no variant {unknown[0]}; there are {', '.join(plan['variants'])}")
    if not options.table:
        train(plan, options.output, names, options.plan.parent / plan["base"], options.settings)
    if (options.output / "base").exists():
        print("\n".join(table(plan, options.output)))


if __name__ == "__main__":
    main()
