"""Rolls a run back to a checkpoint: later metrics and checkpoints move to ``rolled-back/`` and are never deleted."""

from pathlib import Path

from dregcli.filesystem import FileSystem, move, write_aside
from dregcli.store import checkpoints, documents, hdf5, layout, metrics


def roll_back(fs: FileSystem, folder: Path, step: int) -> Path | None:
    """Put aside all metrics and checkpoints after ``step``.

    Normally no part has rows on both sides of a checkpoint. If one does, or if ``metrics.h5`` has later rows, a copy
    is put aside first, and the rows up to the step are kept. After a kill in between, the next call continues.

    Args:
        fs: the seam.
        folder: the run.
        step: the checkpoint's step.

    Returns:
        The folder with the files that were put aside, or None where there were none.

    Raises:
        StoreCorrupt: a metrics file is altered; the error names it.
        StoreWriteError: the disk refuses; nothing is lost.
    """
    later_checkpoints = [found for found in checkpoints.steps(folder) if found > step]
    merged, through = metrics.read_merged(folder)
    ranges = {name: metrics.part_steps(folder, name) for name in metrics.unmerged(folder, through)}
    later_parts = [name for name, (first, _) in ranges.items() if first > step]
    straddling = [name for name, (first, last) in ranges.items() if first <= step < last]
    cut_merged = metrics.step_range(merged)[1] > step
    if not (later_checkpoints or later_parts or straddling or cut_merged):
        return None

    aside = layout.put_aside(fs, folder, f"to-{layout.step_name(step)}")
    for found in later_checkpoints:
        name = layout.step_name(found)
        move(fs, folder / layout.CHECKPOINTS_FOLDER / name, aside / name)
    for name in later_parts:
        move(fs, folder / layout.PARTS_FOLDER / name, aside / name)
    if straddling or cut_merged:
        originals = [folder / layout.PARTS_FOLDER / name for name in straddling]
        if cut_merged:
            originals.append(folder / layout.METRICS_FILE)
        for original in originals:
            content = documents.read_bytes(original, limit=hdf5.SIZE_LIMIT)
            write_aside(fs, aside / original.name, content)
        metrics.merge(fs, folder, until=step)
    return aside
