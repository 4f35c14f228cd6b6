"""The options of ``dreg report`` that write it for others to read, and what they do."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dregcli.cli.render import Terminal
from dregcli.errors import Fault, SpecError

if TYPE_CHECKING:
    from dregcli.app.report import Report

Csv = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write the runs as a table, one row a run; - is stdout."),
]
Latex = Annotated[
    Path | None,
    typer.Option("--latex", metavar="FILE", help="Write the groups as a table for a paper (booktabs); - is stdout."),
]
Cite = Annotated[bool, typer.Option("--cite", help="Print BibTeX of what the runs used, instead of the tables.")]

STDOUT: Final = Path("-")


@dataclass(frozen=True)
class Exports:
    """What was asked for.

    Attributes:
        runs: that were named.
        csv: a file, or ``-``.
        latex: likewise.
        cite: BibTeX in place of the tables, and of all else that ``--json`` gives.
        as_json: one object on stdout.
        time_to: the bound that the time to is told of.
    """

    runs: Sequence[str]
    csv: Path | None
    latex: Path | None
    cite: bool
    as_json: bool
    time_to: float | None

    @property
    def instead(self) -> bool:
        """Whether something of this has stdout in place of the tables."""
        return self.cite or STDOUT in (self.csv, self.latex)

    @property
    def command(self) -> str:
        """What makes the same LaTeX table again."""
        return shlex.join(["dreg", "report", *self.runs, "--latex", str(self.latex)])

    def check(self) -> None:
        """Refuse what cannot be, before any work.

        Raises:
            SpecError: with every reason.
        """
        from dregcli.app.written import target_faults

        tables = {"csv": self.csv, "latex": self.latex}
        faults = target_faults({name: path for name, path in tables.items() if path not in (None, STDOUT)})
        wanting = [f"--{name} -" for name, path in tables.items() if path == STDOUT]
        wanting += ["--json"] if self.as_json else ["--cite"] if self.cite else []
        if len(wanting) > 1:
            faults.append(
                Fault("stdout", f"only one of {' and '.join(wanting)} can have it: give --csv or --latex a FILE.")
            )
        if faults:
            raise SpecError(faults, hint="dreg report --help")


def export(terminal: Terminal, report: "Report", asked: Exports) -> dict[str, str]:
    """Write what was asked for.

    Returns:
        The files that were written, by option.

    Raises:
        StoreWriteError: the disk refuses one.
    """
    from dregcli.app.report_exports import report_csv, report_latex
    from dregcli.app.written import write_named

    files: dict[str, str] = {}
    tables = {
        "csv": (asked.csv, lambda: report_csv(report, time_to=asked.time_to)),
        "latex": (asked.latex, lambda: report_latex(report, command=asked.command)),
    }
    for name, (path, made) in tables.items():
        if path == STDOUT:
            terminal.document(made())
        elif path is not None:
            write_named(path, made().encode("utf-8"))
            files[name] = str(path)
            terminal.note(f"wrote {path}")
    if asked.cite:
        _cite(terminal, report, files)
    return files


def _cite(terminal: Terminal, report: "Report", files: dict[str, str]) -> None:
    from dregcli.app.report_exports import bibtex, report_citations

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
