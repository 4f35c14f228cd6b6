"""Our modes by name, as options of the run spec, and trainers made of them as the program makes its own."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dregcli.app.planning.plan import Plan
    from dregcli.engine.training import Trainer

_DENSE = {"backward": "dense"}
_SCREENED = {"backward": "screened", "screen_precision": "float32"}
_BFLOAT16 = {"backward": "screened", "screen_precision": "bfloat16"}
_LINEARISED = {"backward": "screened", "screen_precision": "linearised"}

TRACKED: Final = (
    *("iwae/reparam", "iwae/stl", "iwae/dreg", "iwae/dreg-norm", "iwae/dreg-alpha", "iwae/vimco", "iwae/ovis"),
    *("rws/reparam", "rws/dreg", "jvi/dreg"),
)
"""Ten pairs to measure beside the training."""

MODES: Final[dict[str, dict[str, Any]]] = {
    "dense": {**_DENSE, "compile": "off"},
    "dense-compiled": {**_DENSE, "compile": "on"},
    "screened": {**_SCREENED, "compile": "off"},
    "screened-compiled": {**_SCREENED, "compile": "on"},
    "linearised": {**_LINEARISED, "compile": "off"},
    "linearised-compiled": {**_LINEARISED, "compile": "on"},
    "bfloat16": {**_BFLOAT16, "compile": "off"},
    "bfloat16-compiled": {**_BFLOAT16, "compile": "on"},
    "tracked": {**_SCREENED, "compile": "off", "track_estimators": TRACKED},
}

NO_END = 10**9
"""Steps of a run that is measured, not finished."""


def names(text: str) -> list[str]:
    """``a,b`` as a list, for argparse."""
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str) -> list[int]:
    """``64,1024`` or ``0-4`` as a list, for argparse."""
    found: list[int] = []
    for part in names(text):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def add_settings(parser: argparse.ArgumentParser) -> None:
    """``--set FIELD=VALUE``: any more of the run spec, for all our modes."""
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="FIELD=VALUE")


def parse_settings(words: list[str]) -> dict[str, Any]:
    """What ``--set`` gave, by field; a value is JSON, or else text."""
    found: dict[str, Any] = {}
    for word in words:
        field, _, text = word.partition("=")
        try:
            found[field] = json.loads(text)
        except ValueError:
            found[field] = text
    return found


def mode_options(mode: str, settings: list[str]) -> dict[str, Any]:
    """A mode's options with those of ``--set``; of screening's only where something is screened."""
    options = MODES[mode]
    dense = options["backward"] == "dense"
    given = parse_settings(settings)
    return options | {key: value for key, value in given.items() if not (dense and key.startswith("screen_"))}


def make_plan(options: dict[str, Any], data_dir: Path) -> "Plan":
    """A plan as ``dreg train`` makes it."""
    from dregcli.app.planning.plan import resolve_plan
    from dregcli.specs.resolve import read_options

    read, faults = read_options(options)
    return resolve_plan(read, data_dir, faults)


def make_trainer(plan: "Plan") -> "Trainer":
    """A trainer as ``dreg train`` makes it, compiled where that is done before the first step."""
    from dregcli.app.loading.build import build_trainer

    trainer = build_trainer(plan.spec, plan.data, plan.code)
    if given_up := trainer.warm_up():
        sys.stderr.write(f"runs uncompiled: {given_up}\n")
    return trainer
