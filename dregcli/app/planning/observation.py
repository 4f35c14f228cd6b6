"""Decide what a run models: the binarisation of the pixels, their likelihood, and whether the task fits the image."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dregcli.data.dataset import Dataset
from dregcli.engine.likelihoods import LIKELIHOODS, fitting
from dregcli.errors import Fault
from dregcli.names import Binarisation, DataKind, LikelihoodName, Task, unknown
from dregcli.specs.binarisation import parse_binarisation

_DRAWN = f"{Binarisation.DYNAMIC}, {Binarisation.STATIC_SEED}:0 or {Binarisation.THRESHOLD}:0.5"
_NOTHING_DRAWN = {
    DataKind.BINARY: "the pixels of {} are 0 and 1 already",
    DataKind.REAL: "{} has real values, not intensities",
}
_VALUES = {DataKind.BINARY: "binary pixels", DataKind.REAL: "real values"}


def observation(dataset: Dataset | None, options: Mapping[str, Any]) -> tuple[dict[str, str], list[Fault]]:
    """Decide binarisation and likelihood of a run.

    The given options must fit the data and each other; options that are not given are chosen to fit.

    Args:
        dataset: the run's data; None if they cannot be loaded, and then only the words are checked.
        options: options by field of the spec; only ``binarisation``, ``likelihood`` and ``task`` are used.

    Returns:
        Both fields, or none if they could not be decided; and every fault.
    """
    faults: list[Fault] = []
    binarisation: Binarisation | None = None
    if (word := options.get("binarisation")) is not None:
        try:
            # A config may hold a value that is no text; it must not count as left out.
            binarisation = parse_binarisation(word if isinstance(word, str) else repr(word)).name
        except ValueError as error:
            faults.append(Fault("binarisation", str(error)))
    likelihood: LikelihoodName | None = None
    if (name := options.get("likelihood")) is not None:
        if name in list(LikelihoodName):
            likelihood = LikelihoodName(name)
        else:
            faults.append(Fault("likelihood", unknown("likelihood", str(name), LikelihoodName)))
    faults += _task_faults(dataset, options.get("task"))
    if faults or dataset is None:
        return {}, faults
    of_drawn = fitting(DataKind.BINARY, 1) if dataset.kind is DataKind.INTENSITY else []
    as_stored = fitting(dataset.kind, dataset.levels)
    if likelihood is None:
        drawn = of_drawn and binarisation is not Binarisation.NONE
        likelihood = of_drawn[0] if drawn else as_stored[0]
    if binarisation is None:
        binarisation = Binarisation.DYNAMIC if likelihood in of_drawn else Binarisation.NONE
    chosen = {"binarisation": binarisation.value if word is None else str(word), "likelihood": likelihood.value}
    return chosen, _misfits(dataset, binarisation, likelihood, of_drawn, as_stored)


def _misfits(
    dataset: Dataset,
    binarisation: Binarisation,
    likelihood: LikelihoodName,
    of_drawn: Sequence[LikelihoodName],
    as_stored: Sequence[LikelihoodName],
) -> list[Fault]:
    """Return faults for pixels and a likelihood that do not fit the data or each other.

    Args:
        dataset: the run's data.
        binarisation: how pixels are drawn from the data.
        likelihood: the distribution of the pixels.
        of_drawn: likelihoods for pixels that are drawn from this data; empty if no pixels can be drawn.
        as_stored: likelihoods for the data as they are stored.
    """
    faults: list[Fault] = []
    is_drawn = binarisation is not Binarisation.NONE
    if is_drawn and not of_drawn:
        reason = _NOTHING_DRAWN[dataset.kind].format(dataset.name)
        faults.append(Fault("binarisation", f"{reason}: leave --binarisation out."))
    fit = of_drawn if is_drawn and of_drawn else as_stored
    if likelihood in fit:
        return faults
    if likelihood in of_drawn:
        needs = LIKELIHOODS[likelihood].needs
        message = (
            f"{likelihood} needs {needs}, but {dataset.name} has intensities: give --binarisation {_DRAWN}, "
            f"or --likelihood {as_stored[0]}."
        )
    elif likelihood in as_stored:
        message = f"{likelihood} models the intensities themselves: it needs --binarisation none."
    else:
        values = "fractions" if dataset.kind is DataKind.INTENSITY else _VALUES[dataset.kind]
        message = (
            f"{likelihood} needs {LIKELIHOODS[likelihood].needs}, but {dataset.name} has {values}: use {fit[0]}."
        )
    return [*faults, Fault("likelihood", message)]


def _task_faults(dataset: Dataset | None, task: object) -> list[Fault]:
    """Return a fault if an image cannot be halved as the task needs."""
    if task is not None and task not in list(Task):
        return [Fault("task", unknown("task", str(task), Task))]
    if dataset is None or task is None or task == Task.GENERATIVE:
        return []
    size = f"{dataset.height}x{dataset.width}"
    if dataset.height < 2:
        return [Fault("task", f"{task} needs images of two rows or more, but {dataset.name} is {size}.")]
    if task == Task.STRUCTURED_REFERENCE and dataset.height % 2:
        return [Fault("task", f"{task} needs two halves of the same size, but {dataset.name} is {size}.")]
    return []


def observation_warning(dataset: Dataset, likelihood: LikelihoodName | None) -> str | None:
    """Return the warning for a density of discrete values, or of values that never vary; else None.

    Nothing is known about the likelihood of a class of the user's own, which is None.
    """
    if likelihood is None or not LIKELIHOODS[likelihood].unbounded:
        return None
    if dataset.kind is DataKind.INTENSITY:
        return (
            f"only the smallest allowed scale limits a {likelihood} density of grey levels: compare its bounds only "
            f"with other {likelihood} runs on the same data; {fitting(dataset.kind, 2)[0]} gives the levels "
            "probabilities."
        )
    constant = np.flatnonzero(dataset.scanned.moments.deviation == 0.0).tolist()
    if not constant:
        return None
    shown = ", ".join(map(str, constant[:5])) + (", ..." if len(constant) > 5 else "")
    return (
        f"{len(constant)} of {dataset.pixels} values never vary in the training split (numbers {shown}): each adds "
        "up to 3.7 nats to the bound of every model; leave these values out of the data."
    )
