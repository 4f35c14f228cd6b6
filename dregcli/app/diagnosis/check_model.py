"""Check a model of the user's own before it is trained."""

import contextlib
import linecache
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from dregcli.app.common.listener import Listener
from dregcli.app.models.make import arguments_of, make_module
from dregcli.app.planning.executing import with_threads
from dregcli.app.planning.machine import float64_faults
from dregcli.app.planning.plan import Plan, resolve_plan
from dregcli.app.planning.resolve import HINT as TRAINING_HINT
from dregcli.engine.checks.check import Checked, check_module
from dregcli.engine.checks.comparison import DETECT, Compared, K, compare
from dregcli.engine.checks.finding import Finding
from dregcli.engine.checks.first_batch import first_batch
from dregcli.engine.device import prepare_process
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.errors import DregError, Fault, SpecError
from dregcli.names import Severity, Split
from dregcli.specs.execution import AUTO
from dregcli.specs.models import is_network
from dregcli.specs.options import RunOptions

_HINT = "correct the above; every option is shown by: dreg check-model --help"

__all__ = ["CheckRequest", "ModelReport", "check_model"]


@dataclass(frozen=True)
class CheckRequest:
    """A request to check a model.

    Attributes:
        model: word of the model, as for ``--model``.
        options: options of the command line, by field of the spec.
        examples: number of training examples in the batch.
        seconds: limit for the comparison of two estimators, in seconds; 0 leaves it out.
    """

    model: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    examples: int = 32
    seconds: float = 15.0


@dataclass(frozen=True)
class ModelReport:
    """What was found about a model.

    Attributes:
        plan: the run that the model would be trained in.
        checked: findings, parameters and latents.
        compared: the comparison of two estimators.
        sizes: count of numbers of each parameter, by name.
        examples: number of examples in the batch.
        seconds: duration of the checks, without loading the data.
    """

    plan: Plan
    checked: Checked
    compared: Compared
    sizes: dict[str, int]
    examples: int
    seconds: float

    @property
    def findings(self) -> list[Finding]:
        """All findings, errors first."""
        found = [*self.checked.findings, *self.compared.findings]
        return sorted(found, key=lambda each: each.severity is not Severity.ERROR)

    @property
    def exit_code(self) -> int:
        """0 if the model can be trained, 1 if there is a fault; warnings are no faults."""
        return int(any(each.severity is Severity.ERROR for each in self.findings))

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        data, owners = self.plan.data.model_data, self.checked.parameters
        return {
            "model": self.plan.spec.model,
            "model_options": dict(self.plan.spec.model_options),
            "dataset": self.plan.spec.dataset,
            "kind": data.kind.value,
            "shape": list(data.shape),
            "findings": [_plain(each) for each in self.findings],
            "parameters": {
                name: list(getattr(owners, name)) for name in ("theta", "phi", "shared", "unreached", "frozen")
            }
            if owners
            else None,
            "sizes": self.sizes,
            "latents": [
                {"name": each.name, "shape": list(each.shape), "q": each.q, "p": each.p, "has_path": each.has_path}
                for each in self.checked.latents
            ],
            "likelihood": self.checked.likelihood,
            "comparison": _comparison(self.compared),
            "examples": self.examples,
            "seconds": self.seconds,
        }


def check_model(request: CheckRequest, *, data_dir: Path, listener: Listener) -> ModelReport:
    """Make all checks of a model, on its first training batch.

    Args:
        request: the request.
        data_dir: the data folder.
        listener: receives progress messages.

    Raises:
        SpecError: all faults of the options at once.
        ModelFailed: the code of the model cannot be imported, or its constructor raises an error.
        DatasetMissing: the data are not on this machine.
    """
    faults = _faults(request)
    options = RunOptions.model_validate({**request.options, "model": request.model})
    prepare_process()
    try:
        plan = resolve_plan(options, data_dir, faults)
    except SpecError as refusal:
        hint = _HINT if refusal.hint == TRAINING_HINT else refusal.hint
        raise SpecError(refusal.faults, where=refusal.where, hint=hint) from None
    assert plan.code is not None
    with with_threads(options.threads or AUTO):
        started = time.monotonic()
        data, spec = plan.data.model_data, plan.spec
        examples = plan.data.examples(Split.TRAIN)
        size = min(request.examples, len(examples))
        numbers, pixels = first_batch(examples, plan.data.pixels, size=size, seed=spec.seed)

        def module() -> nn.Module:
            assert plan.code is not None
            return make_module(plan.code, data, arguments_of(spec), seed=spec.seed).to(spec.device)

        made = module()
        with contextlib.redirect_stdout(sys.stderr):
            checked = check_module(made, data, pixels, numbers=numbers)
            compared = Compared(reason="it is not made while the model has faults")
            if not checked.errors:
                compared = Compared(reason="it was left out")
                if request.seconds > 0.0:
                    listener.note(f"comparing two estimators, at most {request.seconds:g} s")
                    compared = _compared(module(), plan, pixels, request.seconds)
    sizes = {name: each.numel() for name, each in made.named_parameters()}
    return ModelReport(plan, checked, compared, sizes, size, time.monotonic() - started)


def _compared(module: nn.Module, plan: Plan, pixels: Any, seconds: float) -> Compared:  # noqa: ANN401 - a tensor
    try:
        return compare(ProgramModel(module, plan.data.model_data), pixels, seconds=seconds)
    except DregError as error:
        return Compared(reason=error.what)


def _faults(request: CheckRequest) -> list[Fault]:
    faults: list[Fault] = []
    if is_network(request.model):
        message = f"'{request.model}' comes with dreg, and its rows are independent by construction. Name a class of "
        faults.append(Fault("model", f"{message}your own: FILE.py:Class, or package.module:Class."))
    faults += float64_faults("device", request.options.get("device"), "a model is checked in", "--device cpu")
    if request.examples < 1:
        faults.append(Fault("examples", f"must be at least 1, got {request.examples}."))
    if not request.seconds >= 0.0:
        faults.append(Fault("max-seconds", f"must be at least 0, got {request.seconds}."))
    if faults:
        raise SpecError(faults, hint=_HINT)
    return faults


def _plain(finding: Finding) -> dict[str, Any]:
    place = finding.place
    return {
        "key": finding.key,
        "severity": finding.severity.value,
        "what": finding.what,
        "change": finding.change,
        "file": place.file if place else None,
        "line": place.line if place else None,
        "text": text_of(finding) or None,
        "part": place.part if place else None,
    }


def text_of(finding: Finding) -> str:
    """Return the line of a finding's place, without its indentation; empty if it cannot be read."""
    return linecache.getline(finding.place.file, finding.place.line).strip() if finding.place else ""


def _comparison(compared: Compared) -> dict[str, Any]:
    result = compared.result
    return {
        "estimators": list(compared.words),
        "k": K,
        "detect": DETECT,
        "reason": compared.reason,
        "verdict": result.verdict.value if result else None,
        "relative_bias": result.relative_bias if result else None,
        "detectable": result.detectable if result else None,
        "batches": result.n if result else 0,
        "tested": result is not None and result.evidence is not None,
    }
