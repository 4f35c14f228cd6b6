"""Convert the results of a variance measurement to plain values, and keep them as files."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dregcli.app.common.listener import Listener
from dregcli.app.diagnosis.bias_report import pair_label
from dregcli.columns import at_floor, snr_floor
from dregcli.engine.diagnostics.jackknife import Slope, Statistic
from dregcli.engine.diagnostics.variance import VarianceStudy
from dregcli.engine.diagnostics.variance_result import (
    NAMES,
    FittedSlope,
    GradientOf,
    Reference,
    Row,
    Sampled,
    fit_slopes,
)
from dregcli.engine.words import word_of
from dregcli.errors import StoreWriteError
from dregcli.filesystem import LOCAL, make_folders, write_new
from dregcli.names import Network, PriorGradient
from dregcli.parts import shown_word
from dregcli.report.drawn import SUFFIXES, Drawn
from dregcli.report.figures.variance import PANELS, Curve, variance_figure
from dregcli.store.run import Run

__all__ = ["LogP", "Row", "Slope", "VarianceReport", "keep_in_folder", "keep_in_run"]


@dataclass(frozen=True)
class LogP:
    """Means of exact log p(x) over the examples, nats; None if not known.

    Attributes:
        model: log p(x) under the model.
        data: log p(x) under the distribution that the data were drawn from.
    """

    model: float | None
    data: float | None


@dataclass(frozen=True)
class VarianceReport:
    """The results of a measurement, and the files that keep them.

    Attributes:
        rows: one row for each gradient and K.
        slopes: slopes of every gradient's statistics against K.
        sampled: effective sample size and bound by K.
        references: the reference gradients of the cosines.
        settings: settings that the numbers depend on.
        log_p: exact log p(x); None if it is not known.
        seconds: time that this process spent on draws.
        always: labels of pairs that the figure always shows; None if the user chose the pairs, so that it shows all.
        run: the run of the model; None for the toy.
        checkpoint: step of the model's parameters.
        file: the file of the results.
        figures: the figure as PNG, SVG and PDF.
    """

    rows: list[Row]
    slopes: list[FittedSlope]
    sampled: list[Sampled]
    references: list[Reference]
    settings: dict[str, Any]
    log_p: LogP | None
    seconds: float
    always: tuple[str, ...] | None = None
    run: Run | None = None
    checkpoint: int | None = None
    file: Path | None = None
    figures: tuple[Path, ...] = ()

    @classmethod
    def of(
        cls,
        study: VarianceStudy,
        settings: dict[str, Any],
        log_p: LogP | None,
        *,
        seconds: float,
        always: tuple[str, ...] | None,
    ) -> "VarianceReport":
        """Return the report of a finished study."""
        rows = study.rows()
        return cls(rows, fit_slopes(rows), study.sampled(), study.references(), settings, log_p, seconds, always)

    @property
    def floor(self) -> float:
        """The SNR of pure noise."""
        return snr_floor(self.settings["replicates"])

    @property
    def has_prior(self) -> bool:
        """Whether the model's prior is learned, so that it has gradients of its own."""
        return any(row.of.prior for row in self.rows)

    def at_floor(self, row: Row) -> bool:
        """Whether a gradient's SNR is not distinguishable from the SNR of pure noise."""
        return at_floor(row["snr"].value, self.floor)

    def _plain_snr(self, row: Row) -> dict[str, Any]:
        return _plain(row["snr"]) | {"at_floor": self.at_floor(row)}

    def label(self, of: GradientOf) -> str:
        """Return a short name of a gradient: the objective, and the estimator or the kind of the prior's gradient."""
        if of.pair:
            return pair_label(of.pair, self.settings)
        objective = shown_word(word_of(of.objective))
        return f"{objective}/{of.prior}" if of.prior else objective

    @property
    def title(self) -> str:
        """The title of the figure: the model, its step, the number of replicates and the seed."""
        what = f"{self.run.key}, step {self.checkpoint}" if self.run else "the Gaussian toy"
        return f"Gradients of {what}: {self.settings['replicates']:,} replicates (seed {self.settings['seed']})"

    def as_json(self) -> dict[str, Any]:
        """Return the report in the form of ``dreg variance --json``."""
        return {
            "toy": self.run is None,
            "run": str(self.run.path) if self.run else None,
            "checkpoint": self.checkpoint,
            **self.plain(),
            "file": str(self.file) if self.file else None,
            "figures": [str(path) for path in self.figures],
        }

    def plain(self) -> dict[str, Any]:
        """Return the results as plain values."""
        return {
            "k": self.settings["k"],
            "replicates": self.settings["replicates"],
            "results": [_plain_row(row) | {"snr": self._plain_snr(row)} for row in self.rows],
            "slopes": [_plain_slope(slope) for slope in self.slopes],
            "ess": [{"k": each.k, **_plain(each.ess)} for each in self.sampled],
            "bound": [{"k": each.k, **_plain(each.bound)} for each in self.sampled],
            "floor": self.floor,
            "reference": {
                "k": self.settings["reference_k"],
                "replicates": self.settings["reference_replicates"],
                "agreement": [
                    {
                        "network": each.network.value,
                        "objective": word_of(each.pair.objective),
                        "estimator": word_of(each.pair.estimator),
                        **_kind(each.prior),
                        "value": _finite(each.agreement),
                    }
                    for each in self.references
                ],
            },
            "log_p": vars(self.log_p) if self.log_p else None,
            "asked": self.always is None,
            "settings": self.settings,
            "seconds": self.seconds,
        }

    def curves(self) -> list[Curve]:
        """Return the curves of the figure."""
        found: list[Curve] = []
        for of in dict.fromkeys(row.of for row in self.rows):
            mine = [row for row in self.rows if row.of == of]
            points = {
                name: [(row.k, row[name].value, row[name].stderr) for row in mine] for name in (*PANELS, "dsnr_floor")
            }
            slopes = {
                each.statistic: each.slope.value for each in self.slopes if each.of == of and each.slope is not None
            }
            found.append(Curve(self.label(of), of.network, points, slopes))
        return found

    def figure(self) -> Drawn:
        """Return the figure of statistics against K."""
        return variance_figure(self.curves(), title=self.title, floor=self.floor, always=self.always)


