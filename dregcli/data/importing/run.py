"""Runs an import from start to end: recognise the source, decide how to convert it, and write the data set safely."""

import hashlib
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dregcli import __version__
from dregcli.data.cache import read_cache
from dregcli.data.cache_writer import as_text, write_cache
from dregcli.data.dataset import Dataset, Draft
from dregcli.data.folders import cache_path, data_command
from dregcli.data.importing import axes, choose, detect, labels, splits, values
from dregcli.data.importing.columns import LeftOut
from dregcli.data.importing.contract import Source, Watch, said, watched
from dregcli.data.importing.request import FULL_LEVELS, ImportRequest
from dregcli.data.owner import Owner, owner_of
from dregcli.data.scan import Values
from dregcli.errors import DataCorrupt, DregError, Fault, SpecError, UsageError
from dregcli.names import Split

_PAIRS: Final = ((Split.VALID, Split.TRAIN), (Split.TEST, Split.TRAIN), (Split.TEST, Split.VALID))
_SAME_SCALE: Final = 10


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        dataset: the data set, with mapped values.
        path: its file in the data folder.
        format: format of the source.
        notes: assumptions and steps of the import.
        warnings: effects that the user may not have wanted.
        left_out: columns of a text that did not become values.
        figure: a picture of its first examples, where there is one.
    """

    dataset: Dataset
    path: Path
    format: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    figure: Path | None = None


def import_data(request: ImportRequest, data_dir: Path, watch: Watch) -> Imported:
    """Import a file or a folder of images, piece by piece, so that it may be larger than the memory.

    Args:
        request: the user's request; its name must be free, or the request allows replacing.
        data_dir: the data folder.
        watch: receives the progress.

    Returns:
        The data set and what was done.

    Raises:
        UsageError: the source does not exist or does not fit the options, or the name is taken.
        DataCorrupt: the source is damaged, hostile, of an unknown format, or holds values that cannot be stored.
        StoreWriteError: the data folder cannot be written.
    """
    _check_target(request, data_dir)
    with _advised(str(request.source)), ExitStack() as stack:
        source = detect.found_in(request, data_dir, stack, watch)
        _check_options(source)
        draft, note = _draft(source)
        path = _write(draft, source, data_dir)
    # Mapped, because its values have just been written and need no check.
    dataset, notes = read_cache(request.name, data_dir, resident_bytes=0), (*source.notes, note)
    return Imported(dataset, path, source.format, notes, tuple(source.warnings), tuple(source.left_out))


@contextmanager
def _advised(where: str) -> Generator[None]:
    """Add the place to every error, and general advice to an error without advice."""
    try:
        yield
    except DregError as error:
        error.where = error.where or where
        error.hint = error.hint or "repair the file or fetch it again, and repeat the command"
        raise
    # Errors of writing are StoreWriteError, so this is an error of reading.
    except OSError as error:
        raise DataCorrupt(
            what=f"the source cannot be read: {error.strerror or error}",
            where=str(error.filename or where),
            hint="check that the source is complete, and repeat the command",
        ) from error


def _check_target(request: ImportRequest, data_dir: Path) -> None:
    """Refuse an import that would overwrite a file that it must not.

    Raises:
        UsageError: the target is the source itself, exists and may not be replaced, or was not written by dreg.
    """
    path = cache_path(request.name, data_dir)
    if (owner := owner_of(path)) and (refused := _refusal(request, path, owner, data_dir)):
        raise refused


def _refusal(request: ImportRequest, path: Path, owner: Owner, data_dir: Path) -> UsageError | None:
    """Return why an import must not overwrite a file; None if it may."""
    name = request.name
    what, instead = f"there is a data set '{name}' in the data folder already", "give --replace"
    if path.exists() and path.samefile(request.source):
        what, instead = "the source is the file that the import would write", "copy the source elsewhere first"
    elif owner is Owner.OTHER:
        what = f"dreg did not write '{path.name}' in the data folder, and does not replace it"
        instead = "move that file away"
    elif owner is not Owner.DREG:
        what = (
            f"'{path.name}' in the data folder cannot be read. It may not be a data set of dreg, so dreg does not "
            "replace it"
        )
        # A file that the system does not let dreg read may be whole.
        removal = data_command("data", "rm", name, "--force", data_dir=data_dir)
        instead = removal if os.access(path, os.R_OK) else "let dreg read that file"
    elif request.replace:
        return None
    return UsageError(what, where=str(path), hint=f"take another --name, or {instead}")


def _check_options(source: Source) -> None:
    """Refuse options that do not apply to this kind of source."""
    request, is_images, this = source.request, source.is_images, f"but this is {source.format}"
    text = f"only applies to text, where columns have names and numbers, {this}: remove columns before the import"
    turn = "only applies to arrays whose last axis is the examples; --transpose-images turns images"
    checks = {
        ("--shape", "images have their own size; --resize HxW changes it"): is_images and request.shape,
        ("--transpose", turn): is_images and request.transpose,
        **{(option, text): not source.is_text for option in request.columns.given},
        ("--resize", f"only applies to images, {this}; --shape HxW gives its size"): request.resize and not is_images,
    }
    faults = [Fault(*fault) for fault, is_wrong in checks.items() if is_wrong]
    if faults:
        raise SpecError(faults, hint="leave these out")


def _draft(source: Source) -> tuple[Draft, str]:
    """Return the draft of the data set, whose values are read while it is written; and how it is split, in words."""
    request = source.request
    parts = choose.chosen(source)
    # All arrays are read first: whether pictures have colours is known only after the last one is decoded.
    stored = {split: named.read() for split, named in parts.items()}
    arrays = {split: axes.laid_out(array, parts[split], source) for split, array in stored.items()}
    first = next(iter(arrays))
    axes.axes_note(arrays[first], source)
    if not (source.is_text or source.is_images):
        labels.array_warnings(arrays[first], parts[first], source)
    counts = {split: len(array) for split, array in arrays.items()}
    plan = splits.plan_splits(counts, valid=request.valid, test=request.test, seed=request.seed)
    by_key = {parts[split].key: array for split, array in arrays.items()}
    found = values.survey(by_key, levels=request.levels, watch=source.watch)
    spans = {split: found.span(each.key) for split, each in parts.items()}
    widths = [high - low for low, high in spans.values()]
    if min(widths) * _SAME_SCALE < max(widths):
        shown = ", ".join(f"{split} has {low:g} to {high:g}" for split, (low, high) in spans.items())
        source.warnings.append(f"the splits seem to have different scales: {shown}; if so, give them one scale")
    conversion = values.conversion(found, kind=request.kind, invert=request.invert)
    source.note(*conversion.notes)
    images = {split: axes.as_images(array, parts[split], source, conversion.kind) for split, array in arrays.items()}
    if len({shape for _, shape in images.values()}) > 1:
        shown = ", ".join(f"{split} {said(shape[shape[0] == 1 :])}" for split, (_, shape) in images.items())
        raise UsageError(what=f"the splits have examples of different sizes: {shown}", hint="import one of them")
    channels, height, width = images[first][1]
    size, digest = source.stamp()
    # For 1 level or all 255, the number is not worth showing.
    has_levels = conversion.kind.has_levels and conversion.levels not in (1, FULL_LEVELS)
    levels = f" of {conversion.levels} levels" if has_levels else ""
    draft = Draft(
        name=request.name,
        kind=conversion.kind,
        height=height,
        width=width,
        levels=conversion.levels,
        channels=channels,
        splits={
            split: _Rows(images[portion.part][0], portion.order, conversion)
            for split, portion in plan.portions.items()
        },
        split_convention=plan.convention,
        source=f"imported from {as_text(request.source)} ({source.format}{levels})",
        provenance={
            "file": as_text(request.source),
            "format": source.format,
            "bytes": size,
            "sha256": digest,
            "arrays": [
                {"split": split, "key": parts[split].key, "shape": list(array.shape), "dtype": str(array.dtype)}
                for split, array in stored.items()
            ],
            "done": list(source.notes),
            **({"left_out": [each.in_short() for each in source.left_out]} if source.left_out else {}),
            "splits": dict(plan.provenance),
            "imported": datetime.now(UTC).isoformat(timespec="seconds"),
            "dreg": __version__,
        },
    )
    return draft, plan.note


class _Rows:
    """Examples of a source as stored values, converted when they are read (``data.scan.StoredRows``).

    Args:
        array: array of the source, (N, ...), in memory or mapped.
        order: indices of the examples in their order; None for all examples in the source's order.
        conversion: conversion of the source's values to stored values.
    """

    def __init__(
        self, array: NDArray[np.generic], order: NDArray[np.int64] | None, conversion: values.Conversion
    ) -> None:
        self._array, self._order, self._conversion = array, order, conversion
        self.shape = (len(array) if order is None else len(order), array[0].size)
        self.dtype = conversion.dtype
        self.fingerprints: NDArray[np.uint64] = np.zeros(self.shape[0], np.uint64)
        """64 bits of a digest of each row that has been read; equal rows have equal digests."""
        self.on_rows: Callable[[int], None] = lambda _: None

    def __getitem__(self, rows: slice) -> Values:
        """Return some consecutive rows."""
        found = np.asarray(self._array[rows if self._order is None else self._order[rows]])
        found = found.reshape(len(found), -1).astype(found.dtype.newbyteorder("="), copy=False)
        stored = np.ascontiguousarray(self._conversion.convert(found))
        digests = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in stored)
        self.fingerprints[rows] = np.frombuffer(digests, np.uint64)
        self.on_rows(len(stored))
        return stored


def _write(draft: Draft, source: Source, data_dir: Path) -> Path:
    """Write the cache file; check source and target again before the file gets its name.

    Raises:
        UsageError: another import at the same time took the name first.
    """
    rows = {split: each for split, each in draft.splits.items() if isinstance(each, _Rows)}
    total, done = sum(each.shape[0] for each in rows.values()), 0

    def on_rows(count: int) -> None:
        nonlocal done
        done += count
        source.watch.update(done)
        if done == total:
            # Refuses a source that was changed meanwhile.
            source.stamp()
            _check_target(source.request, data_dir)

    for each in rows.values():
        each.on_rows = on_rows
    with watched(source.watch, "write", total, "examples"):
        try:
            path = write_cache(draft, data_dir, new=not source.request.replace)
        except FileExistsError as error:
            path = cache_path(draft.name, data_dir)
            # The file may have been removed again meanwhile; it was one of dreg's.
            refused = _refusal(source.request, path, owner_of(path) or Owner.DREG, data_dir)
            raise refused or error from error
    for of, other in _PAIRS:
        # Such examples make the bound on the later split too optimistic.
        if shared := int(np.isin(rows[of].fingerprints, rows[other].fingerprints).sum()):
            count = f"{shared:,} of {len(rows[of].fingerprints):,} {of} examples"
            source.warnings.append(f"{count} are in {other} too, value for value: the {of} bound is too optimistic")
    return path
