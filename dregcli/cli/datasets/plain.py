"""Data sets as plain values for JSON output."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dregcli.app.datasets.download import DownloadResult
    from dregcli.app.datasets.import_ import Imported
    from dregcli.app.datasets.show import Shown


def image_in_words(shape: Sequence[int]) -> str:
    """Format the shape of an image for tables: 28x28, or 3x32x32 with colours."""
    return "x".join(map(str, shape)) or "-"


def dataset_json(result: "DownloadResult | Imported | Shown") -> dict[str, Any]:
    """Return the JSON description of a data set, the same for all commands that print one."""
    dataset = result.dataset
    return {
        "dataset": dataset.name,
        "kind": dataset.kind.value,
        "levels": dataset.levels,
        "image": list(dataset.image),
        "splits": {split.value: len(rows) for split, rows in dataset.splits.items()},
        "split_hashes": {split.value: digest for split, digest in dataset.split_hashes.items()},
        "split_convention": dataset.split_convention,
        "checksum": dataset.checksum,
        "source": dataset.source,
        "provenance": dict(dataset.provenance),
    }
