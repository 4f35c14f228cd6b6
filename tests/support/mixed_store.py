"""A store as it looks after weeks of use: several data sets, tasks, studies and evaluations. Nothing is trained.

The numbers are synthetic and the same in every call. The tests of reports use this store, because a report must be
good exactly when the store is large and mixed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from dregcli.names import RunStatus
from dregcli.store.run import Run
from tests.support.store_study import add_eval, add_run, add_study

LONG: Final = "dreg-cv:alpha=0.000320980438259562,beta=0.9812345678901234,gamma=-0.0123456789012345,delta=0.5"
"""An estimator with parameters as a training has learned them."""

TRACKED: Final = ("reparam", "dreg", "stl")
_ROWS: Final = 20


def make_mixed_store(root: Path) -> None:
    """Write the store: 30 runs.

    - digits: dreg, stl and reparam at five seeds, with tracked gradients; evaluated on the whole test split at
      K=5,000, and dreg also on 300 examples at K=50,000; a bias check and a measured variance;
    - digits: dreg at two seeds with another ``log_every``, which changes no result;
    - digits: dreg-cv that learns its parameters, and dreg-cv with long parameters that the user typed;
    - digits: a failed, an interrupted and a running run;
    - mnist: dreg and stl at two seeds, evaluated, once on few examples;
    - mnist, structured: dreg and reparam;
    - an encoder on the model of an mnist run.
    """
    _digits(root)
    _unfinished(root)
    parent = _mnist(root)
    _structured(root)
    _finetuned(root, parent)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _digits(root: Path) -> None:
    settings: dict[str, Any] = {"steps": 400, "hidden": [64, 32], "latent_dim": 8, "k": 16, "rate": 180.0}
    settings["data_checksum"] = _checksum("digits")
    levels = {"dreg": -20.36, "stl": -20.41, "reparam": -20.94}
    tracked: dict[str, Any] = {"track_estimators": list(TRACKED)}
    extra = [tracked_columns(TRACKED, scale=1.0 + 0.05 * seed) for seed in range(5)]
    for seed in range(2):  # the older runs, so that the study's own runs count where the two are one group
        add_study(root, estimators={"dreg": levels["dreg"]}, seeds=[seed], **settings, **tracked, extra=extra[seed])
    study = [
        run
        for seed in range(5)
        for run in add_study(
            root, estimators=levels, seeds=[seed], log_every=25, **settings, **tracked, extra=extra[seed]
        )
    ]
    for run in study:
        add_eval(run, _bound(run) + 1.9, k=5000, n=360)
        if run.spec().get("estimator", "dreg") == "dreg":
            add_eval(run, _bound(run) + 2.1, k=50_000, n=300)
    add_bias(study[0])
    add_variance(study[0])
    learned = {"learned": {"alpha": 0.000320980438259562, "beta": 0.98, "gamma": -0.0123456789, "delta": 0.5}}
    add_run(root, level=-20.4, estimator="dreg-cv", seed=0, summary=learned, **settings)
    add_study(root, estimators={LONG: -20.5}, seeds=range(2), name="typed-parameters", **settings)


def _unfinished(root: Path) -> None:
    settings: dict[str, Any] = {"steps": 400, "hidden": [64, 32], "latent_dim": 8, "k": 16}
    settings["data_checksum"] = _checksum("digits")
    for seed, status in enumerate((RunStatus.FAILED, RunStatus.INTERRUPTED, RunStatus.RUNNING)):
        name = "a-run-with-quite-a-long-name-that-a-user-chose"
        add_run(root, name=name, estimator="vimco", seed=seed, status=status, level=-23.0, **settings)


def _mnist(root: Path) -> Run:
    settings: dict[str, Any] = {"dataset": "mnist", "steps": 2000, "k": 64, "rate": 41.0}
    settings["data_checksum"] = _checksum("mnist")
    runs = add_study(root, estimators={"dreg": -88.1, "stl": -88.6}, seeds=range(2), **settings)
    for run in runs:
        add_eval(run, _bound(run) + 1.2, k=500, n=10_000)
    add_eval(runs[0], _bound(runs[0]) + 0.4, k=5000, n=300)
    return runs[0]


def _structured(root: Path) -> None:
    settings: dict[str, Any] = {"dataset": "mnist", "task": "structured", "steps": 2000, "k": 64, "rate": 52.0}
    settings["data_checksum"] = _checksum("mnist")
    for estimator, level in {"dreg": -45.1, "reparam": -45.9}.items():
        add_run(root, name=f"mnist-structured-iwae-{estimator}-k64", level=level, estimator=estimator, **settings)


def _finetuned(root: Path, parent: Run) -> None:
    origin = {"run": parent.label, "checkpoint": 2000, "model_sha256": "0" * 64, "reset_encoder": False}
    before = {"train": -88.2, "valid": -88.9, "test": -88.7}
    gain = {split: {"value": 0.6, "stderr": 0.01} for split in before}
    summary = {"bound_before": before, "gain": gain}
    name = f"{parent.name}-finetune-iwae-dreg-k64"
    add_run(
        root,
        name=name,
        level=-88.1,
        dataset="mnist",
        data_checksum=_checksum("mnist"),
        steps=2000,
        parent=origin,
        summary=summary,
    )


def _bound(run: Run) -> float:
    return float(run.info().summary["bound"]["test"])


def tracked_columns(estimators: Sequence[str], *, rows: int = _ROWS, scale: float = 1.0) -> dict[str, list[float]]:
    """Return metrics of tracked gradients: each estimator's variances and SNRs, as moving averages and in windows."""
    found: dict[str, list[float]] = {"tracked_window": [20.0] * rows}
    falling = scale * np.geomspace(1.0, 0.4, rows)
    for i, estimator in enumerate(estimators):
        for network, size in (("model", 1e-3), ("posterior", 2e-4 / (1 + i))):
            for end in ("", "_window"):
                found[f"{estimator}.{network}_variance{end}"] = (size * falling).tolist()
                found[f"{estimator}.{network}_snr{end}"] = (0.8 * (1 + i) * falling).tolist()
    return found


