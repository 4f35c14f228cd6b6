"""Bring a data set into the data folder."""

from pathlib import Path

from dregcli.app.listener import Listener
from dregcli.data.download import DownloadResult, download
from dregcli.data.mirrors import DownloadProgress

__all__ = ["DownloadResult", "download_dataset"]


def download_dataset(name: str, data_dir: Path, *, source: str | None, listener: Listener) -> DownloadResult:
    """Download or import one data set; see ``dregcli.data.download.download``.

    Args:
        name: as in the catalogue.
        data_dir: the data folder.
        source: a folder, a file or an address, instead of the mirrors.
        listener: told of progress, file by file.
    """
    current: str | None = None

    def on_progress(progress: DownloadProgress) -> None:
        nonlocal current
        if progress.file != current:
            if current is not None:
                listener.end()
            current = progress.file
            listener.begin(progress.file, progress.total, "bytes")
        listener.update(progress.done)

    try:
        return download(name, data_dir, source=source, on_progress=on_progress)
    finally:
        if current is not None:
            listener.end()
