"""Bring data sets into the data folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dregcli.app.common.listener import Listener
from dregcli.data.catalogue import DATASETS, find_entry
from dregcli.data.fetching.download import DownloadProgress, DownloadResult, download_entry
from dregcli.data.folders import data_command, download_command
from dregcli.errors import DownloadFailed, DregError, UsageError

__all__ = ["DownloadResult", "Downloads", "download_dataset", "download_datasets"]


@dataclass(frozen=True)
class Downloads:
    """The outcome of a download of several data sets.

    Attributes:
        results: the data sets that were downloaded, in the order asked for.
        failures: the error of each other data set, by name.
        data_dir: the data folder, for hints.
    """

    results: tuple[DownloadResult, ...]
    failures: dict[str, DregError]
    data_dir: Path

    def error(self) -> DregError | None:
        """Return all failures as one error; None if there are none."""
        if not self.failures:
            return None
        asked = len(self.failures) + len(self.results)
        lines = [f"{len(self.failures)} of {asked} data sets could not be downloaded:"]
        for name, failure in self.failures.items():
            first, *rest = failure.what.splitlines()
            where = f" ({failure.where})" if failure.where and not rest else ""
            lines += [f"{name}: {first}{where}", *(f"  {line}" for line in rest)]
        retry = data_command("download", *self.failures, data_dir=self.data_dir)
        alone = "download each of them alone to see what else can be done"
        advice = f"{alone}; or try again: {retry}" if len(lines) > 2 else None
        return DownloadFailed("\n".join(lines), hint=advice or next(iter(self.failures.values())).hint or retry)


def names_to_download(names: Sequence[str], data_dir: Path, *, everything: bool, source: str | None) -> list[str]:
    """Return the data sets that a command line names, each once.

    Raises:
        UsageError: the command line names no data set or an unknown one, or it contradicts itself.
    """
    if everything and names:
        raise UsageError(
            what=f"--all already includes {' and '.join(names)}", hint="leave out either the names or --all"
        )
    if not everything and not names:
        raise UsageError(
            what=f"name a data set: {', '.join(DATASETS)}",
            hint=f"{download_command('mnist', data_dir)}\n{data_command('download', '--all', data_dir=data_dir)}",
        )
    chosen = list(DATASETS) if everything else list(dict.fromkeys(names))
    for name in chosen:
        find_entry(name)
    if source is not None and len(chosen) > 1:
        raise UsageError(
            what=f"--source holds one data set, but the command names {len(chosen)}",
            where=source,
            hint=download_command(chosen[0], data_dir, source=source),
        )
    return chosen


def download_datasets(
    names: Sequence[str],
    data_dir: Path,
    *,
    everything: bool = False,
    source: str | None = None,
    offline: bool = False,
    listener: Listener,
) -> Downloads:
    """Download or import data sets; a failed data set does not stop the others.

    Args:
        names: names as in the catalogue; all are checked before any work.
        data_dir: the data folder.
        everything: whether to download the whole catalogue; then ``names`` is empty.
        source: a folder, a file or an address to use instead of the mirrors; only for a single name.
        offline: whether the network is never used.
        listener: receives progress messages, file by file.

    Returns:
        The outcome of each data set.

    Raises:
        UsageError: see ``names_to_download``.
        DregError: only one data set was asked for, and it failed.
    """
    chosen = names_to_download(names, data_dir, everything=everything, source=source)
    results: list[DownloadResult] = []
    failures: dict[str, DregError] = {}
    for name in chosen:
        try:
            results.append(download_dataset(name, data_dir, source=source, offline=offline, listener=listener))
        except DregError as error:
            if len(chosen) == 1:
                raise
            failures[name] = error
    return Downloads(tuple(results), failures, data_dir)


def download_dataset(
    name: str, data_dir: Path, *, source: str | None, offline: bool = False, listener: Listener
) -> DownloadResult:
    """Download or import one data set; see ``dregcli.data.fetching.download.download_entry``.

    Args:
        name: the name as in the catalogue.
        data_dir: the data folder.
        source: a folder, a file or an address to use instead of the mirrors.
        offline: whether the network is never used.
        listener: receives progress messages, file by file.
    """
    current: str | None = None

    def on_progress(progress: DownloadProgress) -> None:
        nonlocal current
        if progress.file != current:
            if current is not None:
                listener.end()
            current = progress.file
            listener.begin(progress.file, progress.total, "bytes", done=progress.done)
        listener.update(progress.done)

    try:
        result = download_entry(find_entry(name), data_dir, source=source, offline=offline, on_progress=on_progress)
    finally:
        if current is not None:
            listener.end()
    for note in result.notes:
        listener.note(f"{name}: {note}")
    return result
