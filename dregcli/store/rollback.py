"""Taking a run back to a checkpoint: what came after is put aside in ``rolled-back/``, never deleted."""

from pathlib import Path

from dregcli.filesystem import FileSystem, move, write_aside
from dregcli.store import checkpoints, documents, hdf5, layout, metrics


def roll_back(fs: FileSystem, folder: Path, step: int) -> Path | None:
    """Puts aside all metrics and checkpoints after ``step``.

    Parts are written so that none straddles a checkpoint; should one do so all the same, or ``metrics.h5`` reach
    past the step, a copy is put aside first and the rows up to the step are kept. A kill in between leaves
    something to put aside still, which the next call does.

    Args:
        fs: the seam.
        folder: the run.
        step: the checkpoint's step.

    Returns:
        The folder with what was put aside, or None when there was nothing.

    Raises:
        StoreCorrupt: a metrics file is altered, naming it.
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
