"""The faults of a file about trained models that its form alone does not show; no data are needed to find them."""

from collections.abc import Sequence
from typing import Final

from dregcli.app.papers.studies import grids_of, number_of, training_of
from dregcli.app.studies.asked import Asked, asked_grid
from dregcli.app.training.evaluations import SPLITS
from dregcli.engine.pairs import training_faults
from dregcli.errors import Fault
from dregcli.names import Split
from dregcli.report.papers.quantities import QUANTITIES, Quantity
from dregcli.specs.axes import size_fault
from dregcli.specs.papers.document import STEP, Panel, Paper, Training
from dregcli.specs.papers.lines import Place

_LENGTH: Final = ("steps", "epochs")


def file_faults(paper: Paper) -> list[tuple[Place, str]]:
    """Return options that no run can have, runs without a length, and quantities that there are not."""
    experiment = training_of(paper)
    found: list[tuple[Place, str]] = []
    asked: list[Asked] = []
    grids = grids_of(experiment)
    if too_many := size_fault(sum(grid.size for grid in grids)):
        return [(("experiment", "runs"), fault.message) for fault in too_many]
    for number, grid in enumerate(grids):
        of_table = asked_grid(grid)
        combinations = [*of_table.asked.values()]
        faults = [*grid.faults, *of_table.faults, *(fault for each in combinations for fault in each.faults)]
        faults = faults or [fault for each in combinations for fault in _pair_faults(each)]
        found += _table_faults(experiment, number, faults)
        asked += combinations
    for number, panel in enumerate(paper.figure):
        found += [(("figure", number, name), why) for name, why in _panel_faults(panel, experiment, asked)]
    for number, each in enumerate(paper.published):
        here: Place = ("published", number)
        found += [((*here, "y"), why) for why in (*_unknown(each.y), *_needs(each.y, experiment, asked))]
        if each.of == "slope":
            found.append(((*here, "of"), "must be value: slopes are measured on the toy only."))
    return list(dict.fromkeys(found))


def _table_faults(experiment: Training, number: int, faults: Sequence[Fault]) -> list[tuple[Place, str]]:
    """Return the faults of a table of runs, each where its option stands."""
    table, shared = experiment.runs[number], experiment.options
    here: Place = ("experiment", "runs", number)

    def place(field: str) -> Place:
        return (*here, field) if field in table else ("experiment", "options", field) if field in shared else here

    found = [
        (place(field), "belongs beside the runs: write seeds below [experiment].")
        for field in ("seed", "seeds")
        if field in table or field in shared
    ]
    if not any(field in table or field in shared for field in _LENGTH):
        found.append((here, "a run needs its length: write steps or epochs."))
    return found + [(place(_field_of(fault)), str(fault)) for fault in faults]


def _field_of(fault: Fault) -> str:
    """Return the option that a fault is about: ``model_options`` for ``model-option width``."""
    name = fault.field.partition("[")[0]
    return "model_options" if name.startswith("model-option") else name.replace("-", "_")


def _pair_faults(asked: Asked) -> list[Fault]:
    options = asked.options
    return training_faults(options.objective, options.estimator, options.k, options.noise)


def _unknown(y: str) -> list[str]:
    return [] if y in QUANTITIES else [f"must be one of {', '.join(QUANTITIES)}, got '{y}'."]


def _needs(y: str, experiment: Training, asked: Sequence[Asked], x: str = "") -> list[str]:
    """Return what the runs lack for a quantity at the end of training, or along it."""
    quantity = QUANTITIES.get(y)
    if quantity is None:
        return []
    if quantity.needs_evaluation and experiment.evaluation is None:
        return [f"{y} is the result of an evaluation: write an [experiment.evaluation] with split and k."]
    if quantity.is_tracked and not all(each.options.track_estimators for each in asked):
        return [f"{y} needs runs that track their estimator: write track_estimators in the options or in every run."]
    if quantity.split is not None and not any(_has(quantity, quantity.split, each, x) for each in asked):
        return [f'no run computes {y}: write final_eval = "all".']
    return []


def _has(quantity: Quantity, split: Split, asked: Asked, x: str) -> bool:
    """Whether a run has a bound of a split, at its end or along training."""
    options = asked.options
    is_along = x == STEP and quantity.along is not None
    validates = split is not Split.VALID or options.eval_every != 0
    return split in SPLITS[options.final_eval] or (is_along and validates)


def _panel_faults(panel: Panel, experiment: Training, asked: Sequence[Asked]) -> list[tuple[str, str]]:
    needs = _needs(panel.y, experiment, asked, panel.x)
    found = [("y", why) for why in (*_unknown(panel.y), *needs)]
    quantity = QUANTITIES.get(panel.y)
    if panel.x == STEP:
        if quantity and quantity.along is None:
            found.append(("x", f"{panel.y} is known at the end of training only: name a setting, such as k."))
    elif panel.x.partition(".")[0] not in _settings(experiment):
        found.append(("x", f"must be step, or a setting of the runs, got '{panel.x}'."))
    elif all(number_of(each.options, panel.x) is None for each in asked):
        found.append(("x", f"'{panel.x}' is no number in any run."))
    return found


def _settings(experiment: Training) -> set[str]:
    """Return the settings that the runs name; epochs are steps in the spec of a run."""
    names = {name for table in (experiment.options, *experiment.runs) for name in table}
    return (names - {"epochs"}) | ({"steps"} if "epochs" in names else set())
