"""What a bias check found, as plain values and as files of its run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dregcli.app.common.listener import Listener
from dregcli.engine.diagnostics.bias_check import BiasResult
from dregcli.engine.pairs import Pair
from dregcli.engine.words import short_word, word_of
from dregcli.errors import StoreWriteError
from dregcli.names import Verdict
from dregcli.report.figures.bias import BiasRow, bias_figure, computed, titled
from dregcli.store.run import Run

__all__ = ["BiasReport", "BiasResult", "keep_report", "plain_result"]


@dataclass(frozen=True)
class BiasReport:
    """What a check found, and where it is kept.

    Attributes:
        run: whose model.
        checkpoint: the step of its parameters.
        blocks: parameters, in the order of the model.
        results: one a pair.
        settings: what the numbers depend on.
        file: the kept result.
        figure: t by block; None where nothing was tested.
        seconds: of this process's batches and looks.
    """

    run: Run
    checkpoint: int
    blocks: tuple[str, ...]
    results: list[BiasResult]
    settings: dict[str, Any]
    file: Path
    figure: Path | None
    seconds: float

    @property
    def computed(self) -> str:
        """How the gradients were computed; empty where over all rows."""
        return computed(self.settings)

    def label(self, result: BiasResult) -> str:
        """A pair as short as it can be: what was learned by that name, not by all its digits."""
        return pair_label(result.comparison.pair, self.settings)

    @property
    def exit_code(self) -> int:
        """0 when all are unbiased or identical, 1 when any is biased, else 5."""
        verdicts = {result.verdict for result in self.results}
        if Verdict.BIASED in verdicts:
            return 1
        return 5 if Verdict.INCONCLUSIVE in verdicts else 0

    def as_json(self) -> dict[str, Any]:
        """The report as ``dreg bias-check --json`` gives it."""
        return {
            "run": str(self.run.path),
            "checkpoint": self.checkpoint,
            "settings": self.settings,
            "seconds": self.seconds,
            "results": [plain_result(result) for result in self.results],
            "file": str(self.file),
            "figure": str(self.figure) if self.figure else None,
        }


def pair_label(pair: Pair, settings: Mapping[str, Any]) -> str:
    """A pair as short as it can be; see ``BiasReport.label``."""
    estimator = short_word(pair.estimator)
    for kind in ("learned", "fixed"):
        if word_of(pair.estimator) in settings[kind]:
            estimator = f"{pair.estimator.name} ({kind})"
    return f"{short_word(pair.objective)}/{estimator}"


def plain_result(result: BiasResult) -> dict[str, Any]:
    """One result as plain values."""
    pair, found = result.comparison.pair, result.evidence
    return {
        "objective": word_of(pair.objective),
        "estimator": word_of(pair.estimator),
        "k": result.k,
        "n": result.n,
        "reference": word_of(result.comparison.reference.estimator),
        "promise": result.promise.value,
        "verdict": result.verdict.value,
        "p_value": result.p_value if found else None,
        "max_abs_t": found.max_abs_t if found else None,
        "relative_bias": result.relative_bias,
        "interval": result.interval,
        "detectable": result.detectable,
        "tested_share": result.tested_share,
        "looks": result.looks,
        "t": {
            "learned": found.t_learned,
            "gradient": found.t_gradient,
            "signed_mean": found.t_signed_mean,
            "blocks": found.t_blocks,
        }
        if found
        else None,
    }


def _told(result: BiasResult, settings: Mapping[str, Any]) -> str:
    size = "" if result.relative_bias is None else f" (relative bias {result.relative_bias:.4f})"
    return f"{pair_label(result.comparison.pair, settings)} {result.verdict}{size}"


def keep_report(
    run: Run,
    checkpoint: int,
    blocks: tuple[str, ...],
    results: list[BiasResult],
    settings: dict[str, Any],
    seconds: float,
    listener: Listener,
) -> BiasReport:
    """Keep the results and the figure in the run."""
    tested = [result for result in results if result.evidence]
    rows = [
        BiasRow(
            pair_label(result.comparison.pair, settings),
            result.verdict,
            result.evidence.t_blocks,
            result.evidence.critical_t,
        )
        for result in tested
        if result.evidence
    ]
    t = np.array([[row.t_blocks.get(block, np.nan) for block in blocks] for row in rows]).reshape(-1, len(blocks))
    attrs = {
        "settings": settings,
        "blocks": list(blocks),
        "tested": [result.comparison.pair.word for result in tested],
        "results": [plain_result(result) for result in results],
        "statistics": [asdict(result.evidence) for result in tested if result.evidence],
    }
    stem = f"k{settings['k']}-seed{settings['seed']}-step{checkpoint}"
    try:
        file = run.add_result("bias", stem, arrays={"t": t}, attrs=attrs)
    except StoreWriteError as error:
        verdicts = ", ".join(_told(result, settings) for result in results)
        what = f"{error.what}. The verdicts, found but not kept: {verdicts}."
        raise StoreWriteError(what, where=error.where, hint=error.hint) from error
    figure = None
    if rows:
        drawn = bias_figure(rows, blocks, title=titled(run.key, settings))
        try:
            figure = run.add_file("figures", drawn.name, ".png", drawn.render(".png"))
        except StoreWriteError as error:  # the verdicts are what was asked for first
            listener.warn(f"the figure could not be kept: {error.what}")
    return BiasReport(run, checkpoint, blocks, results, settings, file, figure, seconds)
