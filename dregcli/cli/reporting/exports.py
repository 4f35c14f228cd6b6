"""The options of ``dreg report`` that write it for others to read, and what they do."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dregcli.cli.render import Terminal, bytes_in_words
from dregcli.commands import command
from dregcli.errors import Fault, SpecError

if TYPE_CHECKING:
    from dregcli.app.reporting.figures import Drawn
    from dregcli.app.reporting.report import Report

Csv = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write the runs as a table, one row a run; - is stdout."),
]
Latex = Annotated[
    Path | None,
    typer.Option("--latex", metavar="FILE", help="Write the groups as a table for a paper (booktabs); - is stdout."),
]
Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a page: one file with all its figures, without any network."),
]
Figures = Annotated[
    Path | None,
    typer.Option(
        "--figures", metavar="FOLDER", help="Write every figure as PNG and SVG; nothing there is overwritten."
    ),
]
Cite = Annotated[bool, typer.Option("--cite", help="Print BibTeX of what the runs used, instead of the tables.")]

STDOUT: Final = Path("-")

_LONGEST: Final = 86_400


@dataclass(frozen=True)
class Exports:
    """What was asked for.

    Attributes:
        runs: that were named.
        csv: a file, or ``-``.
        latex: likewise.
        html: a file.
        figures: a folder.
        cite: BibTeX in place of the tables, and of all else that ``--json`` gives.
        as_json: one object on stdout.
        time_to: the bound that the time to is told of.
        every: seconds between two looks of ``--watch``.
    """

    runs: list[str]
    csv: Path | None
    latex: Path | None
    html: Path | None
    figures: Path | None
    cite: bool
    as_json: bool
    time_to: float | None
    every: float

    @property
    def instead(self) -> bool:
        """Whether something of this has stdout in place of the tables."""
        return self.cite or STDOUT in (self.csv, self.latex)

    @property
    def command(self) -> str:
        """What makes the same LaTeX table again."""
        return command("report", *self.runs, "--latex", str(self.latex))

    def check(self) -> None:
        """Refuse what cannot be, before any work.

        Raises:
            SpecError: with every reason.
            StoreWriteError: the disk refuses a file or the folder.
        """
        from dregcli.app.common.written import check_targets, folder_faults, target_faults

        tables = {"csv": self.csv, "latex": self.latex}
        files = {**{name: path for name, path in tables.items() if path != STDOUT}, "html": self.html}
        faults = target_faults({name: path for name, path in files.items() if path is not None})
        if self.figures is not None:
            faults += folder_faults("figures", self.figures)
        wanting = [f"--{name} -" for name, path in tables.items() if path == STDOUT]
        wanting += ["--json"] if self.as_json else ["--cite"] if self.cite else []
        if len(wanting) > 1:
            faults.append(
                Fault("stdout", f"only one of {' and '.join(wanting)} can have it: give the others a FILE.")
            )
        if self.html == STDOUT:
            faults.append(Fault("html", "a page is for a file, not for stdout: name one."))
        for name, path in files.items():
            if path is not None and self.figures is not None and self.figures.resolve() == path.resolve():
                faults.append(Fault(name, f"{path} is the folder of --figures, too: name another."))
        if not 0.0 < self.every <= _LONGEST:
            faults.append(Fault("every", f"must be above 0 and at most {_LONGEST:,} seconds, got {self.every:g}."))
        if self.time_to is not None and not math.isfinite(self.time_to):
            faults.append(Fault("time-to", f"must be a number of nats, got {self.time_to:g}."))
        if faults:
            raise SpecError(faults, hint="dreg report --help")
        check_targets(
            [path for path in files.values() if path is not None], [self.figures] if self.figures is not None else []
        )


def export(terminal: Terminal, report: "Report", asked: Exports) -> dict[str, Any]:
    """Write what was asked for.

    Returns:
        What ``--json`` tells of it: ``files`` by option, and ``figures``.

    Raises:
        StoreWriteError: the disk refuses one.
    """
    from dregcli.app.common.written import write_named
    from dregcli.app.reporting.exports import report_csv, report_latex

    drawn = _draw(terminal, report, asked)
    files: dict[str, str] = {}

    def write(name: str, path: Path, content: bytes) -> None:
        nbytes = write_named(path, content)
        files[name] = str(path)
        terminal.note(f"wrote {path} ({bytes_in_words(nbytes)})")

    tables = {
        "csv": (asked.csv, lambda: report_csv(report, time_to=asked.time_to)),
        "latex": (asked.latex, lambda: report_latex(report, command=asked.command)),
    }
    for name, (path, made) in tables.items():
        if path == STDOUT:
            terminal.document(made())
        elif path is not None:
            write(name, path, made().encode("utf-8", "backslashreplace"))
    if asked.html is not None:
        write("html", asked.html, _page(report, drawn, asked))
    figures = _write_figures(terminal, drawn, asked.figures)
    if asked.cite:
        _cite(terminal, report, files)
    return {"files": files, "figures": figures}


def _draw(terminal: Terminal, report: "Report", asked: Exports) -> "list[Drawn]":
    if asked.html is None and asked.figures is None:
        return []
    from dregcli.app.reporting.figures import draw_report

    drawn = draw_report(report, terminal)
    if not drawn:
        terminal.warn("there is nothing to draw: no run is completed with a bound.")
    return drawn


def _page(report: "Report", drawn: "list[Drawn]", asked: Exports) -> bytes:
    from dregcli.app.reporting.html import page

    return page(report, drawn, time_to=asked.time_to, argv=["dreg", *sys.argv[1:]])


def _write_figures(terminal: Terminal, drawn: "list[Drawn]", folder: Path | None) -> list[dict[str, Any]]:
    if folder is None or not drawn:
        return []
    from dregcli.app.reporting.figures import write_figures

    written = write_figures(drawn, folder, terminal)
    for each in written:
        terminal.note(f"wrote {' and '.join(map(str, each.files))}")
    return [each.as_json() for each in written]


def _cite(terminal: Terminal, report: "Report", files: dict[str, str]) -> None:
    from dregcli.app.reporting.exports import bibtex, report_citations

    found, own = report_citations(report)
    for name in own:
        terminal.note(f"nothing is known to cite for the data set {name}, which is your own")
    if terminal.as_json:
        entries = {
            each.key: {"type": each.work.kind, "fields": dict(each.work.fields), "for": list(each.uses)}
            for each in found
        }
        terminal.result({"bibtex": [each.bibtex() for each in found], "entries": entries, "files": files})
    else:
        terminal.document(bibtex(found))
