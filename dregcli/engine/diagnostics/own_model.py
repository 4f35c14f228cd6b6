"""The bias check for a user's own torch model."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.defaults import DETECT, FALSE_ALARM, MAX_BATCHES
from dregcli.engine.diagnostics.bias_check import BiasCheck, BiasResult, number_faults
from dregcli.engine.diagnostics.references import Comparison, comparison_of, without_reference
from dregcli.engine.diagnostics.source import Draw, Parts, StackedWeights, differences, pairs_of
from dregcli.engine.estimators import Coefficients, Estimator
from dregcli.engine.objectives import Objective
from dregcli.engine.own.assumptions import require_assumptions
from dregcli.engine.own.log_joint import LogJoint
from dregcli.engine.own.prior import OwnPrior, Prior
from dregcli.engine.own.samples import Samples, draw_samples
from dregcli.engine.own.seeds import gradient_seeds, no_path, reached_leaves, require_along, require_posterior
from dregcli.engine.pairs import Pair, require_awake, require_fitted, resolve_pair
from dregcli.engine.reach import Reach
from dregcli.errors import Fault, SpecError
from dregcli.names import PriorGradient

Built = tuple[LogJoint, Distribution] | tuple[LogJoint, Distribution, Prior]
"""Inputs of ``multi_sample_loss``: ``log_joint`` and the posterior, and the prior if ``log_joint`` leaves it out."""

Make = Callable[[], Built]
"""Builds the inputs of ``multi_sample_loss`` again for every batch."""


class OwnModelSource:
    """Gradients of any torch model by the given parameters. Samples come from torch's global generator.

    Args:
        make: function that builds log_joint and posterior for one batch.
        parameters: leaves that require grad, by name.
        k: samples per example.
        prior_gradient: how the prior's parameters get their gradient.
    """

    def __init__(
        self,
        make: Make,
        parameters: Mapping[str, Tensor],
        *,
        k: int,
        prior_gradient: PriorGradient | str = PriorGradient.SCORE,
    ) -> None:
        self.k = k
        self._prior_gradient = prior_gradient
        self.blocks = tuple(parameters)
        self._make = make
        self._built: Built | None = None
        self._parameters = dict(parameters)
        self._is_checked = False
        faults = [
            Fault("parameters", f"'{name}' does not require grad: leave out frozen parameters.")
            for name, parameter in parameters.items()
            if not parameter.requires_grad
        ]
        if not parameters:
            faults.append(Fault("parameters", "there are none: pass dict(model.named_parameters())."))
        if faults:
            raise SpecError(faults)

    def compared(self, pairs: Sequence[Pair]) -> list[Comparison]:
        """Return each pair with the reference that the posterior allows; what was built for this is used for a batch.

        Raises:
            SpecError: the posterior has faults, a pair needs ``rsample``, which it does not have, or a pair has
                nothing to be compared with.
        """
        self._built = self._make()
        posterior = self._built[1]
        for pair in pairs:
            require_posterior(posterior, pair)
        has_path = no_path(posterior) is None
        found = [comparison_of(pair, self.k, lambda each: has_path or not each.uses_path) for pair in pairs]
        if alone := without_reference(found):
            raise SpecError([Fault("estimators", why) for why in alone])
        return found

    def samples(self, pairs: Sequence[Pair]) -> tuple[Samples, Distribution]:
        """Draw one batch's samples, the same for all pairs."""
        (log_joint, posterior, *others), self._built = self._built or self._make(), None
        prior = OwnPrior.checked(others[0] if others else None, self._prior_gradient)
        for pair in pairs:
            require_posterior(posterior, pair)
            if prior is not None and prior.rule is not None:
                require_along(posterior, pair)
        samples = draw_samples(log_joint, posterior, pairs, self.k, prior)
        if not self._is_checked:
            self._require_reached(samples)
            self._require_uncompiled(samples)
            strictest = next((pair for pair in pairs if pair.needs_score_identity), pairs[0])
            require_assumptions(samples, posterior, strictest, check=True)
            self._is_checked = True
        return samples, posterior

    def _require_uncompiled(self, samples: Samples) -> None:
        """Refuse compiled modules: several backward passes use one graph here, and a compiled graph allows one."""
        if samples.reach_of_p.is_compiled or Reach.of(samples.live).is_compiled:
            message = "it is compiled by torch.compile, so that its graph allows only one backward pass; here there "
            message += "are several, at least one for each estimator."
            raise SpecError([Fault("make", message)], hint="pass the uncompiled modules: compiled._orig_mod")

    def _require_reached(self, samples: Samples) -> None:
        """Refuse parameters of another model than the one that was built: they would have no gradients."""
        reached = reached_leaves(samples)
        faults = [
            Fault("parameters", f"neither log_joint nor the posterior depends on '{name}'.")
            for name, parameter in self._parameters.items()
            if parameter not in reached
        ]
        if faults:
            raise SpecError(faults, hint="name the parameters that make() uses; build the modules outside of make()")

    def gradients(
        self,
        samples: Samples,
        posterior: Distribution,
        weights: Coefficients,
        pair: Pair,
        *,
        path: bool,
        score: bool,
        by_score: bool = False,
    ) -> Parts:
        """Compute descent directions by parameter; parameters that the weights do not reach are left out.

        Args:
            samples: the samples.
            posterior: the posterior that they were drawn from.
            weights: weights of the gradient, or their difference from those of another pair.
            pair: the pair.
            path: False means that the path weights are 0.
            score: False means that the score weights are 0.
            by_score: whether the prior's gradient is by its score even if another one is to be measured.
        """
        seeds = gradient_seeds(samples, posterior, weights, pair, path=path, score=score)
        if not by_score and self.is_along(samples):
            terms, own = pair.at(samples.log_w)
            to_descent = -1.0 / samples.log_p.shape[1]
            seeds += samples.along_prior(own.model * to_descent, (own.model - terms.dmodel) * to_descent)
            seeds = [(output, seed) for output, seed in seeds if output.requires_grad]
        if not seeds:
            return {}
        outputs, given = zip(*seeds, strict=True)
        wanted = list(self._parameters.values())
        # torch's types say tensors, but unreached parameters have None.
        found: list[Any] = list(torch.autograd.grad(outputs, wanted, given, retain_graph=True, allow_unused=True))
        named = zip(self._parameters, found, strict=True)
        return {name: part.flatten() for name, part in named if part is not None}

    @staticmethod
    def is_along(samples: Samples) -> bool:
        """Return whether theta's gradient goes along samples of the prior."""
        return samples.joint.prior is not None and samples.joint.prior.rule is not None

    def draw(self, step: int, comparisons: Sequence[Comparison], *, references: bool) -> Draw:
        """Compute the gradients of one batch; every batch has new samples."""
        pairs = pairs_of(comparisons)
        samples, posterior = self.samples(pairs)
        weights = StackedWeights.at(pairs, samples.log_w)
        difference = differences(weights, pairs, comparisons)
        found: list[Parts] = []
        for i, (each, (model, path, score)) in enumerate(zip(comparisons, difference.differ(), strict=True)):
            parts: Parts = {}
            if model or path or score or self.is_along(samples):
                one = difference.one(i)
                parts = self.gradients(samples, posterior, one, each.pair, path=path, score=score)
            found.append(parts)
        whole: dict[Pair, Parts] = {}
        for pair in dict.fromkeys(each.reference for each in comparisons) if references else ():
            one = weights.one(pairs.index(pair))
            uses = {"path": pair.uses_path, "score": pair.uses_score}
            whole[pair] = self.gradients(samples, posterior, one, pair, **uses, by_score=True)
        return Draw(found, whole)

    def expand(self, means: Parts) -> dict[str, Tensor]:
        """Return the means, which are already by parameter."""
        return dict(means)


