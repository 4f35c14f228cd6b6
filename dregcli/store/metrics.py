"""Metrics: immutable parts while a run is running, one HDF5 file when it has ended; every row is read exactly once.

Parts are named by the writer's generation and a counter (``parts/0001-000017.h5``), so names only grow. A merge
writes ``metrics.h5`` with the name of the last part it contains; readers skip the parts up to that one, and they are
removed afterwards. So after a kill at any point, every row can still be read exactly once.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from dregcli.errors import StoreCorrupt
from dregcli.filesystem import FileSystem, discard, make_folders, write_aside
from dregcli.store import hdf5, layout
from dregcli.store.hdf5 import Array

KIND: Final = "metrics"
STEP: Final = "step"
UNITS: Final[Mapping[str, str]] = {
    "bound": "nats per example",
    "value": "nats per example",
    "stderr": "nats per example",
    "seconds": "s",
}

Row = Mapping[str, float]
Columns = dict[str, Array]
Splits = dict[str, Columns]

_PART: Final = re.compile(r"[0-9]{4,}-[0-9]{6,}\.h5", re.ASCII)
_MERGED: Final = "merged_through"
_ATTEMPTS: Final = 20
_MOST_SHOWN: Final = 100


def read(folder: Path) -> Splits:
    """Read all metrics of the run in ``folder``: the columns of each split, with rows sorted by step.

    Columns are float64 of shape (rows,), ``step`` is int64; a value that a row does not have is NaN.

    Raises:
        StoreCorrupt: a file is truncated or altered; the error names it.
    """
    for _ in range(_ATTEMPTS):
        names = part_names(folder)
        try:
            # Parts are read first: a part that is merged after the listing is then skipped, not lost.
            parts = {name: load(_part_path(folder, name)) for name in names}
            merged, through = read_merged(folder)
        except StoreCorrupt:
            if part_names(folder) == names:
                raise
            continue  # a live writer merged and removed parts while they were read
        return _join([merged, *(part for name, part in parts.items() if order(name) > order(through))])
    what = "The metrics kept changing while they were read"
    raise StoreCorrupt(what, where=str(folder), hint="run the command again")


def write_part(fs: FileSystem, folder: Path, generation: int, number: int, rows: Mapping[str, Sequence[Row]]) -> None:
    """Write one part; a part with the same generation and number is replaced.

    Raises:
        StoreWriteError: the disk refuses; no part was written.
    """
    splits: Splits = {split: _columns(split_rows) for split, split_rows in rows.items()}
    make_folders(fs, folder / layout.PARTS_FOLDER)
    path = _part_path(folder, _part_name(generation, number))
    write_aside(fs, path, _encode(splits, through=""))


def merge(fs: FileSystem, folder: Path, *, until: int | None = None) -> str:
    """Merge all parts into ``metrics.h5``, then remove them.

    Args:
        fs: the seam.
        folder: the run.
        until: leave out the rows after this step.

    Returns:
        The name of the last merged part, empty where there never was one.

    Raises:
        StoreCorrupt: a part is altered; the error names it, and nothing is removed.
        StoreWriteError: the disk refuses; every row can still be read exactly once.
    """
    path = folder / layout.METRICS_FILE
    names = part_names(folder)
    _, through = read_merged(folder)
    if names or until is not None:
        splits = read(folder)
        if until is not None:
            splits = {split: _cut(columns, until) for split, columns in splits.items()}
        through = max([through, *names], key=order)
        content = _encode(splits, through=through)
        # Read back before it gets its name, because the parts are removed next.
        write_aside(fs, path, content, check=lambda written: hdf5.read(written, KIND))
    for name in names:
        discard(fs, _part_path(folder, name))
    return through


def part_names(folder: Path) -> list[str]:
    """Return the parts of a run in the order they were written."""
    names = layout.entries(folder / layout.PARTS_FOLDER)
    return sorted(filter(is_part, names), key=order)


def is_part(name: str) -> bool:
    """Whether a file's name is the name of a part."""
    return bool(_PART.fullmatch(name))


def missing_parts(folder: Path) -> list[str]:
    """Return parts that are missing: a writer numbers its parts from 1, and merging removes the first ones.

    At most the first hundred are returned, because a file with a forged name could make the list endless.

    Raises:
        StoreCorrupt: ``metrics.h5`` is altered.
    """
    _, through = read_merged(folder)
    merged_generation, merged_number = order(through)
    known: dict[int, set[int]] = {}
    for generation, number in map(order, part_names(folder)):
        known.setdefault(generation, set()).add(number)
    missing = (
        _part_name(generation, number)
        for generation, numbers in sorted(known.items())
        if generation >= merged_generation
        for number in range(merged_number + 1 if generation == merged_generation else 1, max(numbers))
        if number not in numbers
    )
    return list(islice(missing, _MOST_SHOWN))


