"""The faults of a file about trained models that its form alone does not show; no data are needed to find them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import product
from typing import Any, Final, cast

from dregcli.app.papers.studies import number_in, tables_of, training_of
from dregcli.app.planning.words import spread_pair
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.words import parse_estimator, parse_scheduled, word_of
from dregcli.errors import SpecError
from dregcli.report.papers.quantities import QUANTITIES
from dregcli.specs.options import RunOptions
from dregcli.specs.papers.document import STEP, Panel, Paper, Training
from dregcli.specs.papers.lines import Place
from dregcli.specs.resolve import read_options
from dregcli.words import split_list

_LISTS: Final = ("hidden", "latent_dim", "track_estimators")
"""Options of which a list is one value."""

_PAIR: Final = ("objective", "estimator", "k")


def file_faults(paper: Paper) -> list[tuple[Place, str]]:
    """Return options that no run can have, runs without a length, and quantities that there are not."""
    experiment = training_of(paper)
    found: list[tuple[Place, str]] = []
    for number, table in enumerate(experiment.runs):
        found += _table_faults(experiment, number, table)
    for number, panel in enumerate(paper.figure):
        found += [(("figure", number, name), why) for name, why in _panel_faults(panel, experiment)]
    for number, each in enumerate(paper.published):
        here: Place = ("published", number)
        found += [((*here, "y"), why) for why in (*_unknown(each.y), *_needs(each.y, experiment))]
        if each.of == "slope":
            found.append(((*here, "of"), "must be value: slopes are measured on the toy only."))
    return list(dict.fromkeys(found))


def _table_faults(experiment: Training, number: int, table: Mapping[str, Any]) -> list[tuple[Place, str]]:
    whole = {**experiment.options, **table}
    here: Place = ("experiment", "runs", number)

    def place(field: str) -> Place:
        return (*here, field) if field in table else ("experiment", "options", field)

    found = [
        (place(field), "belongs beside the runs: write seeds below [experiment].")
        for field in ("seed", "seeds")
        if field in whole
    ]
    if not {"steps", "epochs"} & set(whole):
        found.append((here, "a run needs its length: write steps or epochs."))
    for field, value in ((name, each) for name in whole for each in _values(whole, name)):
        if field in ("objective", "estimator") and isinstance(value, str) and len(split_list(value)) > 1:
            found.append((place(field), f"several values are a list of texts, got {value!r}."))
            continue
        spread, _ = spread_pair({field: value})
        found += [(place(field), f"{fault.field}: {fault.message}") for fault in read_options(spread)[1]]
    return found or _pair_faults(whole, here)


def _pair_faults(whole: Mapping[str, Any], here: Place) -> list[tuple[Place, str]]:
    """Return what is wrong with a pair, or with its number of samples."""
    found: list[tuple[Place, str]] = []
    fields = {name: _values(whole, name) or [RunOptions.model_fields[name].default] for name in _PAIR}
    for objective, estimator, k in product(*fields.values()):
        spread, contradictions = spread_pair({"estimator": estimator, **_given("objective", whole, objective)})
        found += [(here, f"{fault.field}: {fault.message}") for fault in contradictions]
        try:
            start = word_of(parse_scheduled(str(spread.get("objective", objective))).start)
            faults = resolve_pair(start, str(spread["estimator"]), int(k)).faults(int(k))
        except SpecError as error:
            faults = list(error.faults)
        found += [(here, f"{fault.field}: {fault.message}") for fault in faults]
    return found


def pairs_in(whole: Mapping[str, Any]) -> list[Pair]:
    """Return the pairs that a table of options asks for, where its words are right."""
    found: list[Pair] = []
    defaults = {name: RunOptions.model_fields[name].default for name in _PAIR}
    objectives, estimators = (_values(whole, name) or [defaults[name]] for name in ("objective", "estimator"))
    for objective, estimator in product(objectives, estimators):
        spread, _ = spread_pair({"estimator": estimator, **_given("objective", whole, objective)})
        with suppress(SpecError):
            start = parse_scheduled(str(spread.get("objective", objective))).start
            found.append(Pair(start, parse_estimator(str(spread["estimator"]))))
    return found


def _given(name: str, whole: Mapping[str, Any], value: object) -> dict[str, object]:
    return {name: value} if name in whole else {}


def _values(whole: Mapping[str, Any], field: str) -> Sequence[Any]:
    """Return the values of an option: of a list each."""
    given = whole.get(field)
    if isinstance(given, list) and field not in _LISTS:
        return cast("list[Any]", given)
    return [] if given is None else [given]


def _unknown(y: str) -> list[str]:
    return [] if y in QUANTITIES else [f"must be one of {', '.join(QUANTITIES)}, got '{y}'."]


def _needs(y: str, experiment: Training) -> list[str]:
    """Return what the runs lack for a quantity."""
    quantity = QUANTITIES.get(y)
    if quantity is None:
        return []
    if quantity.needs_evaluation and experiment.evaluation is None:
        return [f"{y} is the result of an evaluation: write an [experiment.evaluation] with split and k."]
    if quantity.is_tracked and not all("track_estimators" in each for each in tables_of(experiment)):
        return [f"{y} needs runs that track their estimator: write track_estimators in the options or in every run."]
    return []


def _words(experiment: Training, name: str) -> list[str]:
    """Return the words of a field, without the parameter after its dot, in all runs."""
    field = name.partition(".")[0]
    return [str(each) for table in tables_of(experiment) for each in _values(table, field)]


def _panel_faults(panel: Panel, experiment: Training) -> list[tuple[str, str]]:
    found = [("y", why) for why in (*_unknown(panel.y), *_needs(panel.y, experiment))]
    quantity = QUANTITIES.get(panel.y)
    if panel.x == STEP:
        if quantity and quantity.along is None:
            found.append(("x", f"{panel.y} is known at the end of training only: name a setting, such as k."))
    elif panel.x.partition(".")[0] not in {key for each in tables_of(experiment) for key in each}:
        found.append(("x", f"must be step, or a setting of the runs, got '{panel.x}'."))
    elif "." in panel.x and all(number_in(word, panel.x) is None for word in _words(experiment, panel.x)):
        found.append(("x", f"'{panel.x}' is no number in any run."))
    return found
