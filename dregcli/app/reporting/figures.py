"""Draw the figures of a report and write them to files; read the parts of the store that only figures need."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from dregcli.app.common.listener import Listener
from dregcli.app.reporting.own_files import OwnFiles
from dregcli.app.reporting.report import Report
from dregcli.errors import DregError, StoreWriteError
from dregcli.report.drawn import DPI, SUFFIXES, Drawn
from dregcli.report.figures.draw import draw_all
from dregcli.report.figures.pictures import LARGEST, Kind, Picture
from dregcli.report.figures.sheet import PAGE, Sheet
from dregcli.report.groups import RunRow
from dregcli.report.series import Values
from dregcli.store.layout import entries
from dregcli.store.results import check_digest
from dregcli.wording import slugs

__all__ = ["PAGE", "Drawn", "Sheet", "WrittenFigure", "draw_report", "write_figures"]

_FOLDER: Final = "figures"
_VARIANCE: Final = "latent_variance"


@dataclass(frozen=True)
class WrittenFigure:
    """A figure and its files, a PNG, an SVG and a PDF."""

    drawn: Drawn
    files: tuple[Path, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the form of ``dreg report --json``."""
        words = {name: getattr(self.drawn, name) for name in ("name", "title", "caption", "alt", "section")}
        return words | {path.suffix.removeprefix("."): str(path) for path in self.files}


def draw_report(report: Report, listener: Listener, sheet: Sheet) -> list[Drawn]:
    """Draw all figures for which the report has data, section by section.

    If there are several sections, the figures' names and titles begin with the section's.

    Args:
        report: the report.
        listener: receives a warning for everything that cannot be read and is left out.
        sheet: the paper that the figures are drawn for.
    """
    held = _Held(report, listener)
    found: list[Drawn] = []
    several = len(report.sections) > 1
    words = slugs([section.title for section in report.sections])
    for section, word in zip(report.sections, words, strict=True):
        title = section.title if several else ""
        drawn = draw_all(
            section.groups,
            section.labels,
            section.comparisons,
            sheet=replace(sheet, section=title),
            variances=held.variances,
            picture=held.picture,
        )
        if not several:
            return drawn
        found += [replace(each, name=f"{word}-{each.name}", section=title) for each in drawn]
    return found


def write_figures(
    drawn: Sequence[Drawn], folder: Path, listener: Listener, *, dpi: int | None = None
) -> list[WrittenFigure]:
    """Write each figure as PNG, SVG and PDF, in place of earlier figures with these names; see ``OwnFiles``.

    Args:
        drawn: figures.
        folder: the folder for the files; it is made if it is missing.
        listener: receives progress messages.
        dpi: dots per inch of the PNG; None means the usual number.

    Raises:
        StoreWriteError: a file cannot be written.
    """
    listener.begin("figures", len(drawn), "figures")
    contents: dict[str, dict[str, bytes]] = {}
    for each in drawn:
        contents[each.name] = {suffix: each.render(suffix, dpi=dpi or DPI) for suffix in SUFFIXES}
        listener.update(len(contents))
    try:
        files = OwnFiles(folder).write(contents)
    except StoreWriteError as error:
        hint = error.hint or "choose a folder that you can write: --figures FOLDER"
        raise StoreWriteError(error.what, where=error.where, hint=hint) from error
    listener.end()
    return [WrittenFigure(each, tuple(files[each.name])) for each in drawn]


class _Held:
    """The content of a report's runs that only figures need; it is read on demand."""

    def __init__(self, report: Report, listener: Listener) -> None:
        self._runs = report.runs
        self._listener = listener

    def variances(self, row: RunRow, evaluation: Mapping[str, Any]) -> Values | None:
        """Return the variances over examples of q's mean that an evaluation has kept, shape (Z,).

        The result is None if it has kept none, or if it was removed meanwhile.
        """
        try:
            results = self._runs[row.path].results("evals")
            # Attributes that are read again are equal as text: NaN, such as an unknown ESS, does not equal itself.
            same = (each for each in reversed(results) if repr(each.attrs) == repr(evaluation))
            variance = None if (found := next(same, None)) is None else found.arrays().get(_VARIANCE)
        except DregError as error:
            self._left_out(row, error)
            return None
        return None if variance is None else variance.astype(np.float64)

    def picture(self, row: RunRow, kind: Kind) -> Picture | None:
        """Return the newest picture that ``dreg sample`` has kept in the run."""
        try:
            path = _newest(Path(row.path) / _FOLDER, kind)
            if path is None:
                return None
            check_digest(path)
            with Image.open(path) as image:
                image.thumbnail((LARGEST, LARGEST))  # changes only larger pictures
                return Picture(row.key, np.asarray(image.convert("RGB")))
        except (DregError, OSError, Image.DecompressionBombError) as error:
            self._left_out(row, error)
            return None

    def _left_out(self, row: RunRow, error: Exception) -> None:
        reason = f"{error.what} ({error.where})" if isinstance(error, DregError) else str(error)
        self._listener.warn(f"left out of the figures: {row.label}: {reason}")


def _newest(folder: Path, kind: Kind) -> Path | None:
    """Return the last of ``samples.png``, ``samples-2.png`` ...; no name is used twice."""
    pattern = re.compile(rf"{kind}(?:-([0-9]+))?\.png", re.ASCII)
    numbers = {int(found[1] or 1): name for name in entries(folder) if (found := pattern.fullmatch(name))}
    return folder / numbers[max(numbers)] if numbers else None
