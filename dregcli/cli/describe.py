"""Data and what is modelled of them, in words and for programs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dregcli.names import Binarisation, LikelihoodName, Task

if TYPE_CHECKING:
    from dregcli.app.data_import import Imported
    from dregcli.app.data_show import Shown
    from dregcli.app.download import DownloadResult


def described(spec: Mapping[str, Any]) -> str:
    """``mnist, bottom half given top half (burda split, dynamic binarisation)``: what two bounds must share.

    Args:
        spec: a run's, as plain values.
    """
    halves = {
        Task.STRUCTURED: ", bottom half given top half",
        Task.STRUCTURED_REFERENCE: ", top half given bottom half as in the reference code",
    }.get(spec["task"], "")
    likelihood = spec.get("likelihood", LikelihoodName.BERNOULLI)
    parts = [f"{spec['split_convention']} split"]
    if spec["binarisation"] != Binarisation.NONE:
        parts.append(f"{spec['binarisation']} binarisation")
    if likelihood != LikelihoodName.BERNOULLI:
        parts.append(f"{likelihood} likelihood")
    return f"{spec['dataset']}{halves} ({', '.join(parts)})"


def seen_as(spec: Mapping[str, Any]) -> tuple[str, str, str]:
    """Task, binarisation and likelihood: what else two bounds on the same examples must share to be compared."""
    return str(spec["task"]), str(spec["binarisation"]), str(spec.get("likelihood", LikelihoodName.BERNOULLI))


def dataset_json(result: "DownloadResult | Imported | Shown") -> dict[str, Any]:
    """What every command that ends with a data set tells programs of it."""
    dataset = result.dataset
    return {
        "dataset": dataset.name,
        "kind": dataset.kind.value,
        "levels": dataset.levels,
        "image": [dataset.height, dataset.width],
        "splits": {split.value: len(rows) for split, rows in dataset.splits.items()},
        "split_hashes": {split.value: digest for split, digest in dataset.split_hashes.items()},
        "split_convention": dataset.split_convention,
        "checksum": dataset.checksum,
        "source": dataset.source,
        "provenance": dict(dataset.provenance),
    }
