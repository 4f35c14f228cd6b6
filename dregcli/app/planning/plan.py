"""From what was asked for to a resolved run: spec and data, or every fault of it at once."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dregcli.app.planning.architectures import for_model
from dregcli.app.planning.executing import decide_execution
from dregcli.app.planning.machine import precision_warning
from dregcli.app.planning.observation import observation, observation_warning
from dregcli.app.planning.run_data import RunData
from dregcli.app.planning.tracked import tracked_words
from dregcli.data.catalogue import conventions_of, known_datasets, load_dataset
from dregcli.data.dataset import Dataset
from dregcli.data.folders import data_command, place_of
from dregcli.engine.device import resolve_device
from dregcli.engine.estimators import Expectation
from dregcli.engine.pairs import Pair, estimators_of, resolve_pair, word_faults
from dregcli.engine.words import parse_estimator, parse_objective, short_word, word_of
from dregcli.errors import DataCorrupt, DatasetMissing, DregError, Fault, SpecError
from dregcli.names import Promise, Split, nearest, unknown
from dregcli.specs.binarisation import parse_binarisation
from dregcli.specs.resolve import spec_faults, unknown_option_faults
from dregcli.specs.run import RunSpec, default_run_name


@dataclass(frozen=True)
class Plan:
    """A run that can work.

    Attributes:
        spec: what it is.
        data: its data.
        warnings: of what was decided for it, told once; see ``warnings_of`` for those that stay.
    """

    spec: RunSpec
    data: RunData
    warnings: tuple[str, ...] = ()


def _positive(value: object) -> bool:
    return type(value) is int and value >= 1


def canonical_words(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with objective, estimator and binarisation as a spec keeps them: one setting has one spelling.

    Parameters are spelt out, defaults too: ``dreg-alpha`` becomes ``dreg-alpha:alpha=0.9``. What is no word stays.
    """
    canonical = dict(options)
    for key, parse in (("objective", parse_objective), ("estimator", parse_estimator)):
        if isinstance(word := options.get(key), str):
            with suppress(SpecError):
                canonical[key] = word_of(parse(word))
    if isinstance(word := options.get("binarisation"), str):
        with suppress(ValueError):
            canonical["binarisation"] = parse_binarisation(word).word
    return canonical


