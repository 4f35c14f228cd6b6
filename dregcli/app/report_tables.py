"""Tables of a report, for whoever shows them: the terminal sees no other layer than this one."""

from dregcli.report.tables import (
    TRACKED_TITLE,
    Cell,
    Column,
    Table,
    groups_table,
    pairs_table,
    run_cells,
    run_columns,
    told_pairs,
    tracked_columns,
    tracked_note,
    tracked_rows,
)

__all__ = [
    "TRACKED_TITLE",
    "Cell",
    "Column",
    "Table",
    "groups_table",
    "pairs_table",
    "run_cells",
    "run_columns",
    "told_pairs",
    "tracked_columns",
    "tracked_note",
    "tracked_rows",
]
