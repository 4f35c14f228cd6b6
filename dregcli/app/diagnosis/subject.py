"""Find the subject of a diagnosis: a run's frozen model, or a model that is trained for it, and fixed pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor

from dregcli.app.common.listener import Listener
from dregcli.app.diagnosis import new_model
from dregcli.app.loading.build import build_model
from dregcli.app.loading.named import find_completed_run
from dregcli.app.loading.restore import load_checkpoint, load_model, trained_pair
from dregcli.app.loading.stored import parse_checkpoint, spec_of
from dregcli.app.models.code import Code
from dregcli.app.models.request import CodeRequest
from dregcli.app.models.trust import code_of_run
from dregcli.app.planning.asked_pairs import AskedPair, asked_pairs, means_all
from dregcli.app.planning.executing import Shape
from dregcli.app.planning.load_data import data_of
from dregcli.app.planning.plan import Plan, resolve_plan
from dregcli.app.planning.run_data import RunData
from dregcli.app.planning.words import last_objective
from dregcli.engine.device import resolve_device
from dregcli.engine.diagnostics.learn import fit_on_frozen, learn_on_frozen
from dregcli.engine.diagnostics.references import Takes, direction_of
from dregcli.engine.gradients import require_prior_path
from dregcli.engine.models.base import Model
from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.prior_rule import RULES
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.words import short_word, word_of
from dregcli.errors import DregError, Fault, SpecError
from dregcli.names import PriorGradient, SampleNoise, Split
from dregcli.parts import shown_word
from dregcli.specs.execution import AUTO, ExecutionSpec
from dregcli.specs.resolve import read_options
from dregcli.specs.run import RunSpec
from dregcli.store.checkpoints import Checkpoint, Which
from dregcli.store.results import ResultKind
from dregcli.store.run import Run
from dregcli.store.runs import RunStore


class SubjectRequest(Protocol):
    """The request of a diagnosis; see ``BiasRequest``."""

    command: ClassVar[str]

    @property
    def run(self) -> str | None: ...  # noqa: D102
    @property
    def dataset(self) -> str | None: ...  # noqa: D102
    @property
    def task(self) -> str | None: ...  # noqa: D102
    @property
    def capture(self) -> str | None: ...  # noqa: D102
    @property
    def objective(self) -> str | None: ...  # noqa: D102
    @property
    def estimators(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def prior_gradients(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def checkpoint(self) -> str: ...  # noqa: D102
    @property
    def examples(self) -> int: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def device(self) -> str: ...  # noqa: D102
    @property
    def threads(self) -> int | str: ...  # noqa: D102
    @property
    def k_chunk(self) -> int | str: ...  # noqa: D102
    @property
    def code(self) -> CodeRequest: ...  # noqa: D102

    def faults(self) -> list[Fault]:
        """Return all faults of the options that do not depend on a run."""
        ...

    def samples(self, of_run: int) -> tuple[int, ...]:
        """Return the numbers of samples per example to examine, the largest first."""
        ...

    def training_samples(self, of_new: int) -> tuple[int, ...]:
        """Return the numbers of samples to try for training a model; the first valid one for its pair is used."""
        ...

    def pair_faults(self, pairs: Sequence[AskedPair], k: int, takes: Takes) -> list[Fault]:
        """Return the faults of the options that depend on pairs that the model takes; ``k`` is the largest number."""
        ...

    def execution(self, k: int) -> dict[str, Any]:
        """Return the fields of an ``ExecutionSpec``."""
        ...

    def execution_faults(self, k: int) -> list[Fault]:
        """Return the faults of ``execution`` with K samples."""
        ...

    def auto_chunk(self, shape: Shape, k: int) -> int | None:
        """Decide ``auto`` for ``k_chunk``."""
        ...


@dataclass(frozen=True)
class Subject:
    """A frozen model, the pixels to check it on, and the pairs to check.

    Attributes:
        run: the run of the model.
        checkpoint: step of the model's parameters.
        model: the model, on its device.
        pixels: fixed pixels, shape (B, D).
        k: samples per example; the largest number if there are several.
        execution: how the gradients of the pairs are computed, with every ``auto`` decided.
        pairs: the pairs that the user asked for.
        trained: the pair that the run was trained with, with the values of learned parameters.
        spec: spec of the run, with the check's device.
        split_hashes: SHA-256 of the stored values of each split.
        true_log_p: exact log p(x) of these pixels under the data's distribution; None if it is not known.
        data: data of the run.
        code: code of the model; None for a built-in network.
    """

    run: Run
    checkpoint: int
    model: Model
    pixels: Tensor
    k: int
    execution: ExecutionSpec
    pairs: list[AskedPair]
    trained: Pair
    spec: RunSpec
    split_hashes: dict[str, str]
    true_log_p: Tensor | None
    data: RunData
    code: Code | None


def find_subject(
    asked: SubjectRequest,
    kind: ResultKind | None,
    *,
    runs_dir: Path,
    data_dir: Path,
    argv: list[str],
    listener: Listener,
) -> Subject:
    """Return the subject of a check; if the request names no run, train and keep one, once for equal settings.

    Args:
        asked: the request.
        kind: kind of the results that the run will keep; None if it keeps none.
        runs_dir: the store.
        data_dir: the data folder.
        argv: the command line, kept in a run that is trained.
        listener: receives progress messages.

    Raises:
        SpecError: all faults of the options at once.
        RunNotFound: no such run, or the run has no checkpoint.
        DataCorrupt: the pixels differ from the pixels that the run was trained on.
    """
    store = RunStore(runs_dir)
    run = find_completed_run(store, asked.run, listener) if asked.run is not None else None
    if run and kind:
        run.check_can_keep(kind)
    spec, code = code_of_run(run, spec_of(run), asked.code, listener) if run else (None, None)
    defaults = RunSpec.model_fields
    objective, estimator = (str(defaults[field].default) for field in ("objective", "estimator"))
    if spec:
        objective, estimator = word_of(last_objective(spec)), spec.estimator
    k, *fewer = asked.samples(spec.k if spec else int(defaults["k"].default))
    # The run's estimator may not work with another objective; dreg works with all.
    fallback = estimator if asked.objective is None else str(defaults["estimator"].default)
    found = asked.faults() + asked.execution_faults(k)
    pairs: list[AskedPair] = []
    try:
        words = asked.estimators or (fallback,)
        pairs = asked_pairs(
            asked.objective,
            words,
            default_objective=objective,
            k=max(k, 1),
            or_k=[each for each in fewer if each > 0],
            own=spec.estimator if spec else None,
        )
    except SpecError as error:
        found += error.faults
    if not asked.estimators:  # the spec writes out initial parameters, but the user named no parameters
        pairs = [replace(pair, bare=True) for pair in pairs]
    which: Which = "last"
    try:
        which = parse_checkpoint(asked.checkpoint)
    except SpecError as error:
        found += error.faults
    if run is None and which != "last":
        found.append(Fault("checkpoint", f"only applies with a RUN: also name the run, got '{asked.checkpoint}'."))
    if run is None and asked.code.trust:
        found.append(Fault("trust-code", "only applies with a RUN, which keeps the code: also name the run."))
    if run is not None:
        of_run = ((name, getattr(asked, name)) for name in ("dataset", "task", "capture"))
        found += [Fault(name, f"comes from the run: leave it out, got '{given}'.") for name, given in of_run if given]
    if spec and spec.noise is SampleNoise.ANTITHETIC:
        message = f"'{asked.run}' was trained with --noise antithetic, but this command draws independent samples: "
        found.append(Fault("run", f"{message}name a run with independent samples, or none."))
    plan = _plan(spec, pairs, asked, data_dir, found)
    if asked.prior_gradients:
        _check_prior(asked, plan, code if run else plan.code, [each.pair for each in pairs])
    device = resolve_device(asked.device)
    if run is None:
        plan = _with_a_pair_that_it_takes(asked, plan, pairs, k)
        run = new_model.trained_run(plan, store, argv, listener)
        code = plan.code
    checkpoint = load_checkpoint(run, which, listener)
    # A check does not use compiled arithmetic, because everything else is compared with its reference gradients.
    spec = plan.spec.model_copy(update={"device": device, "compile": "off"})
    found_subject = _subject(asked, run, checkpoint, spec, RunData(plan.data.dataset, spec), pairs, k, code)
    taken = _taken(pairs, found_subject.model, listener)
    _require(asked, taken, k, found_subject.model)
    return replace(found_subject, pairs=_fitted(taken, found_subject, asked.seed, listener))


def _fitted(pairs: list[AskedPair], subject: Subject, seed: int, listener: Listener) -> list[AskedPair]:
    """Return the pairs with the numbers of their objectives: those of the run's training, or fitted to this model."""
    trained, unfitted = (
        subject.trained.objective,
        {each.pair.objective for each in pairs if each.pair.objective.unfitted},
    )
    if not unfitted:
        return pairs
    objectives: dict[Objective, Objective] = {}
    for objective in sorted(unfitted, key=word_of):
        if word_of(objective) == word_of(trained):
            found, source = trained, "as in its training"
        else:
            randomness = Randomness(seed, subject.pixels.device)
            found, source = (
                fit_on_frozen(
                    subject.model,
                    subject.pixels,
                    objective,
                    k=subject.k,
                    randomness=randomness,
                    k_chunk=subject.execution.k_chunk,
                ),
                f"fitted to the frozen model at K={subject.k}",
            )
        values = ", ".join(f"{name} {value:.4g}" for name, value in found.fitted_values.items())
        listener.note(f"{shown_word(word_of(objective))}, {source}: {values}")
        objectives[objective] = found
    return [
        replace(each, pair=replace(each.pair, objective=objectives.get(each.pair.objective, each.pair.objective)))
        for each in pairs
    ]