def spread_pair(options: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Options with an estimator given as a pair (``rws/dreg``) as objective and estimator.

    Returns:
        The options, and a fault where they name another objective beside.
    """
    spread = dict(options)
    word, objective = options.get("estimator"), options.get("objective")
    if not isinstance(word, str) or "/" not in word:
        return spread, []
    spread["objective"], _, spread["estimator"] = word.rpartition("/")
    if objective is not None and canonical_words({"objective": objective}) != canonical_words(
        {"objective": spread["objective"]}
    ):
        message = f"'{word}' contradicts --objective {objective}: leave one of the two out."
        return spread, [Fault("estimator", message)]
    return spread, []


def in_words(expectation: Expectation) -> str:
    """A combination of gradients, such as ``0.1 iwae + 0.9 rws``."""
    parts = [name if weight == 1.0 else f"{weight:g} {name}" for name, weight in expectation.items() if weight]
    return " + ".join(parts)


def short_words(spec: RunSpec) -> dict[str, str]:
    """A spec's objective and estimator with parameters only where they are not the defaults."""
    return {
        "objective": short_word(parse_objective(spec.objective)),
        "estimator": short_word(parse_estimator(spec.estimator)),
    }


def run_name(spec: RunSpec) -> str:
    """The name of a run that was given none."""
    return default_run_name(spec.model_copy(update=short_words(spec)))


def resolve_plan(options: Mapping[str, Any], data_dir: Path, found: Sequence[Fault] = ()) -> Plan:
    """Resolve merged options: data loaded, ``auto`` decided, epochs counted.

    Args:
        options: by field of the spec, and ``epochs``.
        data_dir: the data folder.
        found: faults found before, to be told with the rest.

    Raises:
        SpecError: everything that is wrong, at once.
        DatasetMissing: only the data are missing.
    """
    faults = [*found, *unknown_option_faults(options)]
    known = {key: value for key, value in options.items() if key in RunSpec.model_fields}

    name = str(known.get("dataset"))
    dataset, missing, of_data = _loaded(known, data_dir)
    faults += of_data

    size = len(dataset.splits[Split.TRAIN]) if dataset else None
    batch_size = known.get("batch_size", RunSpec.model_fields["batch_size"].default)
    if size is not None and _positive(batch_size) and batch_size > size:
        faults.append(
            Fault("batch-size", f"must be at most the {size} training examples of {name}, got {batch_size}.")
        )

    epochs = options.get("epochs")
    if epochs is not None:
        known["steps"] = 1  # stands in until the data are known
        if not _positive(epochs):
            faults.append(Fault("epochs", f"must be at least 1, got {epochs!r}."))
        elif size is not None and _positive(batch_size):
            known["steps"] = epochs * max(1, size // batch_size)

    known, of_model = for_model(known, dataset)
    chosen, of_observation = observation(dataset, known) if not of_model else ({}, [])
    known |= chosen
    faults += of_model + of_observation
    if dataset is not None:
        for field, actual in (("data_checksum", dataset.checksum), ("split_convention", dataset.split_convention)):
            if known.setdefault(field, actual) != actual:
                message = f"the {name} data here differ from the spec's: {actual}, not {known[field]}."
                faults.append(Fault(field.replace("_", "-"), message))
    known.setdefault("data_checksum", "unknown")
    known.setdefault("split_convention", "unknown")

    device_error: DregError | None = None
    if known.get("device") in ("auto", "cuda"):
        try:
            known["device"] = resolve_device(known["device"])
        except DregError as error:
            device_error = error
            known["device"] = "cpu"
    elif known.get("device") != "cpu":
        faults.append(Fault("device", f"must be auto, cpu or cuda, got {known.get('device')!r}."))
        known["device"] = "cpu"

    known["dataset"] = name  # its faults are told above
    decided = decide_execution(known, dataset)
    known = decided.options
    faults += decided.faults
    words = [known.get(key, RunSpec.model_fields[key].default) for key in ("objective", "estimator")]
    k = known.get("k", RunSpec.model_fields["k"].default)
    k = k if _positive(k) else None
    of_pair = word_faults(words[0], words[1], k) if all(isinstance(word, str) for word in words) else []
    if "track_estimators" in known:
        # What is wrong with the objective itself is told once, with the objective.
        sound = k if not any(fault.field in ("objective", "k") for fault in of_pair) else None
        known["track_estimators"], of_tracked = tracked_words(known["track_estimators"], objective=words[0], k=sound)
        faults += of_tracked
    told = {fault.field for fault in faults}
    faults += [fault for fault in spec_faults(known) if fault.field not in told]
    faults += of_pair
    if faults:
        raise SpecError(faults, hint="correct the above; every option is shown by: dreg train --help")
    for error in (missing, device_error):
        if error:
            raise error
    assert dataset is not None
    spec = RunSpec.model_validate(canonical_words(known))
    return Plan(spec, RunData(dataset, spec), tuple(decided.warnings))


def _loaded(known: Mapping[str, Any], data_dir: Path) -> tuple[Dataset | None, DregError | None, list[Fault]]:
    """The data set asked for; or why it cannot be had, or what is wrong with how it was asked for."""
    name, convention = known.get("dataset"), known.get("split_convention")
    names = known_datasets(data_dir)
    if not isinstance(name, str) or name not in names:
        return None, None, [Fault("dataset", unknown("data set", str(name), names))]
    try:
        conventions = conventions_of(name, data_dir)
        if convention is not None and convention not in conventions:
            near = nearest(str(convention), conventions)
            meant = f" Did you mean '{near}'?" if near else ""
            message = f"{name} has {', '.join(conventions)}, got '{convention}'.{meant}"
            return None, None, [Fault("split-convention", message)]
        return load_dataset(name, data_dir, convention), None, []
    except DregError as error:
        return None, error, []


def data_of(spec: RunSpec, data_dir: Path) -> RunData:
    """The data of an earlier run.

    Raises:
        DatasetMissing: not on this machine, or no longer.
        DataCorrupt: other values than the run was trained on, or other splits of them.
    """
    if spec.dataset not in known_datasets(data_dir):
        what = f"The run's data set '{spec.dataset}' was imported, and is no longer there."
        where = f"{place_of(spec.dataset, data_dir)}; the run's data have the checksum {spec.data_checksum[:16]}"
        again = data_command("data", "import", "FILE", "--name", spec.dataset, data_dir=data_dir)
        hint = f"point --data-dir at it; or import it again: {again}"
        raise DatasetMissing(what, where=where, hint=hint)
    if spec.split_convention in conventions_of(spec.dataset, data_dir):
        dataset = load_dataset(spec.dataset, data_dir, spec.split_convention)
    else:
        dataset = load_dataset(spec.dataset, data_dir)
    check_data(spec, dataset)
    return RunData(dataset, spec)


def check_data(spec: RunSpec, dataset: Dataset) -> None:
    """Refuse data that are not those of an earlier run.

    Raises:
        DataCorrupt: other values than the run was trained on, or other splits of them.
    """
    if dataset.checksum != spec.data_checksum:
        what = f"The {spec.dataset} data here are not those of the run: their checksums differ."
        where = f"here {dataset.checksum[:16]}, in the run {spec.data_checksum[:16]}"
        raise DataCorrupt(what, where=where, hint="point --data-dir at the data the run was trained on")


def warnings_of(spec: RunSpec, dataset: Dataset) -> list[str]:
    """What a user should know of a run before it starts."""
    found = (
        _bias_warning(spec),
        observation_warning(dataset, spec.likelihood),
        precision_warning(spec.screen_precision, spec.device),
    )
    return [warning for warning in found if warning]


def _bias_warning(spec: RunSpec) -> str | None:
    """The one warning for a pair whose expected gradient is not that of its objective."""
    pair = resolve_pair(spec.objective, spec.estimator, spec.k)
    if pair.promise(spec.k) is Promise.UNBIASED:
        return None
    others = [Pair(pair.objective, estimator) for estimator in estimators_of(pair.objective)]
    unbiased = [p.estimator for p in others if not p.faults(spec.k) and p.promise(spec.k) is Promise.UNBIASED]
    # The estimator's own name stands with the parameters that make it unbiased.
    names = [word_of(e) if e.name is pair.estimator.name else e.name for e in unbiased]
    expectation = pair.estimator.expectation(pair.objective)
    instead = f": its expected gradient in phi is that of {in_words(expectation)}" if expectation else ""
    return (
        f"estimator '{spec.estimator}' is biased for objective '{spec.objective}' with k={spec.k}{instead} "
        f"({pair.estimator.reference}); unbiased: {', '.join(names)}."
    )