def own_pairs(objective: Objective | str, estimators: Sequence[Estimator | str], k: int) -> list[Pair]:
    """Return the pairs of an objective with at least one estimator; a single word needs no list.

    Raises:
        SpecError: there are no estimators, or the pairs cannot work.
    """
    if isinstance(estimators, str):
        estimators = [estimators]
    if not estimators:
        raise SpecError([Fault("estimators", "there are none: name at least one.")])
    pairs = [resolve_pair(objective, estimator, k) for estimator in estimators]
    for pair in pairs:
        require_awake(pair, "make()")
        require_fitted(pair)
    return pairs


def check_bias(
    make: Make,
    parameters: Mapping[str, Tensor],
    k: int,
    objective: Objective | str = "iwae",
    estimators: Sequence[Estimator | str] = ("dreg",),
    *,
    false_alarm: float = FALSE_ALARM,
    detect: float = DETECT,
    max_batches: int = MAX_BATCHES,
    max_seconds: float | None = None,
    prior_gradient: PriorGradient | str = PriorGradient.SCORE,
) -> list[BiasResult]:
    """Check estimators for bias on your own model, as ``dreg bias-check`` does.

    Each estimator is compared on the same samples with the objective's reparam (reparam itself with dreg). If the
    posterior has no ``rsample``, as that of discrete latents, the reference is vimco, and reinforce for vimco itself;
    rws then has no other estimator, and is refused. The model must not change during the check.

    Args:
        make: function that builds ``log_joint`` and ``posterior``, as ``multi_sample_loss`` takes them, again for
            every batch. It should use the same examples every time: then only the samples vary, and the relative bias
            refers to one training step's gradient. With a new minibatch each time, the relative bias refers to the
            mean gradient over the data; this gradient is small once a model is trained, and the check needs far more
            batches.
            With a third value, the prior, ``log_joint`` returns log p(x | z) alone.
        parameters: parameters whose gradients are checked, by name, e.g. ``dict(model.named_parameters())``.
        k: K, the number of samples per example.
        objective: an objective or its word.
        estimators: estimators or their words.
        false_alarm: probability of calling any unbiased pair biased, over the whole call. The tests are asymptotic.
        detect: smallest relative bias that the check must be able to detect before it reports 'unbiased'.
        max_batches: largest number of batches; after them, open comparisons are inconclusive.
        max_seconds: largest time in seconds; after it, open comparisons are inconclusive.
        prior_gradient: how the prior's parameters get their gradient, as in ``multi_sample_loss``; the reference's is
            always by the score.

    Returns:
        One result per estimator, in their order: its ``verdict``, ``p_value``, ``relative_bias``, ``detectable``.

    Raises:
        SpecError: pairs, numbers or parameters that cannot work.
        NotFinite: an estimator has no finite weights for this model.
    """
    if faults := number_faults(
        false_alarm=false_alarm, detect=detect, max_batches=max_batches, max_seconds=max_seconds
    ):
        raise SpecError(faults)
    pairs = own_pairs(objective, estimators, k)
    source = OwnModelSource(make, parameters, k=k, prior_gradient=prior_gradient)
    check = BiasCheck(
        source,
        source.compared(pairs),
        false_alarm=false_alarm,
        detect=detect,
        max_batches=max_batches,
    )
    started = time.monotonic()
    while not check.done:
        due = check.advance()
        late = max_seconds is not None and time.monotonic() - started > max_seconds
        if due or late:
            check.look(last=late)
    return check.results()
