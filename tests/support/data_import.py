"""Imports as the data layer does them, and what must come out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dregcli.data.cache import verify_cache
from dregcli.data.dataset import Dataset
from dregcli.data.importing.request import ImportRequest, ImportWords, read_request
from dregcli.data.importing.run import Imported, import_data
from dregcli.errors import DregError
from dregcli.names import Split
from tests.support.listener import Recorder


def request_of(source: Path | str, name: str, options: dict[str, Any]) -> ImportRequest:
    # Replacing, so that a test can import twice; whether a name is free has its own tests.
    words: dict[str, Any] = {"replace": True, **options}
    return read_request(ImportWords(source=source, name=name, **words), taken={})


def bring(source: Path, folder: Path, watch: Recorder | None = None, name: str = "mine", **options: Any) -> Imported:
    """Import ``source`` into the data folder ``folder``."""
    watch = watch or Recorder()
    imported = import_data(request_of(source, name, options), folder, watch)
    assert watch.open_tasks == 0
    # What was kept is whole by its own checksums, read again from the disk.
    verify_cache(name, folder)
    return imported


def refuse(
    source: Path | str, folder: Path, reason: str, error: type[DregError] = DregError, /, **options: Any
) -> DregError:
    """An import that is refused with a reason, and leaves nothing behind."""
    before = contents(folder)
    watch = Recorder()
    with pytest.raises(error, match=reason) as caught:
        import_data(request_of(source, "mine", options), folder, watch)
    assert watch.open_tasks == 0
    assert contents(folder) == before
    assert caught.value.hint
    return caught.value


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a data folder."""
    if not folder.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def seeded(values: np.ndarray, seed: int = 0, valid: int | None = None, test: int | None = None) -> dict[Split, Any]:
    """The splits that a seed makes of examples, written down independently of the code under test."""
    n = len(values)
    valid = round(n / 10) if valid is None else valid
    test = round(n / 10) if test is None else test
    order = np.random.RandomState(seed).permutation(n)
    flat = values.reshape(n, -1)[order]
    return {
        Split.TRAIN: flat[: n - valid - test],
        Split.VALID: flat[n - valid - test : n - test],
        Split.TEST: flat[n - test :],
    }


def assert_holds(dataset: Dataset, expected: dict[Split, Any]) -> None:
    """The stored values are these, in these splits, with the right type."""
    for split in Split:
        stored = np.asarray(dataset.splits[split])
        np.testing.assert_array_equal(stored, np.asarray(expected[split]).reshape(len(expected[split]), -1))
        assert stored.dtype in (np.uint8, np.float32)
