"""Plan a run: return its spec and its data, or report every fault of the options at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dregcli.app.common.listener import Listener
from dregcli.app.models.code import Code
from dregcli.app.models.find import asked_code
from dregcli.app.planning.architectures import computes_in_blocks
from dregcli.app.planning.load_data import load_asked
from dregcli.app.planning.machine import device_warning, precision_warning
from dregcli.app.planning.observation import observation_warning
from dregcli.app.planning.resolve import resolve
from dregcli.app.planning.run_data import RunData
from dregcli.data.dataset import Dataset
from dregcli.engine.estimators import Expectation
from dregcli.engine.pairs import Pair, estimators_of, resolve_pair
from dregcli.engine.words import parse_scheduled, word_of
from dregcli.errors import DregError, Fault
from dregcli.names import Promise
from dregcli.specs.options import RunOptions
from dregcli.specs.run import RunSpec


@dataclass(frozen=True)
class Plan:
    """A run without faults, ready to start.

    Attributes:
        spec: spec of the run.
        data: data of the run.
        warnings: warnings about ``auto`` decisions, shown once; ``warnings_of`` gives the lasting ones.
        code: code of the model; None for a built-in network.
    """

    spec: RunSpec
    data: RunData
    warnings: tuple[str, ...] = ()
    code: Code | None = None

    def warn(self, listener: Listener) -> None:
        """Show every warning that a user should see before the run starts."""
        for warning in (*self.warnings, *warnings_of(self.spec, self.data.dataset)):
            listener.warn(warning)


Load = Callable[[RunOptions, Path], tuple[Dataset | None, DregError | None, list[Fault]]]
"""Loads the data set that options name, as ``load_asked`` does."""


def resolve_plan(
    options: RunOptions,
    data_dir: Path,
    found: Sequence[Fault] = (),
    code: Code | None = None,
    load: Load = load_asked,
) -> Plan:
    """Load the data of a run and resolve its options.

    Args:
        options: the options that the user gave.
        data_dir: the data folder.
        found: faults found before, which are reported together with the new ones.
        code: code of the model, if it is known already; None means the code that ``options.model`` names.
        load: loads the data set.

    Raises:
        SpecError: all faults at once.
        ModelFailed: the code of the model raises an error when it is imported.
        DatasetMissing: there is no fault, but the data are missing.
        DeviceUnavailable: there is no fault, but the device is missing.
    """
    named = not any(fault.field == "dataset" for fault in found)
    dataset, missing, of_data = load(options, data_dir) if named else (None, None, [])
    of_code: list[Fault] = []
    if code is None and not any(fault.field == "model" for fault in found):
        code, of_code = asked_code(options)
    spec, warnings = resolve(options, dataset, [*found, *of_data, *of_code], code)
    if missing:
        raise missing
    assert dataset is not None
    return Plan(spec, RunData(dataset, spec), warnings, code)


def in_words(expectation: Expectation) -> str:
    """Return a combination of gradients in words, such as ``0.1 iwae + 0.9 rws``."""
    parts = [name if weight == 1.0 else f"{weight:g} {name}" for name, weight in expectation.items() if weight]
    return " + ".join(parts)


def warnings_of(spec: RunSpec, dataset: Dataset) -> list[str]:
    """Return the warnings that follow from a spec and its data, however the spec came about."""
    in_blocks = computes_in_blocks(spec.model, spec.likelihood, spec.posterior, spec.device)
    found = (
        _bias_warning(spec),
        observation_warning(dataset, spec.likelihood),
        precision_warning(spec.screen_precision, spec.device, in_blocks=in_blocks),
        device_warning(spec.device),
    )
    return [warning for warning in found if warning]


def _bias_warning(spec: RunSpec) -> str | None:
    """Return the warning for a pair whose expected gradient differs from the gradient of its objective.

    An objective that changes is judged by its first stage at which the pair is biased.
    """
    stages = parse_scheduled(spec.objective).stages()
    pairs = [resolve_pair(stage, spec.estimator, spec.k) for stage in stages]
    biased = [pair for pair in pairs if pair.promise(spec.k) is Promise.BIASED]
    if not biased:
        return None
    pair = biased[0]
    where = "" if len(stages) == 1 else f" (at '{word_of(pair.objective)}')"
    others = [Pair(pair.objective, estimator) for estimator in estimators_of(pair.objective)]
    unbiased = [p for p in others if not p.faults(spec.k) and p.promise(spec.k) is Promise.UNBIASED]
    # A run without a path may have discrete latents: it cannot take the estimators with one.
    apart = [] if pair.uses_path else [each for each in unbiased if each.uses_path]
    advice = _named(pair, [each for each in unbiased if each not in apart])
    if apart:
        advice += f"; and if samples have a gradient: {_named(pair, apart)}"
    expectation = pair.estimator.expectation(pair.objective)
    instead = f": its expected gradient in phi is the gradient of {in_words(expectation)}" if expectation else ""
    return (
        f"estimator '{spec.estimator}' is biased for objective '{spec.objective}'{where} with k={spec.k}{instead} "
        f"({pair.estimator.reference}); unbiased: {advice}."
    )


def _named(pair: Pair, unbiased: Sequence[Pair]) -> str:
    """Return the names of estimators; the pair's own estimator has the parameters that make it unbiased."""
    of_pair = pair.estimator.name
    return ", ".join(word_of(e) if e.name is of_pair else e.name for e in (each.estimator for each in unbiased))
