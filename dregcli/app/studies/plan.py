"""Plan the runs of a study, or report the faults of all runs at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dregcli.app.models.code import Code
from dregcli.app.planning.plan import resolve_plan
from dregcli.app.planning.words import canonical_words, label_of, run_name, spread_pair
from dregcli.app.studies.request import Files, TrainRequest
from dregcli.app.training.resuming import FREE
from dregcli.data.dataset import Dataset
from dregcli.errors import DregError, Fault, SpecError, UsageError
from dregcli.specs.number_lists import parse_seeds
from dregcli.specs.options import RunOptions
from dregcli.specs.resolve import merge_options
from dregcli.specs.run import RunSpec
from dregcli.store.layout import check_name


@dataclass(frozen=True)
class Combination:
    """One run of a study.

    Attributes:
        spec: spec of the run.
        warnings: warnings about ``auto`` decisions.
        free: options of ``dregcli.app.training.resuming.FREE`` that an interrupted run gets when it continues.
    """

    spec: RunSpec
    warnings: tuple[str, ...]
    free: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The pair and the seed, such as ``iwae/dreg, seed 2``."""
        return label_of(self.spec)


@dataclass(frozen=True)
class StudyPlan:
    """The runs of a study, without faults.

    Attributes:
        combinations: runs seed by seed, so that a stopped study already has pairs of runs.
        dataset: data set of all runs.
        name: name of all runs; None means default names.
        code: code of the model of all runs; None for a built-in network.
    """

    combinations: tuple[Combination, ...]
    dataset: Dataset
    name: str | None
    code: Code | None = None


@dataclass
class _Faults:
    """Faults of combinations, each once, with the combinations that have it."""

    asked: Sequence[str]
    common: list[Fault]
    by_fault: dict[Fault, list[str]] = field(default_factory=dict[Fault, list[str]])

    def add(self, name: str, faults: Sequence[Fault]) -> None:
        for fault in faults:
            self.by_fault.setdefault(fault, []).append(name)

    def reported(self) -> list[Fault]:
        """Return all faults; a fault of only some combinations begins with their names."""
        of_all = [fault for fault, has_it in self.by_fault.items() if len(has_it) == len(self.asked)]
        of_some = [
            Fault(f"{', '.join(has_it)}: {fault.field}", fault.message)
            for fault, has_it in self.by_fault.items()
            if fault not in of_all and fault not in self.common
        ]
        return [*dict.fromkeys([*self.common, *of_all]), *of_some]


def plan_study(request: TrainRequest, files: Files, data_dir: Path) -> StudyPlan:
    """Resolve every run of a study: each estimator at each seed.

    Args:
        request: the request.
        files: the options in its files.
        data_dir: the data folder.

    Raises:
        SpecError: the faults of all runs at once.
        DatasetMissing: there is no fault, but the data are missing.
    """
    options, faults = merge_options(request.flags, files.config, files.preset)
    seeds, of_seeds = parse_seeds(options.seeds) if options.seeds is not None else (None, [])
    words = [options.estimator] if isinstance(options.estimator, str) else options.estimator
    of_words = [] if words else [Fault("estimator", "is empty: a study needs at least one estimator.")]
    asked = [_options_of(word, request, files, by_seeds=seeds is not None) for word in words]
    names = [_named(dict(each.options)) for each in asked]
    of_name = name_faults(request.name) if request.name is not None else []
    found = _Faults(names, [*files.faults, *faults, *of_seeds, *of_words, *_twice(asked), *of_name])
    templates: list[Combination] = []
    dataset: Dataset | None = None
    code: Code | None = None
    missing: DregError | None = None
    for name, each in zip(names, asked, strict=True):
        try:
            # The code of the model is read once, so that all runs have the same, also if it is edited meanwhile.
            plan = resolve_plan(each.options, data_dir, each.faults, code)
        except SpecError as error:
            found.add(name, error.faults)
        except DregError as error:
            missing = missing or error
        else:
            # The data are the same for all runs, and are kept once.
            dataset = plan.data.dataset
            code = plan.code
            templates.append(Combination(plan.spec, plan.warnings, each.free))
    if all_faults := found.reported():
        raise SpecError(all_faults, hint="correct the above; every option is shown by: dreg train --help")
    if missing:
        raise missing
    assert dataset is not None
    for template in templates:
        check_name(request.name or run_name(template.spec))
    by_seed = zip(*(_at_seeds(template, seeds) for template in templates), strict=True)
    return StudyPlan(tuple(each for of_seed in by_seed for each in of_seed), dataset, request.name, code)


@dataclass(frozen=True)
class _Asked:
    """Options of one estimator's runs at any seed, and their faults from before they were resolved."""

    options: RunOptions
    faults: list[Fault]

    @property
    def free(self) -> dict[str, Any]:
        # A default that nobody gave changes nothing of a run that is continued.
        return {key: getattr(self.options, key) for key in FREE if key in self.options.model_fields_set}


def _options_of(word: object, request: TrainRequest, files: Files, *, by_seeds: bool) -> _Asked:
    """Return the options as if ``dreg train`` named only this estimator."""

    def at_any_seed(layer: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in layer.items() if key != "seeds" and not (by_seeds and key == "seed")}

    layers = [at_any_seed(layer) for layer in (request.flags, files.config, files.preset)]
    named = False
    for layer in layers:  # the strongest first
        # Replace the list of estimators by this word. A list in a weaker layer does not count.
        if isinstance(layer.get("estimator"), list):
            if named:
                del layer["estimator"]
            else:
                layer["estimator"] = word
        named = named or layer.get("estimator") is not None
    (flags, config, preset), contradictions = zip(*map(spread_pair, layers), strict=True)
    options, faults = merge_options(flags, config, preset)
    return _Asked(options, [*(fault for each in contradictions for fault in each), *faults])


def _named(options: Mapping[str, Any]) -> str:
    """Return the pair as typed, such as ``iwae/dreg``; the words may not be valid."""
    return f"{options['objective']}/{options['estimator']}"


def _twice(asked: Sequence[_Asked]) -> list[Fault]:
    """Return a fault for each pair that is given more than once, also in different words."""
    seen: set[str] = set()
    faults: list[Fault] = []
    for each in asked:
        pair = _named(canonical_words(dict(each.options)))
        if pair in seen:
            faults.append(Fault("estimator", f"{_named(dict(each.options))} is given twice."))
        seen.add(pair)
    return faults


def name_faults(name: str) -> list[Fault]:
    """Return a fault if a run cannot have this name."""
    try:
        check_name(name)
    except UsageError as error:
        return [Fault("name", error.what)]
    return []


def _at_seeds(template: Combination, seeds: Sequence[int] | None) -> list[Combination]:
    """Copy a combination for each seed; only the seed changes, because no check and no ``auto`` depends on it."""
    if seeds is None:
        return [template]
    return [replace(template, spec=template.spec.model_copy(update={"seed": seed})) for seed in seeds]
