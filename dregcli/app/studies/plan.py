"""Plan the runs of a study, or report the faults of all runs at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from dregcli.app.models.code import Code
from dregcli.app.planning.load_data import load_asked
from dregcli.app.planning.plan import Plan, resolve_plan
from dregcli.app.planning.run_data import RunData
from dregcli.app.planning.words import label_of, run_name
from dregcli.app.studies.asked import Asked, AskedGrid, asked_grid
from dregcli.app.studies.faults import PAIR, Faults
from dregcli.app.studies.repeats import Key, key_of
from dregcli.app.studies.request import Files, TrainRequest
from dregcli.data.dataset import Dataset
from dregcli.errors import DregError, Fault, SpecError, UsageError
from dregcli.report.settings import shown_setting, shown_value, with_model_options
from dregcli.specs.axes import size_fault, value_in_words
from dregcli.specs.options import RunOptions
from dregcli.specs.resolve import flag
from dregcli.specs.run import NO_EFFECT, RunSpec
from dregcli.store.layout import check_name

_HINT: Final = "correct the above; every option is shown by: dreg train --help"


@dataclass(frozen=True)
class Combination:
    """One run of a study.

    Attributes:
        spec: spec of the run.
        warnings: warnings about ``auto`` decisions.
        free: options of ``dregcli.app.training.resuming.FREE`` that an interrupted run gets when it continues.
        code: code of the model; None for a built-in network.
        settings: values of the settings in which the runs of the study differ, apart from objective, estimator and
            seed, as texts by the name of the setting.
    """

    spec: RunSpec
    warnings: tuple[str, ...]
    free: Mapping[str, Any]
    code: Code | None
    settings: Mapping[str, str]

    @property
    def label(self) -> str:
        """The pair, the settings in which runs differ, and the seed, such as ``iwae/dreg K=16, seed 2``."""
        return label_of(self.spec, [shown_setting(*each, is_short=False) for each in self.settings.items()])


@dataclass(frozen=True)
class StudyPlan:
    """The runs of a study, without faults.

    Attributes:
        combinations: runs seed by seed, so that a stopped study already has pairs of runs.
        datasets: the data sets of the runs, by name and split; runs share them.
        name: name of all runs; None means default names.
    """

    combinations: tuple[Combination, ...]
    datasets: Mapping[tuple[str, str], Dataset]
    name: str | None

    def data(self, combination: Combination) -> RunData:
        """Return the data of one run. They are copied to the device when the run first uses them."""
        spec = combination.spec
        return RunData(self.datasets[spec.dataset, spec.split_convention], spec)

    def without(self, keys: Collection[Key]) -> "StudyPlan":
        """Return the plan without some runs."""
        return replace(self, combinations=tuple(each for each in self.combinations if key_of(each.spec) not in keys))


class _Loader:
    """Loads each data set once, and reads the code of each model once.

    So all runs have the same code, also if it is edited meanwhile.
    """

    def __init__(self) -> None:
        self._data: dict[tuple[str, str | None], tuple[Dataset | None, DregError | None, list[Fault]]] = {}
        self._code: dict[str, Code | None] = {}

    def load(self, options: RunOptions, data_dir: Path) -> tuple[Dataset | None, DregError | None, list[Fault]]:
        key = (options.dataset, options.split_convention)
        if key not in self._data:
            self._data[key] = load_asked(options, data_dir)
        return self._data[key]

    def plan(self, asked: Asked, data_dir: Path) -> Plan:
        word = asked.options.model
        plan = resolve_plan(asked.options, data_dir, asked.faults, self._code.get(word), self.load)
        self._code[word] = plan.code
        return plan


def plan_study(request: TrainRequest, files: Files, data_dir: Path) -> StudyPlan:
    """Resolve every run of a study: each combination of the values of its options, at each seed.

    Args:
        request: the request.
        files: the options in its files.
        data_dir: the data folder.

    Raises:
        SpecError: the faults of all runs at once.
        DatasetMissing: there is no fault, but the data are missing.
    """
    of_name = name_faults(request.name) if request.name is not None else []
    layers = request.grids(files)
    common = [*files.faults, *(fault for grid in layers for fault in grid.faults), *of_name]
    if too_many := size_fault(sum(grid.size for grid in layers)):
        raise SpecError([*common, *too_many], hint=_HINT)
    grids = [asked_grid(grid) for grid in layers]
    common += [fault for grid in grids for fault in grid.faults]
    common += size_fault(sum(len(grid.asked) * len(grid.seeds or (0,)) for grid in grids))
    asked = [each for grid in grids for each in grid.asked.values()]
    found = Faults(_names(asked), common)
    loader = _Loader()
    plans: dict[int, Plan] = {}
    missing: DregError | None = None
    for number, each in enumerate(asked):
        try:
            plans[number] = loader.plan(each, data_dir)
        except SpecError as error:
            found.add(number, error.faults)
        except DregError as error:
            missing = missing or error
    if all_faults := found.reported():
        raise SpecError(all_faults, hint=_HINT)
    if missing:
        raise missing
    for plan in plans.values():
        check_name(request.name or run_name(plan.spec))
    if idle := [*_without_effect(grids, list(plans.values())), *_at_odds(grids, list(plans.values()))]:
        raise SpecError(idle, hint=_HINT)
    datasets = {(each.spec.dataset, each.spec.split_convention): each.data.dataset for each in plans.values()}
    return StudyPlan(_combinations(grids, list(plans.values())), datasets, request.name)


def _combinations(grids: Sequence[AskedGrid], plans: Sequence[Plan]) -> tuple[Combination, ...]:
    """Return the runs, seed by seed. A run that several combinations describe is given once."""
    asked = [(each, grid.seeds) for grid in grids for each in grid.asked.values()]
    settings = _settings([plan.spec for plan in plans], [each for each, _ in asked])
    of_all = [
        _at_seeds(Combination(plan.spec, plan.warnings, each.free, plan.code, shown), seeds)
        for plan, (each, seeds), shown in zip(plans, asked, settings, strict=True)
    ]
    found: dict[Key, Combination] = {}
    for each in (each for of_seed in zip_longest(*of_all) for each in of_seed if each is not None):
        found.setdefault(key_of(each.spec), each)
    return tuple(found.values())


def _at_seeds(template: Combination, seeds: Sequence[int] | None) -> list[Combination]:
    """Copy a combination for each seed; only the seed changes, because no check and no ``auto`` depends on it."""
    if seeds is None:
        return [template]
    return [replace(template, spec=template.spec.model_copy(update={"seed": seed})) for seed in seeds]


def _settings(specs: Sequence[RunSpec], asked: Sequence[Asked]) -> list[dict[str, str]]:
    """Return, for each run, the settings that the user varied and in which the runs differ; see ``Combination``."""
    varied = dict.fromkeys("steps" if name == "epochs" else name for each in asked for name in each.varied)
    shown = [
        {
            name: shown_value(name, values.get(name)) or "none"
            for name in varied
            if name not in ("objective", "estimator")
        }
        for values in (with_model_options(spec.model_dump(mode="json")) for spec in specs)
    ]
    differing = [name for name in shown[0] if len({of_one[name] for of_one in shown}) > 1]
    return [{name: of_one[name] for name in differing} for of_one in shown]


def _names(asked: Sequence[Asked]) -> list[dict[str, str]]:
    """Return, for each combination, the varied options as texts by name; objective and estimator are one."""
    varied = dict.fromkeys(name for each in asked for name in each.varied)
    others = [name for name in varied if name not in ("objective", "estimator")]
    return [
        {
            **({PAIR: each.pair} if len(others) < len(varied) else {}),
            **{name: value_in_words(each.value(name)) for name in others},
        }
        for each in asked
    ]


def _without_effect(grids: Sequence[AskedGrid], plans: Sequence[Plan]) -> list[Fault]:
    """Return a fault for values of an option that resolve to the same runs, whatever the other options are."""
    keys = iter([key_of(plan.spec) for plan in plans])
    faults: list[Fault] = []
    for grid in grids:
        of_grid = {choice: next(keys) for choice in grid.asked}
        for axis, alike in grid.grid.equal_values(of_grid):
            words = " and ".join(value_in_words(axis.values[number]) for number in alike)
            faults.append(Fault(flag(axis.name), f"{words} mean the same run: give one of them."))
    return faults


def _at_odds(grids: Sequence[AskedGrid], plans: Sequence[Plan]) -> list[Fault]:
    """Return a fault for each option of ``NO_EFFECT`` with two values for one run, which is trained once."""
    asked = [(each, grid.seeds) for grid in grids for each in grid.asked.values()]
    known: dict[Key, tuple[Asked, RunSpec]] = {}
    faults: list[Fault] = []
    for (each, seeds), plan in zip(asked, plans, strict=True):
        kind, seed = key_of(plan.spec)
        for key in ((kind, seed) for seed in seeds or (seed,)):
            other, spec = known.setdefault(key, (each, plan.spec))
            for field in NO_EFFECT:
                values = [getattr(one, field) for one in (spec, plan.spec)]
                is_given = field in other.options.model_fields_set | each.options.model_fields_set
                if is_given and values[0] != values[1]:
                    words = " and ".join(value_in_words(None if value == () else value) for value in values)
                    faults.append(Fault(flag(field), f"{words} are for one run of {each.pair}: give one of them."))
    return list(dict.fromkeys(faults))


def name_faults(name: str) -> list[Fault]:
    """Return a fault if a run cannot have this name."""
    try:
        check_name(name)
    except UsageError as error:
        return [Fault("name", error.what)]
    return []