def _taken(pairs: list[AskedPair], model: Model, listener: Listener) -> list[AskedPair]:
    """Return the pairs without those that ``all`` named and that the model cannot take.

    Raises:
        SpecError: the model can take none of the pairs.
    """
    left_out = [each for each in pairs if each.by_all and model.faults(each.pair)]
    if not left_out:
        return pairs
    if len(left_out) == len(pairs):
        model.require_pairs([pairs[0].pair])
    words = ", ".join(short_word(each.pair.estimator) for each in left_out)
    listener.note(f"left out, because not every latent has samples that can be differentiated: {words}")
    return [each for each in pairs if each not in left_out]


def _require(asked: SubjectRequest, pairs: Sequence[AskedPair], k: int, model: Model) -> None:
    """Refuse options that do not fit the pairs.

    Raises:
        SpecError: they do not.
    """
    if faults := asked.pair_faults(pairs, k, lambda pair: not model.faults(pair)):
        raise SpecError(list(dict.fromkeys(faults)), hint=f"every option is shown by: dreg {asked.command} --help")


def _with_a_pair_that_it_takes(asked: SubjectRequest, plan: Plan, pairs: list[AskedPair], k: int) -> Plan:
    """Return the plan with an estimator that the model can be trained by, if ``all`` left the choice open.

    Raises:
        SpecError: the model cannot take a pair that was named, or the options do not fit the pairs.
    """
    model = build_model(plan.spec, RunData(plan.data.dataset, plan.spec).model_data, plan.code)
    model.require_pairs([each.pair for each in pairs if not each.by_all])
    _require(asked, [each for each in pairs if not model.faults(each.pair)], k, model)
    if not any(each.by_all for each in pairs):
        return plan
    spec = plan.spec
    pair = resolve_pair(spec.objective, spec.estimator, spec.k)
    if not model.faults(pair):
        return plan
    own = direction_of(pair.objective, spec.k, lambda each: not model.faults(each))
    return replace(plan, spec=spec.model_copy(update={"estimator": word_of(own.estimator)})) if own else plan