def unmerged(folder: Path, through: str) -> list[str]:
    """Return the parts after ``through``, the last part that ``metrics.h5`` contains."""
    return [name for name in part_names(folder) if order(name) > order(through)]


def read_merged(folder: Path) -> tuple[Splits, str]:
    """Return the content of ``metrics.h5`` and its last merged part; both empty where there is no such file."""
    path = folder / layout.METRICS_FILE
    if not path.exists():
        return {}, ""
    content = hdf5.read(path, KIND)
    return _group(content, path), str(content.attrs.get(_MERGED, ""))


def part_steps(folder: Path, name: str) -> tuple[int, int]:
    """Return the lowest and the highest step of a part.

    Raises:
        StoreCorrupt: the part is altered.
    """
    return step_range(load(_part_path(folder, name)))


def step_range(splits: Splits) -> tuple[int, int]:
    """Return the lowest and the highest step of some metrics; (0, -1) where there are no rows."""
    steps = [columns[STEP] for columns in splits.values() if len(columns[STEP])]
    if not steps:
        return 0, -1
    return int(min(column.min() for column in steps)), int(max(column.max() for column in steps))


def last_rows(splits: Splits) -> dict[str, dict[str, float]]:
    """Return the last row of each split that has one."""
    return {
        split: {name: float(column[-1]) for name, column in columns.items()}
        for split, columns in splits.items()
        if len(columns[STEP])
    }


def _part_name(generation: int, number: int) -> str:
    return f"{generation:04d}-{number:06d}.h5"


def _part_path(folder: Path, name: str) -> Path:
    return folder / layout.PARTS_FOLDER / name


def order(name: str) -> tuple[int, int]:
    """Return a value that sorts the names of parts as they were written; no name, "", comes before all parts."""
    if not is_part(name):
        return (0, 0)
    generation, number = name.removesuffix(".h5").split("-")
    return int(generation), int(number)


def load(path: Path) -> Splits:
    """Return the content of one metrics file.

    Raises:
        StoreCorrupt: the file is missing, truncated or altered.
    """
    return _group(hdf5.read(path, KIND), path)


def _group(content: hdf5.Content, path: Path) -> Splits:
    splits: Splits = {}
    for name, array in content.arrays.items():
        split, _, column = name.partition("/")
        splits.setdefault(split, {})[column] = array
    for split, columns in splits.items():
        shapes = {column.shape for column in columns.values()}
        if STEP not in columns or columns[STEP].dtype != np.int64 or len(shapes) != 1 or columns[STEP].ndim != 1:
            what = f"The columns of split '{split}' do not fit together"
            raise StoreCorrupt(what, where=str(path), hint="restore this file from a backup")
    return splits


def _encode(splits: Splits, *, through: str) -> bytes:
    arrays = {f"{split}/{name}": array for split, columns in splits.items() for name, array in columns.items()}
    return hdf5.encode(KIND, arrays=arrays, attrs={_MERGED: through}, units=UNITS)


def _columns(rows: Sequence[Row]) -> Columns:
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns: Columns = {STEP: np.array([int(row[STEP]) for row in rows], dtype=np.int64)}
    for name in names:
        if name != STEP:
            columns[name] = np.array([float(row.get(name, np.nan)) for row in rows], dtype=np.float64)
    return columns


def _join(pieces: Iterable[Splits]) -> Splits:
    found = [piece for piece in pieces if piece]
    joined: Splits = {}
    for split in dict.fromkeys(split for piece in found for split in piece):
        tables = [piece[split] for piece in found if split in piece]
        steps: Any = np.concatenate([table[STEP] for table in tables])
        rows = np.argsort(steps, kind="stable")
        columns: Columns = {STEP: steps[rows]}
        for name in dict.fromkeys(name for table in tables for name in table):
            if name != STEP:
                filled = [table.get(name, np.full(len(table[STEP]), np.nan)) for table in tables]
                columns[name] = np.concatenate(filled)[rows]
        joined[split] = columns
    return joined


def _cut(columns: Columns, until: int) -> Columns:
    keep = columns[STEP] <= until
    return {name: column[keep] for name, column in columns.items()}
