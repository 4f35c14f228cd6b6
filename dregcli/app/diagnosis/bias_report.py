"""Convert the results of a bias check to plain values, and keep them as files of the run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dregcli.app.common.listener import Listener
from dregcli.engine.diagnostics.bias_check import BiasResult
from dregcli.engine.pairs import Pair
from dregcli.engine.words import word_of
from dregcli.errors import StoreWriteError
from dregcli.names import Verdict
from dregcli.parts import shown_word
from dregcli.report.figures.bias import BiasRow, bias_figure, computed, titled
from dregcli.store.run import Run

__all__ = ["BiasReport", "BiasResult", "keep_report", "plain_result"]


@dataclass(frozen=True)
class BiasReport:
    """The results of a check, and the files that keep them.

    Attributes:
        run: the run whose model was checked.
        checkpoint: step of the model's parameters.
        blocks: blocks of parameters, in the order of the model.
        prior_blocks: the learned prior's blocks among them, if another gradient than its score was checked.
        results: one result for each pair.
        settings: settings that the numbers depend on.
        file: the file of the results.
        figure: the figure of t by block; None if nothing was tested.
        seconds: time that this process spent on batches and looks.
    """

    run: Run
    checkpoint: int
    blocks: tuple[str, ...]
    prior_blocks: tuple[str, ...]
    results: list[BiasResult]
    settings: dict[str, Any]
    file: Path
    figure: Path | None
    seconds: float

    @property
    def computed(self) -> str:
        """How the gradients were computed; empty if over all rows."""
        return computed(self.settings)

    def label(self, result: BiasResult) -> str:
        """Return a short name of a pair; learned parameters are shown as ``(learned)``, not by their digits."""
        return pair_label(result.comparison.pair, self.settings)

    @property
    def exit_code(self) -> int:
        """0 if all pairs are unbiased or identical, 1 if any pair is biased, else 5."""
        verdicts = {result.verdict for result in self.results}
        if Verdict.BIASED in verdicts:
            return 1
        return 5 if Verdict.INCONCLUSIVE in verdicts else 0

    def as_json(self) -> dict[str, Any]:
        """Return the report in the form of ``dreg bias-check --json``."""
        return {
            "run": str(self.run.path),
            "checkpoint": self.checkpoint,
            "settings": self.settings,
            **_prior(self.prior_blocks),
            "seconds": self.seconds,
            "results": [plain_result(result) for result in self.results],
            "file": str(self.file),
            "figure": str(self.figure) if self.figure else None,
        }


def _prior(blocks: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the prior's blocks by their key, which a check of the prior's score does not have."""
    return {"prior_blocks": list(blocks)} if blocks else {}


def pair_label(pair: Pair, settings: Mapping[str, Any]) -> str:
    """Return a short name of a pair; see ``BiasReport.label``."""
    estimator = shown_word(word_of(pair.estimator))
    for kind in ("learned", "fixed"):
        if word_of(pair.estimator) in settings[kind]:
            estimator = f"{pair.estimator.name} ({kind})"
    return f"{shown_word(word_of(pair.objective))}/{estimator}"


def plain_result(result: BiasResult) -> dict[str, Any]:
    """Return one result as plain values."""
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


def _in_words(result: BiasResult, settings: Mapping[str, Any]) -> str:
    size = "" if result.relative_bias is None else f" (relative bias {result.relative_bias:.4f})"
    return f"{pair_label(result.comparison.pair, settings)} {result.verdict}{size}"


def keep_report(
    run: Run,
    checkpoint: int,
    blocks: tuple[str, ...],
    prior_blocks: tuple[str, ...],
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
        **_prior(prior_blocks),
        "tested": [result.comparison.pair.word for result in tested],
        "results": [plain_result(result) for result in results],
        "statistics": [asdict(result.evidence) for result in tested if result.evidence],
    }
    stem = f"k{settings['k']}-seed{settings['seed']}-step{checkpoint}"
    try:
        file = run.add_result("bias", stem, arrays={"t": t}, attrs=attrs)
    except StoreWriteError as error:
        verdicts = ", ".join(_in_words(result, settings) for result in results)
        what = f"{error.what}. The verdicts were found but not kept: {verdicts}."
        raise StoreWriteError(what, where=error.where, hint=error.hint) from error
    figure = None
    if rows:
        drawn = bias_figure(rows, blocks, title=titled(run.key, settings))
        try:
            figure = run.add_file("figures", drawn.name, ".png", drawn.render(".png"))
        except StoreWriteError as error:  # only a warning, because the verdicts matter more than the figure
            listener.warn(f"the figure could not be kept: {error.what}")
    return BiasReport(run, checkpoint, blocks, prior_blocks, results, settings, file, figure, seconds)