def learned(pair: Pair, subject: Subject, randomness: Randomness, *, k: int) -> Pair:
    """Return a pair with learned parameters: from the run's training, or learned now on this model with k samples."""
    trained = subject.trained
    if trained.objective == pair.objective and trained.estimator.name == pair.estimator.name:
        return trained
    return learn_on_frozen(
        subject.model, subject.pixels, pair, k=k, randomness=randomness, k_chunk=subject.execution.k_chunk
    )


def _plan(
    spec: RunSpec | None, pairs: list[AskedPair], asked: SubjectRequest, data_dir: Path, found: list[Fault]
) -> Plan:
    """Return the spec that the model was or will be trained with, and its data.

    Raises:
        SpecError: the faults in ``found``, faults of the training, or more examples than the split has.
        Other errors: see ``data_of`` and ``resolve_plan``; only if there are no faults.
    """
    faults, hint = list(found), f"every option is shown by: dreg {asked.command} --help"
    try:
        plan = Plan(spec, data_of(spec, data_dir)) if spec else _to_train(pairs, asked, data_dir)
    except SpecError as error:
        raise SpecError([*faults, *(each for each in error.faults if each not in faults)], hint=hint) from None
    except DregError:
        if faults:
            raise SpecError(faults, hint=hint) from None
        raise
    if asked.examples > (size := plan.data.size(Split.TRAIN)):
        message = f"must be at most the {size} training examples of {plan.spec.dataset}, got {asked.examples}."
        faults.append(Fault("examples", message))
    if faults:
        raise SpecError(faults, hint=hint)
    return plan


