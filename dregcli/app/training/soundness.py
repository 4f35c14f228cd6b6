"""Check a user's own model on the first batch of its training, before the run is claimed."""

import contextlib
import sys
from typing import Final

from dregcli.app.common.listener import Listener
from dregcli.app.models.code import CodeKind
from dregcli.app.models.make import arguments_of, make_module
from dregcli.app.planning.plan import Plan
from dregcli.commands import command
from dregcli.devices import DeviceKind
from dregcli.engine.checks.check import check_module
from dregcli.engine.checks.first_batch import first_batch
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.words import parse_scheduled
from dregcli.errors import Fault, SpecError
from dregcli.names import Severity, Split

_COMMON: Final = ("likelihood", "normalisation", "argument")
"""Faults with which people train all the same, such as Bernoulli pixels that are intensities: warnings here."""


def require_sound(plan: Plan, listener: Listener) -> None:
    """Make the checks of ``dreg check-model`` that take little time. Models that come with dreg are not checked.

    Args:
        plan: the run.
        listener: receives what may be on purpose as warnings.

    Raises:
        SpecError: a training would give wrong numbers; the error has all findings.
        ModelFailed: the constructor raises an error.
    """
    spec, code = plan.spec, plan.code
    if code is None or code.kind is CodeKind.BUILT_IN:
        return
    data = plan.data.model_data
    numbers, pixels = first_batch(
        plan.data.examples(Split.TRAIN), plan.data.pixels, size=spec.batch_size, seed=spec.seed
    )
    # Some checks need float64, which a Mac's GPU does not have.
    device = DeviceKind.CPU if spec.device == DeviceKind.MPS else spec.device
    module = make_module(code, data, arguments_of(spec), seed=spec.seed).to(device)
    with contextlib.redirect_stdout(sys.stderr):
        found = check_module(module, data, pixels.to(device), numbers=numbers, thorough=False).findings
    pairs = [resolve_pair(stage, spec.estimator, spec.k) for stage in parse_scheduled(spec.objective).stages()]
    if not any(pair.needs_score_identity for pair in pairs):
        found = [each for each in found if each.key != "support-moves"]
    errors = [each for each in found if each.severity is Severity.ERROR and each.key not in _COMMON]
    if errors:
        hint = f"see all findings: {command('check-model', code.place or code.word, '--dataset', spec.dataset)}"
        raise SpecError([Fault("model", each.sentence()) for each in errors], hint=hint)
    for each in found:
        listener.warn(each.sentence())
