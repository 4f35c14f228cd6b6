"""The training loop's engine: one step at a time, all of its state in tensors and plain numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dregcli.engine.captured import CapturedStep, Record
from dregcli.engine.examples import Examples
from dregcli.engine.execution import Execution
from dregcli.engine.execution.tempered import TemperedBatch
from dregcli.engine.fitting import FittedNumbers
from dregcli.engine.gradients import Gradients, Step, require_antithetic, require_prior_path
from dregcli.engine.learning import LearnedParameters
from dregcli.engine.models.base import Model, in_eval_mode
from dregcli.engine.objectives import ScheduledObjective
from dregcli.engine.optimisation import Optimisation, Updates
from dregcli.engine.pairs import Pair
from dregcli.engine.pixels import Pixels
from dregcli.engine.prior_rule import RULES
from dregcli.engine.programs.trial import kept_values
from dregcli.engine.randomness import Randomness
from dregcli.engine.step_numbers import LOGGED, Window, diverged, norms
from dregcli.engine.tracking import Tracker
from dregcli.engine.training_batches import DrawnBatch, TrainingBatches
from dregcli.engine.training_state import Trained, TrainerState
from dregcli.engine.weights import log_mean_exp
from dregcli.errors import Diverged, Fault, SpecError
from dregcli.names import Precision, PriorGradient, SampleNoise

MOST_PENDING = 64
"""Largest number of steps whose numbers wait on the device before they are fetched."""

MOST_NOISE_BYTES = 2**28
"""Largest noise of a captured step. A step with more is limited by the GPU's arithmetic, and its arrays would stay
allocated for the whole training."""


class Trainer:
    """Train a model, step by step, and the parameters that its estimator learns.

    Args:
        model: model on its device.
        pair: objective and estimator.
        examples: examples of the training split, on the model's device.
        pixels: rule that turns stored values into pixels.
        k: samples per example.
        batch_size: examples per step, at most N.
        lr: learning rate.
        objective: how the pair's objective changes from step to step; it stays the same if it is not given.
        optimisation: how a step changes the parameters; Adam with a constant rate if it is not given.
        seed: random seed of the order, pixels and noise.
        train_model: False freezes theta; only the posterior is trained.
        execution: how gradients are computed; dense if it is not given.
        prior_gradient: how the gradient of a learned prior is computed.
        noise: how the noise of the samples of one example depends on each other.
        tracked: pairs whose gradients are measured on the same samples. This does not change training.
        record: records a step to repeat it, ``captured.record_graph`` on a GPU; if it is given, ``warm_up`` records
            the step, provided that a step can do the same work every time.

    Raises:
        SpecError: the model cannot be trained by the pair, or a tracked pair cannot be measured on it, or its prior
            has no gradient of this kind, or one of these needs other noise, or ranks cannot share its examples.
    """

    def __init__(
        self,
        model: Model,
        pair: Pair,
        examples: Examples,
        pixels: Pixels,
        *,
        k: int,
        batch_size: int,
        lr: float,
        seed: int,
        objective: ScheduledObjective | None = None,
        optimisation: Optimisation | None = None,
        train_model: bool = True,
        execution: Execution | None = None,
        prior_gradient: PriorGradient = PriorGradient.SCORE,
        noise: SampleNoise = SampleNoise.IID,
        tracked: Sequence[Pair] = (),
        record: Record | None = None,
    ) -> None:
        self._objective = objective or ScheduledObjective(pair.objective)
        stages = [replace(pair, objective=each) for each in self._objective.stages()]
        for each in (stages[-1], *stages):  # the first fault is enough, and best that of a word that the user typed
            model.require_pairs([each])
        model.require_pairs(tracked, option="track-estimators")
        self._rule = RULES[prior_gradient]
        if self._rule:
            require_prior_path(model, pair, self._rule)
        self._noise = noise
        self._execution = execution or Execution()
        if self._execution.shares_batch and (refusal := model.no_shared_batch):
            raise SpecError([Fault("shard", f"{refusal} Use --shard samples.")])
        if noise is SampleNoise.ANTITHETIC:
            require_antithetic(model, [*stages, *tracked], k, self._rule)
        self.model = model
        self.step = 0
        self.window = Window()
        self._batches = TrainingBatches(
            examples, pixels, k=k, batch_size=batch_size, width=model.latent_width, seed=seed, noise=noise
        )
        self._theta = model.model_parameters() if train_model else {}
        self._phi = model.posterior_parameters()
        # The numbers of steps stay on the device until they are fetched. A step that is not finite sets this flag on
        # the device; then this step and all later ones change nothing. So no step has to wait for a check.
        self._pending: list[Tensor] = []
        self._diverged: Diverged | None = None
        self._broken = torch.zeros((), device=examples.device)
        self._optimisation = optimisation or Optimisation()
        self.trained = Trained(
            model,
            Updates(
                self._theta,
                self._phi,
                self._optimisation,
                lr=lr,
                steps_per_epoch=self.steps_per_epoch,
                broken=self._broken,
            ),
            LearnedParameters(pair, lr=lr),
            FittedNumbers(self._objective.start, steps_per_epoch=self.steps_per_epoch),
            Tracker(tracked, pair, examples.device, model.unreached) if tracked else None,
        )
        noise_bytes = 4 * k * batch_size * model.latent_width
        plain = model.repeats and not tracked and not pair.estimator.learned
        # A recording would keep the numbers of one fit.
        plain = plain and self._optimisation.optimizer.can_be_recorded and not self.trained.fitted.exist
        # Sums over ranks are no work of the device alone.
        plain = plain and self._execution.shards is None
        self._record = record if plain and noise_bytes <= MOST_NOISE_BYTES else None
        self._captured: CapturedStep | None = None
        self._captured_from = self._settled
        self._spills = 0

    @property
    def steps_per_epoch(self) -> int:
        """Number of whole batches in one pass over the data; the last partial batch is dropped."""
        return self._batches.steps_per_epoch

    @property
    def _settled(self) -> int:
        """Number of the step from which every step has the same objective, so that it can be repeated."""
        return max(self._optimisation.kl_warmup, self._objective.steps)

    def _pair(self, step: int) -> Pair:
        """Return the pair of a step: its objective, fitted, and the parameters that the estimator has learned."""
        return replace(self.trained.learned.pair, objective=self.trained.fitted.at(self._objective.at(step)))

    @torch.no_grad()
    def _fit(self) -> None:
        """Fit the objective's numbers before the next step, if that is due."""
        if not self.trained.fitted.are_due(self.step):
            return
        self.collect()  # an error of earlier steps must be found while the numbers are still those of these steps
        kl_weight, k_chunk = self._optimisation.kl_weight(self.step), self._execution.k_chunk
        found: list[Tensor] = []
        with in_eval_mode(self.model):
            for pixels, noise in self._batches.of_fit(self.step):
                batch = self._execution.batch(self.model.batch, pixels, noise)
                if kl_weight != 1.0:
                    batch = TemperedBatch(batch, kl_weight, k_chunk=k_chunk)
                found.append(batch.log_weights(k_chunk=k_chunk))
        self.trained.fitted.fit(self._objective.at(self.step), torch.cat(found, dim=1), self.step)

    @property
    def _logged(self) -> int:
        """Count of a step's numbers that a window takes."""
        return LOGGED + self.trained.updates.clips

    @property
    def records(self) -> bool:
        """Whether ``warm_up`` records a step, to repeat it; afterwards, whether there was memory for that."""
        return self._record is not None

    def _drawn(self, stored: Tensor | None = None, randomness: Randomness | None = None) -> DrawnBatch:
        """Return the next step's batch, from other values and numbers if they are given."""
        return self._batches.drawn(self.step, stored, randomness)

    def _gradients(self, drawn: DrawnBatch, *, repeated: bool = False, alone: bool = False) -> tuple[Step, Gradients]:
        # A recorded step is repeated only after all changes of the objective.
        step = max(self.step, self._settled) if repeated else self.step
        kl_weight = self._optimisation.kl_weight(step)
        execution = replace(self._execution, repeated=repeated)
        if alone:
            execution = replace(execution, shards=None)
        if kl_weight != 1.0:
            # The correction of a bfloat16 pass would be that of the objective's value, not that of the bound.
            execution = replace(execution, precision=Precision.FLOAT32)
        batch = Step(
            self.model,
            drawn.pixels,
            drawn.draws,
            execution,
            kl_weight=kl_weight,
            rule=self._rule,
            dreams=drawn.dreams,
            noise=self._noise,
        )
        return batch, batch.gradients(self._pair(step), train_model=bool(self._theta))

    def _take(self, stored: Tensor, randomness: Randomness, *, repeated: bool = False) -> Tensor:
        """Take one step on the device, and return its numbers; a repeated one never waits for the device."""
        batch, gradients = self._gradients(self._drawn(stored, randomness), repeated=repeated)
        descent, clipped = gradients.whole(), list[Tensor]()
        if self.trained.updates.clips:
            descent, is_clipped = self.trained.updates.clipped(descent)
            clipped.append(is_clipped)
        means = gradients.values.mean(dim=1)
        numbers = torch.cat([means, *(each.to(means) for each in (norms(gradients), *clipped, *gradients.slopes()))])
        torch.maximum(self._broken, (~torch.isfinite(numbers).all()).to(self._broken), out=self._broken)
        if self.trained.tracker:
            self.trained.tracker.add(batch, self._pair(self.step), train_model=bool(self._theta))
        self.trained.updates.apply(descent)
        return numbers

    def warm_up(self) -> str | None:
        """Compute one step's gradients and discard them, so that one-time work does not count in a step's time.

        If steps are recorded, this records the step. Buffers that the model changes in training mode, such as running
        statistics, stay as they are: a process that continues a run warms up once more.

        Returns:
            The reason if the model's compiled code failed and the model now runs uncompiled; otherwise None.
        """
        with kept_values(self.model):
            return self._warm()

    def _warm(self) -> str | None:
        stored, reason = self._batches.stored(self.step), None
        try:
            self._fit()
            self._gradients(self._drawn(stored))
        except RuntimeError as error:
            reason = self.model.run_uncompiled(error)
            self._fit()
            self._gradients(self._drawn(stored))
        if self._record:
            # While the flag is set, a step changes nothing.
            self._broken.fill_(1.0)
            take = partial(self._take, repeated=True)
            try:
                self._captured = CapturedStep(take, stored, self._batches.randomness.seed, self._record)
            except torch.OutOfMemoryError:  # a recording has arrays of its own, and steps work without it
                self._record = None
            self._broken.zero_()
        return reason

    def advance(self) -> None:
        """Take one optimisation step.

        Raises:
            Diverged: see ``collect``, which is called from time to time. Every later call raises it too.
        """
        if self._diverged:
            raise self._diverged
        self._fit()
        stored = self._batches.stored(self.step)
        self.trained.updates.set_step(self.step)
        if self._captured and self.step >= self._captured_from:
            self._pending.append(self._captured(stored, self.step))
        else:
            self._pending.append(self._take(stored, self._batches.randomness))
        self.step += 1
        if names := self.trained.learned.pair.estimator.learned:
            if self._optimisation.varies:
                self.trained.learned.set_rate(self.trained.updates.rates(self.step - 1)["lr"])
            # This comes last: parameters chosen from these samples would bias the gradient computed from them.
            self.trained.learned.update(dict(zip(names, self.collect(), strict=True)))
        elif len(self._pending) >= MOST_PENDING:
            self.collect()

    @property
    def is_collected(self) -> bool:
        """Whether the numbers of all steps have been fetched, and were finite."""
        return not self._pending

    def collect(self) -> list[float]:
        """Fetch the numbers of all steps since the last call into the window.

        Returns:
            The last step's slopes of the parameters that the estimator learns.

        Raises:
            Diverged: the bound or a gradient of a step is not finite. The parameters are those before that step.
        """
        if self._diverged:
            raise self._diverged
        if not self._pending:
            return []
        rows: list[list[float]] = torch.stack(self._pending).tolist()  # pyright: ignore[reportUnknownVariableType]
        first = self.step - len(rows)
        self._pending = []
        for i, numbers in enumerate(rows):
            if not all(map(math.isfinite, numbers)):
                return self._again(first + i)
            self.window.add(*numbers[: self._logged])
        return rows[-1][self._logged :]

    def _again(self, step: int) -> list[float]:
        """Take the steps from ``step`` on again: its numbers are not finite, and so none of them changed anything.

        A repeated step's numbers are not finite if its work was larger than the recorded work. Then the step is taken
        without the recording, and the next steps too: more of them each time, since each spilled step costs several.

        Raises:
            Diverged: the numbers of the step itself are not finite.
        """
        wanted, self.step = self.step, step
        if self._captured and step >= self._captured_from:
            self._spills += 1
            self._captured_from = step + MOST_PENDING * 2**self._spills
            self._broken.zero_()
            while self.step < wanted:
                self.advance()
            return self.collect()
        self._diverged = self._divergence()
        raise self._diverged

    def _divergence(self) -> Diverged:
        """Compute the step that is not finite again (same random numbers and parameters) and return its error.

        The other ranks of a run may not look at their numbers now, so that this one computes all rows.
        """
        _, gradients = self._gradients(self._drawn(), alone=True)
        named = {
            "the bound": gradients.bound,
            "the objective": gradients.value,
            **{f"the gradient of {name}": each for name, each in gradients.model.items()},
            **{f"the gradient of {name}": each for name, each in gradients.posterior.items()},
            **{f"the slope of the estimator's {name}": each for name, each in gradients.learned.items()},
        }
        return diverged(self.step + 1, named, self._batches.indices(self.step), gradients.bound)

    def row(self) -> dict[str, float]:
        """Return the window's means and the learned values as ``<estimator>.<name>``, and begin a new window.

        The objective's fitted numbers of the last step are called ``<objective>.<name>``.
        A learning rate, a weight of the KL part or a parameter of the objective that changes has its value in the
        last step; the parameter is called ``<objective>.<name>``.
        """
        self.collect()
        means = self.window.means()
        self.window = Window()
        if not self._theta:
            del means["model_gradient_norm"]
        if not self.trained.updates.clips:
            del means["clipped"]
        if self._optimisation.varies:
            means |= self.trained.updates.rates(self.step - 1)
        if self._optimisation.kl_warmup:
            means["kl_weight"] = self._optimisation.kl_weight(self.step - 1)
        means |= self._objective.shown(self.step - 1)
        name = self._objective.start.name
        means |= {f"{name}.{each}": value for each, value in self.trained.fitted.values.items()}
        name = self.trained.learned.pair.estimator.name
        found = means | {f"{name}.{each}": value for each, value in self.trained.learned.values().items()}
        return found | (self.trained.tracker.row() if self.trained.tracker else {})

    def check(self, state: TrainerState) -> None:
        """Check that a state can be continued from, at the cost of one forward pass, which changes no buffer.

        A step is refused if its own numbers are not finite. But only the next step shows whether the updated
        parameters work: an update can be finite and still break the model.

        Args:
            state: present state of the trainer.

        Raises:
            Diverged: a tensor of the state, or the bound on the next batch, is not finite.
        """
        indices = self._batches.indices(self.step)
        drawn = self._drawn()
        with torch.no_grad(), kept_values(self.model):
            log_w = self.model.batch(drawn.pixels, drawn.draws).log_weights(k_chunk=self._execution.k_chunk)
            bound = log_mean_exp(log_w)
        named = {**state.named(), "the bound": bound}
        if not all(torch.isfinite(tensor).all() for tensor in named.values()):
            raise diverged(self.step, named, indices, bound)

    def state(self) -> TrainerState:
        """Return a copy of the state after the last step.

        Raises:
            Diverged: see ``collect``.
        """
        self.collect()
        return self.trained.state(self.step, vars(self.window))

    def load(
        self,
        step: int,
        model: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        window: Mapping[str, Any],
    ) -> None:
        """Continue from a state.

        Raises:
            KeyError: a tensor of the optimizer's part is missing.
        """
        self._pending, self._diverged = [], None
        # A recording would still work on the optimizer's state of before.
        self._captured, self._captured_from, self._spills = None, self._settled, 0
        self._broken.zero_()
        self.trained.load(step, model, optimizer)
        self.step = step
        self.window = Window(**window)
