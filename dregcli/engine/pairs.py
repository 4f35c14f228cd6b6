"""Pairs of objective and estimator: their promises, their faults and their coefficients."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dregcli.engine.estimators import ESTIMATORS, Coefficients, Estimator, Formula
from dregcli.engine.estimators.reinforce import Reinforce
from dregcli.engine.estimators.vimco import Vimco
from dregcli.engine.objectives import OBJECTIVES, Objective, Terms
from dregcli.engine.words import parse_estimator, parse_objective, parse_scheduled, word_of
from dregcli.errors import Fault, NotFinite, SpecError
from dregcli.names import Promise, SampleNoise


@dataclass(frozen=True)
class Theta:
    """The weights of a gradient of theta, which all pairs with equal ones share.

    Attributes:
        objective: the objective whose own weights they are.
        left_out: the number of last samples that have none; the others' weights are those of the objective at them.
    """

    objective: Objective
    left_out: int = 0

    @property
    def shared(self) -> "Theta":
        """The same weights, named by the objective that gives them to others; see ``Objective.of_theta``."""
        return replace(self, objective=self.objective.of_theta)


@dataclass(frozen=True)
class Pair:
    """An objective and an estimator that are used together."""

    objective: Objective
    estimator: Estimator

    @property
    def word(self) -> str:
        """The word ``objective/estimator``, with both parts' parameters."""
        return f"{word_of(self.objective)}/{word_of(self.estimator)}"

    @property
    def smallest_k(self) -> int:
        """The smallest number of samples for which both are defined."""
        return max(self.objective.smallest_k, self.estimator.smallest_k(self.objective))

    @property
    def uses_path(self) -> bool:
        """Whether the path weights can differ from 0."""
        return self.estimator.uses_path(self.objective)

    @property
    def uses_score(self) -> bool:
        """Whether the score weights can differ from 0."""
        return self.estimator.uses_score(self.objective)

    @property
    def theta(self) -> Theta:
        """The weights of theta's gradient; those of most pairs are their objective's own."""
        return Theta(self.objective, self.estimator.left_out)

    @property
    def keeps_theta(self) -> bool:
        """Whether theta's weights are the objective's own, which all such pairs of an objective share."""
        return not self.estimator.left_out

    @property
    def needs_score_identity(self) -> bool:
        """False if the gradient is the derivative of the value at fixed noise, which is right for any support."""
        return self.estimator.needs_score_identity(self.objective)

    @property
    def formula(self) -> Formula:
        """The formulas of the weights, for display."""
        return self.estimator.formula(self.objective)

    def faults(self, k: int, noise: SampleNoise = SampleNoise.IID) -> list[Fault]:
        """Return the reasons why the pair cannot work with ``k`` samples of this noise; empty if it can."""
        faults = [Fault("objective", message) for message in self.objective.faults(k)]
        faults += [Fault("estimator", message) for message in self.estimator.faults()]
        if refusal := self.estimator.refusal(self.objective):
            faults.append(Fault("estimator", f"{refusal} {_taken_by(self.objective)}"))
        elif k < self.smallest_k:
            needing = self.objective if self.objective.smallest_k == self.smallest_k else self.estimator
            message = f"'{word_of(needing)}' needs at least {self.smallest_k} samples, got {k}."
            faults.append(Fault("k", f"{message} Use --k {self.smallest_k} or more."))
        if not faults and noise is SampleNoise.ANTITHETIC and (refusal := self._antithetic_refusal(k)):
            faults.append(Fault("noise", refusal))
        return faults

    def _antithetic_refusal(self, k: int) -> str | None:
        if k % 2:
            return f"antithetic samples are pairs, but --k is {k}: give an even number, such as --k {k + 1}."
        if (refusal := self.estimator.antithetic_refusal(self.objective, k)) is None:
            return None
        others = [each for each in estimators_of(self.objective) if not each.antithetic_refusal(self.objective, k)]
        names = ", ".join(each.name for each in others)
        advice = f"'{self.objective.name}' takes {names} with --noise antithetic" if names else "Use --noise iid"
        return f"{refusal} {advice}{', or use --noise iid' if names else ''}."

    def promise(self, k: int, noise: SampleNoise = SampleNoise.IID) -> Promise:
        """Return whether the expected gradient equals the objective's with ``k`` samples. See ``promise``."""
        if noise is SampleNoise.ANTITHETIC and self._antithetic_refusal(k):
            return Promise.BIASED
        return self.estimator.promise(self.objective, k)

    def at(
        self, log_w: Tensor, kl_weight: float = 1.0, noise: SampleNoise = SampleNoise.IID
    ) -> tuple[Terms, Coefficients]:
        """Return the objective's terms and the gradient's weights at log-weights of shape (K, B), in nats.

        ``kl_weight`` is the weight of the KL part of the log-weights; ``noise`` says whether the samples are pairs.

        Both are computed in float64 for log-weights of any type: v - v^2 subtracted from v leaves v^2 with an error
        of eps * v, which in float32 is larger than v^2 once K is large. The arrays are small beside the decoder's
        rows, so the cost is too small to measure.
        """
        terms = terms_at(self.objective, log_w.detach().double(), noise)
        terms = terms if kl_weight == 1.0 else terms.tempered(kl_weight)
        return terms, self.weights(terms)

    @property
    def can_be_tempered(self) -> bool:
        """Whether the gradient is known if the KL part of the log-weights has less weight than 1."""
        return self.objective.can_be_tempered and self.estimator.can_be_tempered

    def weights(self, terms: Terms) -> Coefficients:
        """Return the gradient's weights from the objective's terms, which pairs of one objective may share."""
        return self.estimator.coefficients(self.objective, terms)

    def pathless(self, terms: Terms) -> Tensor:
        """Return the weights of the score of latents without a path, where other latents have one; (K, B).

        They are VIMCO's for a function of the log-weights (with one sample, REINFORCE's), and the objective's own
        for rws. A pair without a path uses its own score for all latents.

        Raises:
            SpecError: the objective has no score function; see ``mixed_refusal``.
        """
        if not self.uses_path:
            return self.weights(terms).score
        if self.objective.is_function:
            estimator = Vimco() if len(terms.log_w) > 1 else Reinforce()
            return estimator.coefficients(self.objective, terms).score
        if refusal := self.mixed_refusal():
            raise SpecError([Fault("objective", refusal)])
        return terms.score

    def mixed_refusal(self) -> str | None:
        """Return why the pair cannot be used where some latents have a path and others have none; None if it can."""
        if self.objective.is_function or not self.objective.has_path or not self.uses_path:
            return None
        return (
            f"'{self.objective.name}' is not one function of the log-weights, so that there is no score for latents "
            "without rsample."
        )


