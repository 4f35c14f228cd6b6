"""What is modelled of a data set: which values of its pixels, under which likelihood, and how much of the image."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dregcli.data.dataset import Dataset
from dregcli.errors import Fault
from dregcli.names import Binarisation, DataKind, LikelihoodName, Task, unknown
from dregcli.specs.binarisation import parse_binarisation

_DRAWN = f"{Binarisation.DYNAMIC}, {Binarisation.STATIC_SEED}:0 or {Binarisation.THRESHOLD}:0.5"


def observation(dataset: Dataset | None, options: Mapping[str, Any]) -> tuple[dict[str, str], list[Fault]]:
    """Binarisation and likelihood of a run: what is given must fit the data and each other, the rest follows.

    Args:
        dataset: the run's data; None where they cannot be had, and only the words can be looked at.
        options: by field of the spec; ``binarisation``, ``likelihood`` and ``task`` count, where given.

    Returns:
        Both fields where they could be decided, and every fault.
    """
    faults: list[Fault] = []
    binarisation: Binarisation | None = None
    if (word := options.get("binarisation")) is not None:
        try:
            # A config may hold anything; what is no word must not pass for one that was left out.
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
    fits = _of_intensities if dataset.kind is DataKind.INTENSITY else _of_plain
    found, chosen, faults = fits(dataset, binarisation, likelihood)
    return {"binarisation": str(word) if binarisation else found.value, "likelihood": chosen.value}, faults


Chosen = tuple[Binarisation, LikelihoodName, list[Fault]]


def _of_plain(dataset: Dataset, binarisation: Binarisation | None, likelihood: LikelihoodName | None) -> Chosen:
    """Values of which nothing is drawn have one likelihood."""
    fits, values, reason = {
        DataKind.BINARY: (LikelihoodName.BERNOULLI, "binary pixels", "the pixels of {} are 0 and 1 already"),
        DataKind.REAL: (LikelihoodName.GAUSSIAN, "real values", "{} has real values, not intensities"),
    }[dataset.kind]
    faults: list[Fault] = []
    if binarisation not in (None, Binarisation.NONE):
        faults.append(Fault("binarisation", f"{reason.format(dataset.name)}: leave it out, or give none."))
    if likelihood not in (None, fits):
        message = f"{likelihood} does not fit the {values} of {dataset.name}; {fits} does."
        faults.append(Fault("likelihood", message))
    return Binarisation.NONE, fits, faults


def _of_intensities(dataset: Dataset, binarisation: Binarisation | None, likelihood: LikelihoodName | None) -> Chosen:
    of_levels = LikelihoodName.DISCRETISED_LOGISTIC if dataset.levels > 1 else LikelihoodName.GAUSSIAN
    if likelihood is None:
        plain = binarisation is Binarisation.NONE
        likelihood = of_levels if plain else LikelihoodName.BERNOULLI
    if binarisation is None:
        drawn = likelihood is LikelihoodName.BERNOULLI
        binarisation = Binarisation.DYNAMIC if drawn else Binarisation.NONE
    faults: list[Fault] = []
    if likelihood is LikelihoodName.BERNOULLI and binarisation is Binarisation.NONE:
        message = (
            f"bernoulli needs binary pixels, and {dataset.name} has intensities: give --binarisation {_DRAWN}, "
            f"or --likelihood {of_levels}."
        )
        faults.append(Fault("likelihood", message))
    if likelihood is not LikelihoodName.BERNOULLI and binarisation is not Binarisation.NONE:
        message = f"{likelihood} is of the intensities themselves: it needs --binarisation none."
        faults.append(Fault("likelihood", message))
    if likelihood is LikelihoodName.DISCRETISED_LOGISTIC and dataset.levels == 1:
        message = f"discretised-logistic needs whole grey levels, and {dataset.name} has fractions: gaussian fits."
        faults.append(Fault("likelihood", message))
    return binarisation, likelihood, faults


def _task_faults(dataset: Dataset | None, task: object) -> list[Fault]:
    """Why an image cannot be halved as a task needs."""
    if task is not None and task not in list(Task):
        return [Fault("task", unknown("task", str(task), Task))]
    if dataset is None or task is None or task == Task.GENERATIVE:
        return []
    size = f"{dataset.height}x{dataset.width}"
    if dataset.height < 2:
        return [Fault("task", f"{task} needs images of two rows or more, and {dataset.name} is {size}.")]
    if task == Task.STRUCTURED_REFERENCE and dataset.height % 2:
        return [Fault("task", f"{task} needs halves of one size, and {dataset.name} is {size}.")]
    return []


def observation_warning(dataset: Dataset, likelihood: LikelihoodName) -> str | None:
    """The one warning for a density of values that are discrete, or of some that never vary."""
    if likelihood is not LikelihoodName.GAUSSIAN:
        return None
    if dataset.kind is DataKind.INTENSITY:
        return (
            "a gaussian density of grey levels is bounded by the scale's floor only: compare its bounds with other "
            "gaussian runs on the same data; discretised-logistic gives the levels probabilities."
        )
    constant = np.flatnonzero(dataset.scanned.moments.deviation == 0.0).tolist()
    if not constant:
        return None
    shown = ", ".join(map(str, constant[:5])) + (", ..." if len(constant) > 5 else "")
    return (
        f"{len(constant)} of {dataset.pixels} values never vary in training (numbers {shown}): each adds up to "
        "3.7 nats to the bound whatever the model; leave them out of the data."
    )
