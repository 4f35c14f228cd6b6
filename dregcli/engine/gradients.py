"""Gradients of one batch: a pair's row weights, an executor's sums, and the pass through the encoder."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from dregcli.engine.draws import Noise
from dregcli.engine.dreams import DreamNoise, sleep_gradient
from dregcli.engine.execution import Execution, WeighedRows
from dregcli.engine.execution.batch import Named
from dregcli.engine.execution.tempered import TemperedBatch
from dregcli.engine.execution.weighing import PairWeigh
from dregcli.engine.models.base import Model
from dregcli.engine.outer import Stacked, dense
from dregcli.engine.pairs import Pair, Theta
from dregcli.engine.prior_rule import RULES, PriorRule
from dregcli.engine.weights import log_mean_exp
from dregcli.engine.wide import widened
from dregcli.errors import Fault, SpecError
from dregcli.names import PriorGradient, SampleNoise


@dataclass(frozen=True)
class Gradients:
    """One batch's gradients, as descent directions for the mean over the batch.

    Attributes:
        log_w: log-weights, shape (K, B), nats, detached.
        values: values by example, (3, B), float64: the IWAE bound at K and the objective's value, nats per example,
            and the effective sample size.
        model: minus d mean(objective) / d theta, by parameter name; empty if theta is frozen.
        posterior: minus d mean(objective) / d phi, by parameter name.
        learned: d (mean over phi of the squared posterior gradient) / d parameter, for each parameter that the
            estimator learns; scalars.
    """

    log_w: Tensor
    values: Tensor
    model: Named
    posterior: Named
    learned: Named = field(default_factory=dict[str, Tensor])

    @property
    def bound(self) -> Tensor:
        """The IWAE bound at K, shape (B,)."""
        return self.values[0]

    @property
    def value(self) -> Tensor:
        """The objective's value, shape (B,)."""
        return self.values[1]

    def whole(self) -> Named:
        """Return the gradient by every parameter; a parameter of both p and q has the sum."""
        shared = {name: each + self.model[name] for name, each in self.posterior.items() if name in self.model}
        return {**self.model, **self.posterior, **shared}

    def slopes(self) -> list[Tensor]:
        """Return the slopes of the learned parameters, each as a tensor of shape (1,)."""
        return [each.reshape(1) for each in self.learned.values()]


def require_prior_path(model: Model, pair: Pair, rule: PriorRule) -> None:
    """Check that theta's gradient can go along samples of the model's prior.

    Raises:
        SpecError: it cannot.
    """
    if faults := theta_faults(pair) or path_faults(model.no_prior_path, rule):
        raise SpecError(faults)


def path_faults(refused: Callable[[PriorRule], str | None], rule: PriorRule) -> list[Fault]:
    """Return the fault of a rule that a model's prior has no samples for; empty if it has.

    Args:
        refused: returns why a rule is impossible, or None, as ``Model.no_prior_path``.
        rule: the rule.
    """
    can = [word for word, each in RULES.items() if each is None or not refused(each)]
    return [_prior_fault(refusal, can)] if (refusal := refused(rule)) else []


def theta_faults(pair: Pair) -> list[Fault]:
    """Return the reason why theta's gradient by a pair cannot go along samples of any prior; empty if it can."""
    if pair.keeps_theta:
        return []
    return [_prior_fault(f"'{pair.word}' leaves samples out of theta's gradient.", [PriorGradient.SCORE])]


def _prior_fault(refusal: str, can: Sequence[PriorGradient]) -> Fault:
    """Return the fault of a prior's gradient, with the words of those that are possible."""
    return Fault("prior-gradient", f"{refusal} Use --prior-gradient {' or '.join(can)}.")


def require_antithetic(model: Model, pairs: Iterable[Pair], k: int, rule: PriorRule | None) -> None:
    """Check that a model can be trained by pairs with antithetic samples.

    Raises:
        SpecError: it cannot.
    """
    faults = [fault for pair in pairs for fault in pair.faults(k, SampleNoise.ANTITHETIC)]
    if refusal := model.no_antithetic:
        faults.append(Fault("noise", f"{refusal} Use --noise iid."))
    if rule:
        message = "this estimate of a learned prior's gradient needs independent samples. Use --prior-gradient score."
        faults.append(Fault("prior-gradient", message))
    if faults:
        raise SpecError(list(dict.fromkeys(faults)))