def terms_at(objective: Objective, log_w: Tensor, noise: SampleNoise) -> Terms:
    """Return an objective's terms at float64 log-weights (K, B), with the derivatives that this noise needs."""
    terms = objective.terms(log_w)
    if noise is SampleNoise.IID:
        return terms
    return replace(terms, dscore_by_partner=objective.dscore_by_partner(log_w))


def require_awake(pair: Pair, where: str) -> None:
    """Refuse an objective with dreams where there is no model to sample.

    Raises:
        SpecError: the objective has dreams.
    """
    if pair.objective.dreams:
        message = f"'{word_of(pair.objective)}' trains q on samples of the model, but {where} has log_joint alone, "
        message += f"which cannot be sampled. Use '{pair.objective.name}', and add a loss at samples of your model."
        raise SpecError([Fault("objective", message)])


def require_fitted(pair: Pair) -> None:
    """Refuse an objective whose numbers are not fitted where nothing is trained.

    Raises:
        SpecError: the numbers are not fitted.
    """
    if pair.objective.unfitted:
        raise SpecError([Fault("objective", f"'{word_of(pair.objective)}': {pair.objective.unfitted}")])


def _taken_by(objective: Objective) -> str:
    return f"For '{objective.name}' there are: {', '.join(e.name for e in estimators_of(objective))}."


def estimators_of(objective: Objective) -> list[Estimator]:
    """Return the estimators, with default parameters, that an objective can be paired with."""
    found = [entry() for entry in ESTIMATORS.values()]
    return [estimator for estimator in found if estimator.refusal(objective) is None]


def all_pairs() -> Iterator[Pair]:
    """Yield every possible pair, with default parameters, in the order of the dicts."""
    for entry in OBJECTIVES.values():
        objective = entry()
        for estimator in estimators_of(objective):
            yield Pair(objective, estimator)


def word_faults(objective: str, estimator: str, k: int | None, noise: SampleNoise = SampleNoise.IID) -> list[Fault]:
    """Return all faults of a pair given as words; without ``k``, only the faults that do not depend on K."""
    faults: list[Fault] = []
    parsed: list[Any] = []
    for parse, word in ((parse_objective, objective), (parse_estimator, estimator)):
        try:
            parsed.append(parse(word))
        except SpecError as error:
            faults.extend(error.faults)
    if faults:
        return faults
    pair = Pair(parsed[0], parsed[1])
    return pair.faults(max(1, pair.smallest_k)) if k is None else pair.faults(k, noise)


def training_faults(
    objective: str, estimator: str, k: int | None, noise: SampleNoise = SampleNoise.IID
) -> list[Fault]:
    """Return all faults of the pair of a training, whose objective may change by a schedule; see ``word_faults``."""
    try:
        scheduled = parse_scheduled(objective)
    except SpecError:
        return word_faults(objective, estimator, k, noise)
    ends = (scheduled.start, scheduled.at(scheduled.steps))
    found = [fault for end in ends for fault in word_faults(word_of(end), estimator, k, noise)]
    return list(dict.fromkeys(found))