def add_bias(run: Run, *, verdicts: Mapping[str, str] | None = None) -> None:
    """Keep a bias check such as ``dreg bias-check`` keeps."""
    found = verdicts or {"dreg": "unbiased", "stl": "biased", "reparam": "identical"}
    results: list[dict[str, Any]] = [
        {
            "objective": "iwae",
            "estimator": estimator,
            "k": 16,
            "n": 3200,
            "verdict": verdict,
            "relative_bias": {"unbiased": 0.0012, "biased": 0.0831}.get(verdict),
        }
        for estimator, verdict in found.items()
    ]
    attrs: dict[str, Any] = {
        "settings": {"k": 16, "seed": 0, "learned": [], "fixed": []},
        "checkpoint": 400,
        "blocks": ["encoder.0.weight", "encoder.0.bias"],
        "tested": [f"iwae/{estimator}" for estimator, verdict in found.items() if verdict != "identical"],
        "results": results,
        "statistics": [
            {"t_blocks": {"encoder.0.weight": 6.5 if verdict == "biased" else 1.1}, "critical_t": 4.5}
            for verdict in found.values()
            if verdict != "identical"
        ],
    }
    run.add_result("bias", "k16-seed0-step400", arrays={"t": np.zeros(1)}, attrs=attrs)


def add_variance(run: Run) -> None:
    """Keep measured gradient variances such as ``dreg variance`` keeps."""
    names = ("variance", "snr", "dsnr", "cosine", "dsnr_floor")
    gradients = [
        ("reparam", "encoder", 4.0),
        ("dreg", "encoder", 1.0),
        ("stl", "encoder", 0.8),
        (None, "decoder", 3.0),
    ]
    attrs = {
        "checkpoint": 400,
        "floor": 0.08,
        "k": [1, 4, 16],
        "settings": {"replicates": 400, "seed": 0, "learned": [], "fixed": [], "k": [1, 4, 16]},
        "slopes": [],
        "results": [
            {
                "objective": "iwae",
                "estimator": estimator,
                "network": network,
                "k": k,
                **{name: {"value": value / k, "stderr": 0.1 / k} for name in names},
            }
            for estimator, network, value in gradients
            for k in (1, 4, 16)
        ],
        "summary": "encoder variance at K=16: reparam 0.25, dreg 0.0625, stl 0.05",
    }
    run.add_result("variance", "seed0-step400", arrays={"variance": np.zeros(1)}, attrs=attrs)
