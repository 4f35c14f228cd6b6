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
    """What became of several data sets.

    Attributes:
        results: of those that are here, in the order asked for.
        failures: why the others are not, by name.
        data_dir: the data folder, for hints.
    """

    results: tuple[DownloadResult, ...]
    failures: dict[str, DregError]
    data_dir: Path

    def error(self) -> DregError | None:
        """All failures as one error; None where there are none."""
        if not self.failures:
            return None
        lines = [f"{len(self.failures)} of {len(self.failures) + len(self.results)} data sets could not be had:"]
        for name, failure in self.failures.items():
            first, *rest = failure.what.splitlines()
            where = f" ({failure.where})" if failure.where and not rest else ""
            lines += [f"{name}: {first}{where}", *(f"  {line}" for line in rest)]
        retry = data_command("download", *self.failures, data_dir=self.data_dir)
        advice = f"each of them alone says what else can be done; or try again: {retry}" if len(lines) > 2 else None
        return DownloadFailed("\n".join(lines), hint=advice or next(iter(self.failures.values())).hint or retry)


def names_to_download(names: Sequence[str], data_dir: Path, *, everything: bool, source: str | None) -> list[str]:
    """The data sets that a command line means, each once.

    Raises:
        UsageError: it names none, an unknown one, or contradicts itself.
    """
    if everything and names:
        raise UsageError(
            what=f"--all is every data set, {' and '.join(names)} too", hint="leave out either the names or --all"
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
            what=f"--source holds one data set, and {len(chosen)} are asked for",
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
    """Download or import data sets; one that fails does not keep the others from coming.

    Args:
        names: as in the catalogue; all are checked before any work.
        data_dir: the data folder.
        everything: the whole catalogue, and no names.
        source: a folder, a file or an address, instead of the mirrors; for one name only.
        offline: never touch the network.
        listener: told of progress, file by file.

    Returns:
        What came of each.

    Raises:
        UsageError: as ``names_to_download``.
        DregError: the only data set that was asked for failed.
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
        name: as in the catalogue.
        data_dir: the data folder.
        source: a folder, a file or an address, instead of the mirrors.
        offline: never touch the network.
        listener: told of progress, file by file.
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
