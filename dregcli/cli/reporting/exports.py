"""Write the files of ``dreg report``, and refuse options that cannot work together."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dregcli.cli.render import Terminal, bytes_in_words
from dregcli.commands import command
from dregcli.errors import Fault, SpecError
from dregcli.names import unknown
from dregcli.words import split_list

if TYPE_CHECKING:
    from dregcli.app.reporting.figures import Drawn, Sheet
    from dregcli.app.reporting.report import Report
    from dregcli.report.arrangement import Arrangement

STDOUT: Final = Path("-")

_LONGEST: Final = 86_400


@dataclass(frozen=True)
class Exports:
    """The requested exports.

    Attributes:
        runs: the runs that the user named.
        labels: names for groups, each as ``PATTERN=NAME``.
        csv: file for the CSV table, or ``-`` for stdout.
        curves: file for the learning curves, or ``-`` for stdout.
        latex: file for the LaTeX table, or ``-`` for stdout.
        html: file for the page.
        figures: folder for the figures.
        dpi: dots per inch of the figures' PNG files; None means the usual number.
        width: width of the figures, inches; None means the usual one.
        font: size of the figures' letters, points; None means the usual one.
        caption: whether the figures have titles and explaining sentences.
        cite: whether to print BibTeX instead of the tables, and instead of everything else in ``--json``.
        as_json: whether to print one JSON object on stdout.
        time_to: the report shows the time that each run took to reach this bound, in nats per example.
        every: seconds between two updates of ``--watch``.
        columns: the columns of the tables as the user typed them.
        sort: name of the column by which the rows of the tables are sorted.
        reverse: whether the largest values come first.
    """

    runs: list[str]
    labels: list[str]
    csv: Path | None
    curves: Path | None
    latex: Path | None
    html: Path | None
    figures: Path | None
    dpi: int | None
    width: float | None
    font: float | None
    caption: bool
    cite: bool
    as_json: bool
    time_to: float | None
    every: float
    columns: str | None
    sort: str | None
    reverse: bool

    @property
    def instead(self) -> bool:
        """Whether an export is printed on stdout instead of the tables."""
        return self.cite or STDOUT in (self.csv, self.curves, self.latex)

    @property
    def chosen(self) -> "Arrangement":
        """The choice of columns and order."""
        from dregcli.report.arrangement import Arrangement

        return Arrangement(tuple(split_list(self.columns or "")), self.sort, self.reverse)

    @property
    def command(self) -> str:
        """The command that makes the same LaTeX table again."""
        names = [word for each in self.labels for word in ("--label", each)]
        return command("report", *self.runs, *names, "--latex", str(self.latex))

    def check(self) -> None:
        """Refuse impossible options before any work.

        Raises:
            SpecError: options cannot work; the error carries every reason.
            StoreWriteError: the disk refuses a file or the folder.
        """
        from dregcli.app.common.written import check_targets, folder_faults, target_faults

        tables = {"csv": self.csv, "curves": self.curves, "latex": self.latex}
        files = {**{name: path for name, path in tables.items() if path != STDOUT}, "html": self.html}
        faults = target_faults({name: path for name, path in files.items() if path is not None})
        if self.figures is not None:
            faults += folder_faults("figures", self.figures)
        in_json = ("curves",) if self.as_json and not self.cite else ()
        wanting = [f"--{name} -" for name, path in tables.items() if path == STDOUT and name not in in_json]
        wanting += ["--json"] if self.as_json else ["--cite"] if self.cite else []
        if len(wanting) > 1:
            faults.append(Fault("stdout", f"only one of {' and '.join(wanting)} can use it: give the others a FILE."))
        if self.html == STDOUT:
            faults.append(Fault("html", "cannot be written to stdout: name a file."))
        for name, path in files.items():
            if path is not None and self.figures is not None and self.figures.resolve() == path.resolve():
                faults.append(Fault(name, f"{path} is also the folder of --figures: name another file."))
        if not 0.0 < self.every <= _LONGEST:
            faults.append(Fault("every", f"must be above 0 and at most {_LONGEST:,} seconds, got {self.every:g}."))
        faults += self._sheet_faults()
        if self.csv is None and (self.as_json or self.instead):
            asked = {"columns": self.columns, "sort": self.sort}
            what = "changes the tables and --csv, and this command prints neither."
            faults += [Fault(name, what) for name, value in asked.items() if value is not None]
        if self.columns is not None and not split_list(self.columns):
            faults.append(Fault("columns", "needs names of columns with commas between, such as group,mean."))
        if self.reverse and not self.sort:
            faults.append(Fault("reverse", "needs --sort COLUMN."))
        if self.time_to is not None and not math.isfinite(self.time_to):
            faults.append(Fault("time-to", f"must be a number of nats, got {self.time_to:g}."))
        if faults:
            raise SpecError(faults, hint="dreg report --help")
        check_targets(
            [path for path in files.values() if path is not None], [self.figures] if self.figures is not None else []
        )

    def _sheet_faults(self) -> list[Fault]:
        limits = {"dpi": (self.dpi, 20, 2400), "width-inches": (self.width, 2, 40), "font-size": (self.font, 4, 30)}
        given = [name for name, (value, *_) in limits.items() if value is not None]
        given += [] if self.caption else ["no-caption"]
        if self.figures is None:
            return [Fault(name, "needs --figures FOLDER.") for name in given]
        return [
            Fault(name, f"must be from {least} to {most}, got {value:g}.")
            for name, (value, least, most) in limits.items()
            if value is not None and not least <= value <= most
        ]

    @property
    def sheet(self) -> "Sheet":
        """The paper that the figures of the folder are drawn for."""
        from dregcli.app.reporting.figures import Sheet

        usual = Sheet()
        return Sheet(usual.width if self.width is None else self.width, self.font, self.caption)


def check_columns(report: "Report", asked: Exports) -> None:
    """Refuse names of columns that no requested table has.

    Raises:
        SpecError: unknown names; the error lists the known names.
    """
    from dregcli.report.groups_table import group_columns

    if not asked.columns and not asked.sort:
        return
    shows_groups = not (asked.instead or asked.as_json)
    known = group_columns(report.groups) if shows_groups or asked.csv is None else []
    if asked.csv is not None:
        from dregcli.app.reporting.exports import report_runs

        known = list(dict.fromkeys([*known, *report_runs(report, time_to=asked.time_to).columns]))
    faults = [
        Fault(option, unknown("column", name, known))
        for option, names in asked.chosen.unknown(known).items()
        for name in names
    ]
    if faults:
        raise SpecError(faults, hint="dreg report --help")


def export(terminal: Terminal, report: "Report", asked: Exports) -> dict[str, Any]:
    """Write the requested exports.

    Returns:
        The entries for ``--json``: ``files`` by option, ``figures``, and ``curves`` if they go to stdout.

    Raises:
        StoreWriteError: the disk refuses a file.
    """
    from dregcli.app.common.written import write_named
    from dregcli.app.reporting.exports import report_curves_csv, report_curves_json, report_latex, report_runs

    files: dict[str, str] = {}

    def write(name: str, path: Path, content: bytes) -> None:
        nbytes = write_named(path, content)
        files[name] = str(path)
        terminal.note(f"wrote {path} ({bytes_in_words(nbytes)})")

    tables = {
        "csv": (asked.csv, lambda: report_runs(report, time_to=asked.time_to).csv(asked.chosen)),
        "curves": (asked.curves, lambda: report_curves_csv(report)),
        "latex": (asked.latex, lambda: report_latex(report, command=asked.command)),
    }
    curves: dict[str, Any] = {}
    if asked.as_json and asked.curves == STDOUT:
        del tables["curves"]
        curves["curves"] = report_curves_json(report)
    for name, (path, made) in tables.items():
        if path == STDOUT:
            terminal.document(made())
        elif path is not None:
            write(name, path, made().encode("utf-8", "backslashreplace"))
    if asked.html is not None:
        from dregcli.app.reporting.figures import PAGE

        write("html", asked.html, _page(report, _draw(terminal, report, PAGE), asked))
    figures = _write_figures(terminal, report, asked) if asked.figures is not None else []
    if asked.cite:
        _cite(terminal, report, {"files": files, "figures": figures})
    return {"files": files, "figures": figures} | curves


def _draw(terminal: Terminal, report: "Report", sheet: "Sheet") -> "list[Drawn]":
    from dregcli.app.reporting.figures import draw_report

    drawn = draw_report(report, terminal, sheet)
    if not drawn:
        terminal.warn("there is nothing to draw: no completed run has a bound.")
    return drawn


def _page(report: "Report", drawn: "list[Drawn]", asked: Exports) -> bytes:
    from dregcli.app.reporting.html import page

    return page(report, drawn, time_to=asked.time_to, argv=["dreg", *sys.argv[1:]])


def _write_figures(terminal: Terminal, report: "Report", asked: Exports) -> list[dict[str, Any]]:
    from dregcli.app.reporting.figures import write_figures

    drawn = _draw(terminal, report, asked.sheet)
    if asked.figures is None or not drawn:
        return []
    written = write_figures(drawn, asked.figures, terminal, dpi=asked.dpi)
    for each in written:
        first, *others = each.files
        terminal.note(f"wrote {first} (also {' and '.join(path.suffix for path in others)})")
    return [each.as_json() for each in written]


def _cite(terminal: Terminal, report: "Report", written: dict[str, Any]) -> None:
    from dregcli.app.reporting.exports import bibtex, report_citations

    found, own = report_citations(report)
    for name in own:
        terminal.note(f"no citation is known for the data set {name}, because it is your own")
    if terminal.as_json:
        entries = {
            each.key: {"type": each.work.kind, "fields": dict(each.work.fields), "for": list(each.uses)}
            for each in found
        }
        terminal.result({"bibtex": [each.bibtex() for each in found], "entries": entries} | written)
    else:
        terminal.document(bibtex(found))