def resolve_pair(objective: Objective | str, estimator: Estimator | str, k: int) -> Pair:
    """Return the pair that two words (or objects) name.

    Raises:
        SpecError: unknown names, wrong parameters, or a pair or a K that cannot work.
    """
    if type(k) is not int:
        raise SpecError([Fault("k", f"must be a whole number, got {k!r}.")])
    if isinstance(objective, str) and isinstance(estimator, str) and (faults := word_faults(objective, estimator, k)):
        raise SpecError(faults)
    pair = Pair(
        parse_objective(objective) if isinstance(objective, str) else objective,
        parse_estimator(estimator) if isinstance(estimator, str) else estimator,
    )
    if faults := pair.faults(k):
        raise SpecError(faults)
    return pair


def promise(
    objective: Objective | str, estimator: Estimator | str, k: int, noise: SampleNoise | str = SampleNoise.IID
) -> Promise:
    """Return whether the pair's expected gradient equals the gradient of its own target, with ``k`` samples.

    With ``noise="antithetic"`` samples are pairs of a diagonal Gaussian, and the weights are those for such pairs.

    This is the only source of promises: the trainer's warning, ``dreg estimators``, the documentation's tables and
    the tests read it. It assumes that log p(x, z) and log q(z | x) of your model are differentiable in z wherever z
    is continuous, and that their supports do not move with parameters. ``multi_sample_loss`` refuses the violations
    that it can detect: a posterior whose support moves (then only ``reparam`` of an objective with a path is right),
    and log p = -inf where samples are differentiated. It cannot detect a finite jump of log p, for example from a
    hard threshold in z; there only pairs without a path are right.

    Raises:
        SpecError: unknown names, wrong parameters, or a pair or a K that cannot work.
    """
    if noise not in list(SampleNoise):
        raise SpecError([Fault("noise", f"must be {' or '.join(SampleNoise)}, got {noise!r}.")])
    return resolve_pair(objective, estimator, k).promise(k, SampleNoise(noise))


def coefficients(objective: Objective | str, estimator: Estimator | str, log_w: Tensor) -> Coefficients:
    """Return the weights of a gradient estimate.

    Args:
        objective: an objective or its word, e.g. ``"iwae"`` or ``"vr-iwae:alpha=0.3"``.
        estimator: an estimator or its word, e.g. ``"dreg"``.
        log_w: log-weights, shape (K, B), nats.

    Returns:
        ``model``, ``path`` and ``score``, each (K, B), detached, finite, in ``log_w``'s dtype, but at least float32.
        See ``Terms``.

    Raises:
        SpecError: unknown names, or a pair or a K that cannot work.
        NotFinite: the pair has no finite weights at these log-weights; the error names the examples.

    Example:
        >>> import torch
        >>> from dregcli.engine import coefficients
        >>> c = coefficients("iwae", "dreg", torch.zeros(4, 1))
        >>> c.model[0].item(), c.path[0].item(), c.score[0].item()
        (0.25, 0.0625, 0.0)
    """
    if log_w.ndim != 2 or 0 in log_w.shape:
        what = f"log_w must have shape (K, B), got {tuple(log_w.shape)}."
        raise SpecError([Fault("log_w", what)])
    pair = resolve_pair(objective, estimator, log_w.shape[0])
    require_fitted(pair)
    _, exact = pair.at(log_w)
    dtype = torch.promote_types(log_w.dtype, torch.float32)
    arrays = [array.to(dtype) for array in (exact.model, exact.path, exact.score)]
    require_finite(pair, arrays)
    return Coefficients(*arrays)


def require_finite(pair: Pair, arrays: Iterable[Tensor]) -> None:
    """Refuse weights, each of shape (K, B), that are not finite, since they make the gradient not finite.

    Raises:
        NotFinite: a weight is not finite; the error names the examples.
    """
    broken = torch.stack([~torch.isfinite(array).all(dim=0) for array in arrays]).any(dim=0)
    if broken.any():
        what = f"'{pair.word}' has no finite gradient weights at these log-weights."
        hint = "log-weights must not be NaN or +inf, and not -inf for more samples than the pair allows"
        raise NotFinite(what, where=examples_in_words(broken), hint=hint)


def examples_in_words(chosen: Tensor) -> str:
    """Name the chosen examples of a batch; ``chosen`` is bool, (B,)."""
    examples: list[int] = chosen.nonzero()[:, 0].tolist()  # pyright: ignore[reportUnknownVariableType]
    return f"examples {', '.join(map(str, examples[:10]))}{', ...' if len(examples) > 10 else ''} of the batch"