class Step:
    """One batch of a model, whose rows are evaluated once for any number of pairs.

    Args:
        model: the model and its posterior.
        pixels: shape (B, D).
        draws: noise of the samples; ``Draws`` if the execution chooses rows.
        execution: how the rows are executed.
        kl_weight: weight of log p(z) - log q(z | x) in the log-weights of the objective; the bound has all of it.
        rule: how theta's gradient treats the prior; None for its score. Only with the whole KL part.
        dreams: random numbers of dreams; only objectives with dreams need them.
        noise: whether the samples of ``draws`` are antithetic pairs.
    """

    def __init__(
        self,
        model: Model,
        pixels: Tensor,
        draws: Noise,
        execution: Execution,
        *,
        kl_weight: float = 1.0,
        rule: PriorRule | None = None,
        dreams: DreamNoise | None = None,
        noise: SampleNoise = SampleNoise.IID,
    ) -> None:
        if rule:
            assert kl_weight == 1.0, "the rule's formula is that of the whole log-weight"
        self._rule, self._noise = rule, noise
        self._model, self._pixels, self._dreams = model, pixels, dreams
        self._asleep: Named | None = None
        self._batch = execution.batch(model.batch, pixels, draws)
        self._tempered: TemperedBatch | None = None
        self._kl_weight = kl_weight
        if kl_weight != 1.0:
            self._batch = self._tempered = TemperedBatch(self._batch, kl_weight, k_chunk=execution.k_chunk)
        self._execution = execution
        self._rows: WeighedRows | None = None
        self._theta: dict[tuple[Theta, PriorRule | None], Named] = {}

    def _evaluated(self, weigh: PairWeigh) -> WeighedRows:
        weigh = replace(weigh, kl_weight=self._kl_weight, noise=self._noise)
        if self._rows is None:
            self._rows = self._execution.rows(self._batch, weigh)
            return self._rows
        return self._rows.also(weigh)

    def _sleep_gradient(self) -> Named:
        """Return the gradient of phi at the step's dreams, which all pairs share."""
        if self._asleep is None:
            if self._dreams is None:
                message = "there are no random numbers for dreams"
                raise RuntimeError(message)
            self._asleep = sleep_gradient(self._model, self._model.dream(self._pixels, self._dreams))
        return self._asleep

    def _with_the_bound(self, rows: WeighedRows) -> tuple[Tensor, Tensor]:
        """Return log-weights and values by example, in which the bound has the whole KL part."""
        if self._tempered is None:
            return rows.log_w, rows.weights.value
        log_w = self._tempered.untempered(rows.log_w)
        bound = log_mean_exp(widened(log_w))
        return log_w, torch.cat([bound.to(rows.weights.value).unsqueeze(0), rows.weights.value[1:]])

    @property
    def values(self) -> Tensor:
        """Values by example, (3, B), float64, as ``Gradients.values``; they belong to the pairs requested first.

        Raises:
            RuntimeError: no gradient was requested yet.
        """
        if self._rows is None:
            message = "there are no values before any gradient was requested"
            raise RuntimeError(message)
        return self._with_the_bound(self._rows)[1]

    def gradients(self, pair: Pair, *, train_model: bool = True) -> Gradients:
        """Compute a pair's gradients.

        Args:
            pair: the objective and its estimator.
            train_model: False skips theta's gradients and the work for them.

        Raises:
            SpecError: the model cannot be trained by the pair.
        """
        self._model.require_pairs([pair])
        rows = self._evaluated(PairWeigh((pair,), train_model, mixed=self._batch.mixed, rules=(self._rule,)))
        sums = rows.sums(rows.weights)
        if train_model:
            self._keep({(pair.theta, self._rule): sums.model[0]})
        learned = pair.estimator.learned
        # A posterior without parameters to train has no gradient.
        gradient, *slopes = self._batch.through_posterior(sums.posterior) or [{}] * (1 + len(learned))
        if share := pair.objective.dreams:
            asleep = self._sleep_gradient()
            gradient = {name: each + share * asleep[name] for name, each in gradient.items()}
        log_w, values = self._with_the_bound(rows)
        return Gradients(
            log_w=log_w,
            values=values,
            model=sums.model[0] if train_model else {},
            posterior=gradient,
            learned={name: _slope(gradient, each, log_w) for name, each in zip(learned, slopes, strict=True)},
        )

    def each(
        self, pairs: tuple[Pair, ...], *, train_model: bool, rules: Sequence[PriorRule | None] | None = None
    ) -> tuple[Named, Named]:
        """Compute gradients of several pairs as ``stacked`` does, all of them as tensors, (P, ...) each."""
        model, posterior = self.stacked(pairs, train_model=train_model, rules=rules)
        return model, dense(posterior)

    def stacked(
        self, pairs: tuple[Pair, ...], *, train_model: bool, rules: Sequence[PriorRule | None] | None = None
    ) -> tuple[Named, Stacked]:
        """Compute gradients of several pairs on the same samples; gradients computed earlier do not change.

        Args:
            pairs: pairs to compute.
            train_model: False skips theta's gradients.
            rules: ways in which theta's gradients treat the prior, None for its score; the step's own way if they
                are not given.

        Returns:
            Theta's gradients, stacked: for each rule in turn, one for each distinct theta in the order of the pairs;
            and phi's gradients, one for each pair.

        Raises:
            SpecError: the model cannot be trained by one of the pairs.
        """
        self._model.require_pairs(pairs)
        treated = (self._rule,) if rules is None else tuple(rules)
        self._share(pairs)
        known = frozenset(self._theta)
        weigh = PairWeigh(pairs, train_model, learning=False, known=known, mixed=self._batch.mixed, rules=treated)
        rows = self._evaluated(weigh)
        sums = rows.sums(rows.weights)
        thetas = dict.fromkeys(pair.theta for pair in pairs) if train_model else {}
        wanted = [(theta, rule) for rule in treated for theta in thetas]
        computed = zip([each for each in wanted if each not in known], sums.model, strict=True)
        gradients = {**self._theta, **dict(computed)}
        self._keep({each: gradients[each] for each in wanted})
        found = [gradients[each] for each in wanted]
        model = {name: torch.stack([each[name] for each in found]) for name in (found[0] if found else ())}
        posterior = self._batch.stacked_through_posterior(sums.posterior)
        if any(shares := [pair.objective.dreams for pair in pairs]):
            asleep = self._sleep_gradient()
            posterior = {
                name: each + torch.stack([share * asleep[name] for share in shares])
                for name, each in dense(posterior).items()
            }
        return model, posterior

    def _keep(self, gradients: Mapping[tuple[Theta, PriorRule | None], Named]) -> None:
        """Keep theta's gradients, which some objectives share."""
        for (theta, rule), each in gradients.items():
            self._theta |= {(theta, rule): each, (theta.shared, rule): each}

    def _share(self, pairs: Iterable[Pair]) -> None:
        """Let objectives have gradients of theta that were computed for another one with the same weights."""
        for theta in {pair.theta for pair in pairs}:
            self._theta |= {
                (theta, rule): each for (other, rule), each in self._theta.items() if other == theta.shared
            }


def _slope(gradient: Named, derivative: Named, like: Tensor) -> Tensor:
    """Return d mean(gradient^2) / d parameter, where ``derivative`` is d gradient / d parameter; float64 scalar.

    It is 0 where there is no gradient; ``like`` then gives the device.
    """
    if not gradient:
        return widened(like.new_zeros(()))
    products = [(widened(gradient[name]) * widened(derivative[name])).sum() for name in gradient]
    return 2.0 * torch.stack(products).sum() / sum(each.numel() for each in gradient.values())
