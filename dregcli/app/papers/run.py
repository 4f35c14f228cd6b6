"""Run a published experiment, draw its figure from our runs, and hold the published numbers beside ours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dregcli.app.common.listener import Listener, ListenerOfMany
from dregcli.app.papers.kind import Asked, Expected, Ran, Results
from dregcli.app.papers.kinds import kind_of
from dregcli.app.papers.scaling import in_a_sentence
from dregcli.app.papers.showing import NO_NUMBERS
from dregcli.app.reporting.figures import WrittenFigure, write_figures
from dregcli.app.studies.preview import Preview
from dregcli.engine.device import prepare_process
from dregcli.filesystem import LOCAL, check_can_write
from dregcli.report.drawn import Drawn
from dregcli.report.figures.paper import paper_figure
from dregcli.report.papers.outcome import lines_as_json
from dregcli.wording import duration, listed

_CAPTION = "Our runs: means over seeds (or one seed), with "
_ALONG = "95 % intervals along training"
_AT_END = "± one standard error"
_STARS = " Stars: published numbers; how each was read is in the table."
_EXCESS = " A squared bias is drawn where it is at least two standard errors above 0."
_FLOOR = " Dotted grey: the SNR of noise alone."


@dataclass(frozen=True)
class PaperResult:
    """What an experiment has come to.

    Attributes:
        asked: the experiment.
        ran: what this call did.
        results: the results that are there.
        figure: the figure and its files; None if there is nothing to draw yet.
    """

    asked: Asked
    ran: Ran
    results: Results
    figure: WrittenFigure | None

    @property
    def sentence(self) -> str:
        """What the scale leaves out; empty for the whole experiment."""
        return in_a_sentence(self.asked.scaled, self.asked.request.scale)

    def as_json(self) -> dict[str, Any]:
        """Return the result in the form of ``dreg paper run --json``."""
        return {
            **results_as_json(self.asked, self.results),
            "figure": self.figure.as_json() if self.figure else None,
            "exit_code": self.ran.exit_code,
        }


@dataclass(frozen=True)
class PaperPreview:
    """What a call would do: the runs, and the time that the missing ones take here."""

    asked: Asked
    preview: Preview | None
    expected: Expected | None


def results_as_json(asked: Asked, results: Results) -> dict[str, Any]:
    """Return the results of an experiment as plain values."""
    made = results.made
    return {
        "paper": asked.file.name,
        "title": asked.paper.title,
        "reference": asked.paper.reference,
        "place": asked.paper.place,
        "scale": asked.request.scale,
        "changes": [vars(each) for each in asked.scaled.changes],
        "left_out": in_a_sentence(asked.scaled, asked.request.scale),
        "missing": results.missing,
        "made": vars(made) if made else None,
        "panels": lines_as_json(results.drawings),
        "compared": [each.as_json() for each in results.compared],
        "note": "" if results.compared else NO_NUMBERS,
    }


def preview_paper(asked: Asked, listener: Listener) -> PaperPreview:
    """Return what ``run_paper`` would do; nothing is kept.

    Raises:
        DregError: see ``dregcli.app.studies.launch.preview``.
    """
    kind = kind_of(asked.paper)
    _note_changes(asked, listener)
    return PaperPreview(asked, kind.preview(asked, listener), kind.expected(asked))


def run_paper(asked: Asked, listener: ListenerOfMany) -> PaperResult:
    """Do what is missing of an experiment, and draw its figure.

    Args:
        asked: the experiment.
        listener: receives progress messages.

    Raises:
        Interrupted: a signal came; the same call continues.
        StoreWriteError: the folder for the results cannot be written.
        DregError: see ``dregcli.app.studies.launch.launch`` and ``dregcli.app.diagnosis.variance.measure_variance``.
    """
    prepare_process()
    kind = kind_of(asked.paper)
    check_can_write(LOCAL, asked.out, hint="name a folder that you can write to: --out DIR")
    _note_changes(asked, listener)
    if (expected := kind.expected(asked)) is not None:
        listener.note(in_words(expected))
    ran = kind.run(asked, listener)
    results = kind.results(asked)
    return PaperResult(asked, ran, results, draw(asked, results, listener, asked.out))


def in_words(expected: Expected) -> str:
    """Say how long the missing work takes."""
    besides = f"; {expected.besides} come on top" if expected.besides else ""
    return f"this takes about {duration(expected.seconds)} here, {expected.by}{besides}"


def draw(asked: Asked, results: Results, listener: Listener, folder: Path) -> WrittenFigure | None:
    """Draw the figure of an experiment, and write it; None if there is nothing to draw.

    Raises:
        StoreWriteError: a file cannot be written.
    """
    if (drawn := figure_of(asked, results)) is None:
        return None
    (written,) = write_figures([drawn], folder, listener)
    return written


def figure_of(asked: Asked, results: Results) -> Drawn | None:
    """Draw the figure of an experiment; None if there is nothing to draw."""
    if not any(each.lines for each in results.drawings):
        return None
    bars = [_ALONG] if any(each.along for each in results.drawings) else []
    bars += [_AT_END] if any(not each.along for each in results.drawings) else []
    caption = f"{_CAPTION}{listed(bars)}."
    caption += _STARS if any(each.marks for each in results.drawings) else ""
    caption += _FLOOR if any(each.floor is not None for each in results.drawings) else ""
    caption += _EXCESS if any(each.is_excess for each in results.drawings) else ""
    if sentence := in_a_sentence(asked.scaled, asked.request.scale):
        caption += f" {sentence}"
    if results.missing:
        caption += f" Not complete: {results.missing}."
    title = f"{asked.paper.title} ({asked.paper.reference})"
    return paper_figure(asked.stem, title, results.drawings, caption)


def _note_changes(asked: Asked, listener: Listener) -> None:
    for change in asked.scaled.changes:
        listener.note(f"scale {asked.request.scale:g}: {change}")