def _check_prior(asked: SubjectRequest, plan: Plan, code: Code | None, pairs: list[Pair]) -> None:
    """Check the kinds of the prior's gradient that the user asked for, before any model is trained.

    Raises:
        SpecError: the model's prior does not have them, or a pair does not work with them.
    """
    model = build_model(plan.spec, plan.data.model_data, code)
    if not model.prior_parameters():
        message = "the model's prior has no parameters to learn: leave --prior-gradient out."
        raise SpecError([Fault("prior-gradient", message)])
    for rule in filter(None, (RULES[PriorGradient(each)] for each in asked.prior_gradients)):
        for pair in pairs:
            require_prior_path(model, pair, rule)


def _to_train(pairs: list[AskedPair], asked: SubjectRequest, data_dir: Path) -> Plan:
    """Return the plan to train a model for the check, with as many steps as in the reference code."""
    first = pairs[0].pair.word if pairs else "iwae/dreg"
    estimator = "dreg" if any(map(means_all, asked.estimators)) else first.partition("/")[2]
    samples = asked.training_samples(int(RunSpec.model_fields["k"].default))
    k = next((each for each in samples if pairs and not pairs[0].pair.faults(each)), samples[0])
    of_run = {"dataset": asked.dataset, "task": asked.task, "capture": asked.capture, "model": asked.code.model}
    wanted = {
        "objective": first.partition("/")[0],
        "estimator": estimator,
        "k": k,
        "steps": new_model.TRAINING_STEPS,
        "eval_every": 0,
        "device": asked.device,
        "threads": asked.threads,
        **{key: value for key, value in of_run.items() if value is not None},
    }
    options, faults = read_options(wanted)
    return resolve_plan(options, data_dir, faults)


def _subject(
    asked: SubjectRequest,
    run: Run,
    checkpoint: Checkpoint,
    spec: RunSpec,
    data: RunData,
    pairs: list[AskedPair],
    k: int,
    code: Code | None,
) -> Subject:
    model = build_model(spec, data.model_data, code)
    load_model(model, checkpoint, run)
    model.eval()
    examples = data.examples(Split.TRAIN)
    # Examples are drawn on the CPU, so that every device checks the same ones.
    randomness = Randomness(asked.seed)
    chosen = randomness.permutation(Stream.DIAGNOSTIC_EXAMPLES, 0, len(examples))[: asked.examples]
    stored = examples.rows(chosen)
    pixels = data.pixels(stored, lambda: randomness.uniform(Stream.DIAGNOSTIC_PIXELS, 0, *stored.shape))
    return Subject(
        run,
        checkpoint.step,
        model,
        pixels,
        k,
        _execution(asked, spec, data, k),
        pairs,
        trained_pair(run, checkpoint),
        spec,
        data.split_hashes,
        data.true_log_p(pixels),
        data,
        code,
    )


def _execution(asked: SubjectRequest, spec: RunSpec, data: RunData, k: int) -> ExecutionSpec:
    options = asked.execution(k)
    if asked.k_chunk == AUTO:
        options["k_chunk"] = asked.auto_chunk(Shape.of_run(spec, data.dataset), k)
    return ExecutionSpec.model_validate(options)