def _plain(statistic: Statistic) -> dict[str, float | None]:
    """Return plain values, None if not defined: a zero gradient has no direction, and no ratio to its deviation."""
    return {"value": _finite(statistic.value), "stderr": _finite(statistic.stderr)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _whose(of: GradientOf) -> dict[str, Any]:
    return {
        "objective": word_of(of.objective),
        "estimator": word_of(of.pair.estimator) if of.pair else None,
        "network": of.network.value,
        **_kind(of.prior),
    }


def _kind(prior: PriorGradient | None) -> dict[str, str]:
    """Return the kind of the prior's gradient; encoder and decoder have no such key."""
    return {"prior_gradient": prior.value} if prior else {}


def _plain_row(row: Row) -> dict[str, Any]:
    statistics = {name: _plain(row[name]) for name in NAMES if name != "direction"}
    return {
        **_whose(row.of),
        "promise": row.promise.value,
        "k": row.k,
        **statistics,
        "direction": _finite(row["direction"].value),
    }


def _plain_slope(found: FittedSlope) -> dict[str, Any]:
    slope = found.slope
    return {
        **_whose(found.of),
        "statistic": found.statistic,
        "value": slope.value if slope else None,
        "stderr": slope.stderr if slope else None,
        "interval": [slope.low, slope.high] if slope else None,
        "k": list(slope.ks) if slope else [],
        "left_out": list(found.left_out),
    }


def _summary(report: VarianceReport) -> str:
    """Return the line of ``dreg runs show`` for the result: variances at the largest K."""
    most = max(each.k for each in report.sampled)
    variances = {
        network: [
            f"{report.label(row.of)} {row['variance'].value:.3g}"
            for row in report.rows
            if row.k == most and row.of.network is network
        ]
        for network in (Network.ENCODER, Network.PRIOR)
    }
    of_prior = f"; of the prior: {', '.join(variances[Network.PRIOR])}" if variances[Network.PRIOR] else ""
    return f"encoder gradient variance at K={most}: {', '.join(variances[Network.ENCODER])}{of_prior}"


def keep_in_run(report: VarianceReport, run: Run, checkpoint: int, listener: Listener) -> VarianceReport:
    """Keep results and figures in the run.

    Raises:
        StoreWriteError: the results cannot be written; the message contains them in short form.
    """
    report = replace(report, run=run, checkpoint=checkpoint)
    arrays = {name: np.array([row[name].value for row in report.rows]) for name in NAMES}
    arrays |= {f"{name}_stderr": np.array([row[name].stderr for row in report.rows]) for name in NAMES}
    attrs = {**report.plain(), "summary": _summary(report), "checkpoint": checkpoint}
    stem = f"k{'-'.join(map(str, report.settings['k'][:8]))}-seed{report.settings['seed']}-step{checkpoint}"
    try:
        file = run.add_result("variance", stem, arrays=arrays, attrs=attrs)
    except StoreWriteError as error:
        what = f"{error.what}. The results were found but not kept: {_summary(report)}."
        raise StoreWriteError(what, where=error.where, hint=error.hint) from error
    figures: list[Path] = []
    try:
        drawn = report.figure()
        for suffix in SUFFIXES:
            figures.append(run.add_file("figures", drawn.name, suffix, drawn.render(suffix)))
    except StoreWriteError as error:  # only a warning, because the numbers matter more than the figure
        listener.warn(f"the figure could not be kept: {error.what}")
    return replace(report, file=file, figures=tuple(figures))


def keep_in_folder(report: VarianceReport, folder: Path) -> VarianceReport:
    """Write results and figures to a folder; no existing file is replaced.

    Raises:
        StoreWriteError: a file cannot be written.
    """
    make_folders(LOCAL, folder)
    stem = f"variance-toy-seed{report.settings['seed']}"
    drawn = report.figure()
    figures = [write_new(LOCAL, folder, stem, suffix, drawn.render(suffix)) for suffix in SUFFIXES]
    content = json.dumps(report.plain(), indent=1, allow_nan=False).encode()
    file = write_new(LOCAL, folder, stem, ".json", content)
    return replace(report, file=file, figures=tuple(figures))
