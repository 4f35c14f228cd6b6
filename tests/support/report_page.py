"""A page of a small study in which everything that comes from runs is hostile."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dregcli.app.reporting.html import page_of
from dregcli.app.reporting.report import make_report
from dregcli.names import RunStatus
from dregcli.report.drawn import Drawn
from dregcli.report.html.page import render
from tests.support.store_study import add_eval, add_run, add_study

SCRIPT: Final = "<script>window.pwned = true; console.error('pwned')</script>"
MARKUP: Final = '<img src=http://192.0.2.1/x onerror="window.pwned=1"><b id=\'pwned\'>"&amp;'
TURNED: Final = "safe \u202egnp.exe\u2066 \u05d0\u05d1\u200f end"
ARGV: Final = ["dreg", "train", "--name", 'it\'s "me" $HOME `id` \\ &amp;', "--note", SCRIPT, MARKUP, "--lr", "1e-3"]
UNSEEN: Final = ["dreg", "train", "--name", "a\u202eb\nc\x1b[31m'\\\udce9\u200f", "\ta"]

ENVIRONMENT: Final[Mapping[str, Any]] = {
    "argv": ARGV,
    "python": {"version": f"3.11.4 {SCRIPT}"},
    "threads": 2,
    "platform": MARKUP,
    "hostname": "private-host",
    "cpu": {"model": "Some CPU", "usable_cores": 2},
    "packages": {"dreg": "0.1.0", "torch": "2.9.0", "<i>numpy</i>": SCRIPT},
    "git": {"commit": "c0ffee", "clean": True, "diff": ""},
    "variables": {"OMP_NUM_THREADS": "2", "DREG_RUNS_DIR": "/private/folder"},
}


def figures() -> list[Drawn]:
    """A drawing, and a picture made of pixels."""
    lines, pixels = Figure(figsize=(7.0, 4.0), layout="constrained"), Figure(figsize=(3.0, 3.0))
    for each in (lines, pixels):
        FigureCanvasAgg(each)
    axes = lines.add_subplot()
    axes.plot([0, 500, 1000], [-120.0, -95.0, -90.0])
    axes.set_xlabel("optimisation steps")
    axes.set_ylabel("bound, nats per example")
    pixels.add_subplot().imshow(np.eye(28))
    return [
        Drawn("bound", "Bound along training", f"the bound rises to -90 nats {MARKUP}", lines),
        Drawn("samples", f"Samples {SCRIPT}", "a diagonal line", pixels),
    ]


def hostile_store(root: Path) -> None:
    """Three estimators at three seeds with evaluations, one of them another number of digits; and what went wrong."""
    levels = {"dreg": -88.1, "stl": -105.0, "reparam": -9.5}
    runs = add_study(root, estimators=levels, seeds=range(3), rows=40, environment=ENVIRONMENT)
    for i, run in enumerate(runs):
        add_eval(run, run.info().summary["bound"]["test"] + 1.0, khat={"share_above_0.7": 0.01 * i, "median": 0.5})
    runs[0].add_label(add=["paper"], note=f"{SCRIPT}\n{TURNED}")
    runs[1].add_label(note=MARKUP)
    verdict = {"objective": SCRIPT, "estimator": MARKUP, "k": 64, "verdict": TURNED, "relative_bias": 0.002}
    runs[2].add_result("bias", "b", arrays={"x": np.zeros(1)}, attrs={"results": [verdict]})
    runs[2].add_result("variance", "v", arrays={"x": np.zeros(1)}, attrs={"summary": MARKUP})
    other = {**ENVIRONMENT, "argv": UNSEEN, "threads": 8, "git": {"commit": "c0ffee", "clean": False, "diff": SCRIPT}}
    add_run(root, estimator="dreg", seed=7, status=RunStatus.FAILED, environment=other, rows=40)
    add_run(root, name="other", estimator="dreg", k=8, seed=1, level=-93.0, environment=other, rows=40)


def page_bytes(root: Path, *, time_to: float | None = -100.0) -> bytes:
    """The page of all runs of a store, with two figures."""
    report = make_report([], runs_dir=root)
    now = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    return render(page_of(report, figures(), time_to=time_to, argv=["dreg", "report", SCRIPT], now=now))
