"""An import from end to end: look at the source, decide what it is, and write it aside until it is whole."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dregcli import __version__
from dregcli.data.cache import read_cache
from dregcli.data.cache_writer import as_text, write_cache
from dregcli.data.dataset import Dataset, Draft
from dregcli.data.folders import data_command
from dregcli.data.importing.columns import LeftOut, array_warnings
from dregcli.data.importing.duplicates import leaks
from dregcli.data.importing.formats import found_in
from dregcli.data.importing.keys import Parts, choose, passed_over
from dregcli.data.importing.kinds import Conversion, conversion
from dregcli.data.importing.layout import Arrays, Images, as_images, lay_out, named
from dregcli.data.importing.offers import Found
from dregcli.data.importing.pictures import Wanted
from dregcli.data.importing.request import FULL_LEVELS, ImportRequest
from dregcli.data.importing.rows import ConvertedRows
from dregcli.data.importing.scratch import Scratch
from dregcli.data.importing.splits import Plan, plan_splits
from dregcli.data.importing.survey import scale_warnings, survey
from dregcli.data.importing.target import check_target, last_check
from dregcli.data.importing.watch import Watch, watched
from dregcli.errors import DataCorrupt, Fault, SpecError
from dregcli.names import Channels, DataKind, Split


@dataclass(frozen=True)
class Imported:
    """What an import came to.

    Attributes:
        dataset: the data set, its values mapped.
        path: its file in the data folder.
        format: what the source was.
        notes: what was assumed and done.
        warnings: what may not be what the user wants.
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
    """Import a file or a folder of images. Larger ones than the memory pass through it piece by piece.

    Args:
        request: what is asked for; its name must be free, or may be replaced.
        data_dir: the data folder.
        watch: told of progress.

    Returns:
        The data set and what was done.

    Raises:
        UsageError: the source is not there, or is not what the options say; or the name is taken.
        DataCorrupt: it is damaged, hostile, of no known format, or holds values that no data set has.
        StoreWriteError: the data folder cannot be written.
    """
    check_target(request, data_dir)
    with (
        _advised(),
        Scratch(data_dir) as scratch,
        found_in(request, scratch, watch, wanted=_wanted(request), then=_command(request, data_dir)) as found,
    ):
        _check_options(request, found)
        parts, remarks = choose(found, request.keys)
        stored = {split: offer.read(scratch) for split, offer in parts.items()}
        laid = lay_out(stored, parts, request, found, scratch)
        arrays = laid.arrays
        plan = plan_splits(
            {split: len(array) for split, array in arrays.items()},
            valid=request.valid,
            test=request.test,
            seed=request.seed,
            where=found.where,
        )
        looked = survey(
            {parts[split].key: array for split, array in arrays.items()},
            levels=request.levels,
            where=found.where,
            watch=watch,
        )
        chosen = conversion(looked, kind=request.kind, invert=request.invert, where=found.where)
        images = as_images(laid, parts, request, chosen, found.where)
        done = [*found.notes, *remarks, *laid.notes, *images.notes, *chosen.notes]
        warnings = [*found.warnings, *laid.warnings, *passed_over(found, request.keys, parts)]
        if not (found.is_text or found.is_images):
            first = next(iter(stored))
            warnings += array_warnings(arrays[first], shape=request.shape, named=named(first, parts))
        warnings += scale_warnings({split: looked.ranges[parts[split].key] for split in arrays})
        bytes_read, digest = found.stamp()
        provenance = {
            "file": as_text(request.source),
            "format": found.format,
            "bytes": bytes_read,
            "sha256": digest,
            "arrays": [_described(split, parts, stored) for split in parts],
            "done": done,
            **({"left_out": [each.as_json() for each in found.left_out]} if found.left_out else {}),
            "splits": dict(plan.provenance),
            "imported": datetime.now(UTC).isoformat(timespec="seconds"),
            "dreg": __version__,
        }
        path, shared = _write(request, data_dir, images, plan, chosen, provenance, found, watch)
    return Imported(
        # Mapped: that its values are what was written was just made sure of.
        read_cache(request.name, data_dir, resident_bytes=0),
        path,
        found.format,
        (*done, plan.note),
        (*warnings, *shared),
        tuple(found.left_out),
    )


@contextmanager
def _advised() -> Generator[None]:
    """Give damage that the strict readers found the advice that holds for every user's file."""
    try:
        yield
    except DataCorrupt as error:
        error.hint = error.hint or "repair the file or fetch it again, and repeat the command"
        raise


def _wanted(request: ImportRequest) -> Wanted:
    return Wanted(request.resize, colours=request.channels is Channels.KEEP)


def _command(request: ImportRequest, data_dir: Path) -> Callable[[str], str]:
    """The command that imports another file under the same name."""
    options = ["--name", request.name, *(["--replace"] if request.replace else [])]
    return lambda file: data_command("data", "import", file, *options, data_dir=data_dir)


def _check_options(request: ImportRequest, found: Found) -> None:
    """Refuse options that mean nothing for such a source."""
    faults: list[Fault] = []
    if found.is_images:
        if request.shape is not None:
            faults.append(Fault("--shape", "images have their own; --resize HxW brings them to another"))
        if request.transpose:
            faults.append(
                Fault(
                    "--transpose",
                    "is for arrays whose examples are the last axis; --transpose-images turns images",
                )
            )
    if not found.is_text:
        faults += [
            Fault(
                option,
                f"is for text, whose columns have names and numbers, and this is {found.format}: cut them "
                "off before the import",
            )
            for option in request.columns.given
        ]
    if request.resize is not None and not found.is_images:
        faults.append(Fault("--resize", f"is for images, and this is {found.format}; --shape HxW says what they are"))
    if faults:
        raise SpecError(faults, where=found.where, hint="leave these out")


def _described(split: Split | None, parts: Parts, stored: Arrays) -> dict[str, Any]:
    return {
        "split": split.value if split else None,
        "key": parts[split].key,
        "shape": list(stored[split].shape),
        "dtype": str(stored[split].dtype),
    }


def _write(
    request: ImportRequest,
    data_dir: Path,
    images: Images,
    plan: Plan,
    chosen: Conversion,
    provenance: Mapping[str, Any],
    found: Found,
    watch: Watch,
) -> tuple[Path, list[str]]:
    """Write the cache file; warnings about what passed by."""
    arrays = images.arrays
    total = sum(
        len(arrays[portion.part]) if portion.order is None else len(portion.order)
        for portion in plan.portions.values()
    )
    done = 0

    def on_rows(count: int) -> None:
        nonlocal done
        done += count
        watch.update(done)
        if done == total:
            # Before the file gets its name: a source that somebody wrote to meanwhile is no source.
            found.stamp()
            check()

    rows = {
        split: ConvertedRows(arrays[portion.part], portion.order, chosen, on_rows)
        for split, portion in plan.portions.items()
    }
    # Of one level, and of all that there are, "levels" would say nothing.
    has_levels = chosen.kind is DataKind.INTENSITY and chosen.levels not in (1, FULL_LEVELS)
    levels = f" of {chosen.levels} levels" if has_levels else ""
    draft = Draft(
        name=request.name,
        kind=chosen.kind,
        height=images.height,
        width=images.width,
        levels=chosen.levels,
        channels=images.channels,
        splits=rows,
        split_convention=plan.convention,
        source=f"imported from {as_text(request.source)} ({found.format}{levels})",
        provenance=provenance,
    )
    with watched(watch, "write", total, "examples"), last_check(request, data_dir) as check:
        path = write_cache(draft, data_dir)
    return path, leaks({split: each.fingerprints for split, each in rows.items()})
