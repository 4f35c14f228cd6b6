"""The output of ``dreg paper run``."""

from typing import TYPE_CHECKING, Any

from dregcli.cli.render import Terminal

if TYPE_CHECKING:
    from dregcli.app.papers.run import PaperPreview, PaperResult
    from dregcli.report.tables import Table


def show_preview_of_paper(terminal: Terminal, found: "PaperPreview") -> None:
    """Show the runs, and how long the missing ones take here."""
    from dregcli.app.papers.run import in_words
    from dregcli.cli.training.preview import preview_json, show_preview

    expected = found.expected
    if terminal.as_json:
        content: dict[str, Any] = preview_json(found.preview) if found.preview else {"runs": []}
        terminal.result(content | {"expected": vars(expected) if expected else None})
        return
    if found.preview is not None:
        show_preview(terminal, found.preview)
    terminal.line(in_words(expected) if expected else "nothing is missing, or its time here is not known")


def show_result(terminal: Terminal, result: "PaperResult") -> None:
    """Show each panel as a table, the published numbers beside ours, and where the figure is."""
    from dregcli.app.papers.showing import NO_NUMBERS
    from dregcli.cli.training.study import study_in_counts
    from dregcli.report.papers.tables import differences_table, pairs_table, panel_table

    if terminal.as_json:
        terminal.result(result.as_json())
        return
    paper, results = result.asked.paper, result.results
    terminal.heading(f"{result.asked.file.name}: {paper.title}")
    terminal.line(f"{paper.reference}, {paper.place}")
    for drawing in results.drawings:
        if drawing.lines:
            terminal.line()
            _table(terminal, panel_table(drawing))
        if drawing.pairs:
            terminal.line()
            _table(terminal, pairs_table(drawing))
    terminal.line()
    if results.compared:
        _table(terminal, differences_table(results.compared))
    else:
        terminal.line(NO_NUMBERS)
    terminal.line()
    if result.sentence:
        terminal.line(result.sentence)
    if result.ran.study:
        terminal.line(f"study: {study_in_counts(result.ran.study)}")
    if results.missing:
        terminal.line(f"not complete: {results.missing}; the same command continues")
    for file in result.figure.files if result.figure else ():
        terminal.line(f"figure: {file}")


def _table(terminal: Terminal, table: "Table") -> None:
    rows = [[cell.text for cell in row] for row in table.rows]
    terminal.table([column.name for column in table.columns], rows, title=table.title)
    for note in table.notes:
        terminal.line(note)
