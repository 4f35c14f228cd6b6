"""The command that trains as advised, ready to be pasted into a shell."""

from contextlib import suppress
from typing import Any

from dregcli.app.diagnosis.advice import AtK
from dregcli.app.diagnosis.advice_measured import Candidate
from dregcli.app.diagnosis.advise_request import AdviseRequest
from dregcli.app.diagnosis.subject import Subject
from dregcli.app.loading.stored import spec_of
from dregcli.app.planning.optimising import prolonging_changes
from dregcli.app.planning.words import last_objective, short_words
from dregcli.app.training.finetune import options_beyond
from dregcli.commands import command
from dregcli.engine.optimisation import parse_schedule
from dregcli.engine.words import short_word
from dregcli.errors import Diverged, DregError
from dregcli.names import ModelName, RunStatus, Task
from dregcli.specs.execution import AUTO
from dregcli.specs.options import RunOptions
from dregcli.specs.resolve import flag
from dregcli.specs.run import RunSpec
from dregcli.store import layout
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

_SLOWER = "cosine:end=0.1"
"""Schedule in place of one with stages, which do not fit another length; it ends at the rate of the last stage."""


def next_command(subject: Subject, request: AdviseRequest, use: Candidate, moved: AtK | None) -> str:
    """Return the command that trains as advised.

    A run that is trained so already is prolonged, or continued. Otherwise a new run has all of its other options.

    Args:
        subject: the model, and the run that it comes from.
        request: the request.
        use: the pair to use.
        moved: the number of samples to move to; None to stay.
    """
    if request.run is None:
        return _of_a_new_model(subject, request, use, moved)
    spec, run = subject.spec, subject.run
    own = {"objective": short_word(last_objective(spec)), "estimator": short_words(spec)["estimator"], "k": spec.k}
    advised = {"objective": use.objective, "estimator": use.estimator, "k": moved.k if moved else use.k}
    differing = {name: value for name, value in advised.items() if value != own[name]}
    if use.k == spec.k and (steps := _steps(spec.steps, use, moved)) > spec.steps:
        differing["steps"] = steps
    if differing:
        return _anew(run, spec, request, differing)
    status = run.status()
    if status is RunStatus.RUNNING:
        return command("report", run.path, "--watch")
    if status is RunStatus.COMPLETED:
        longer = {"steps": 2 * spec.steps}
        if prolonging_changes(spec) is None:
            return command(
                "train", "--resume", run.path, "--steps", str(longer["steps"]), *_code(request, resume=True)
            )
        if spec.patience is not None and run.info().summary.get("stopped_early"):
            longer |= {"patience": 2 * spec.patience}
        return _anew(run, spec, request, longer)
    failures = run.info().failures
    if status is RunStatus.FAILED and failures and failures[-1].get("kind") == Diverged.__name__:
        of_q = {} if spec.lr_posterior is None else {"lr_posterior": spec.lr_posterior / 2.0}
        return _anew(run, spec, request, {"lr": spec.lr / 2.0, **of_q})
    return command("train", "--resume", run.path, *_code(request, resume=True))


def _steps(steps: int, use: Candidate, moved: AtK | None) -> int:
    """Return how many steps with fewer samples take as long as these steps: without them fewer samples only lose."""
    return max(steps, round(steps / moved.cost.value)) if moved and moved.k < use.k else steps


def _of_a_new_model(subject: Subject, request: AdviseRequest, use: Candidate, moved: AtK | None) -> str:
    spec, usual = subject.spec, RunOptions.model_fields["steps"].default
    words = ["--dataset", spec.dataset]
    words += ["--task", spec.task.value] if spec.task is not Task.GENERATIVE else []
    words += ["--model", spec.model] if spec.model != ModelName.VAE else []
    words += ["--objective", use.objective, "--estimator", use.estimator, "--k", str(moved.k if moved else use.k)]
    if (steps := _steps(usual, use, moved)) > usual:
        words += ["--steps", str(steps)]
    words += ["--device", request.device] if request.device != AUTO else []
    words += ["--capture", request.capture] if request.capture else []
    return command("train", *words)


def _anew(run: Run, spec: RunSpec, request: AdviseRequest, differing: dict[str, Any]) -> str:
    """Return the command of a new run with the settings of a run, except for some options."""
    if "steps" in differing and parse_schedule(spec.lr_schedule).passes is not None:
        differing = {**differing, "lr_schedule": _SLOWER}
    if spec.parent is None:
        return command("train", "--config", run.path / layout.SPEC_FILE, *_typed(differing), *_code(request))
    parent = run.path.parent.parent / spec.parent.run
    wanted = spec.model_copy(update=differing)
    options = differing
    with suppress(DregError):  # the parent may be gone: then the command says so
        (of_parent,) = RunStore.of(run).resolve(spec.parent.run, only_here=True)
        options = options_beyond(spec_of(of_parent), wanted)
    words = ["--checkpoint", str(spec.parent.checkpoint), *(["--reset-encoder"] if spec.parent.reset_encoder else [])]
    return command("finetune-encoder", parent, *words, *_typed(options), *_code(request, resume=True))


def _typed(options: dict[str, Any]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{flag(name)}", str(value))]


def _code(request: AdviseRequest, *, resume: bool = False) -> list[str]:
    """Return what the user said about the code of the model; a copy that a run keeps is for commands on that run."""
    model = ["--model", request.code.model] if request.code.model else []
    return [*model, "--trust-code"] if request.code.trust and resume else model
