"""Row weights that estimators compute from log-weights, as arrays for many gradients at once, for executors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from dregcli.engine.estimators import Coefficients
from dregcli.engine.pairs import Pair, Theta, terms_at
from dregcli.engine.prior_rule import PriorRule
from dregcli.engine.weights import effective_sample_size, log_mean_exp
from dregcli.engine.wide import has_float64, widened
from dregcli.names import SampleNoise


@dataclass(frozen=True)
class RowWeights:
    """Functions of one batch's log-weights from which gradients are computed; float64 where there is float64.

    Attributes:
        value: V numbers of each example that are estimated beside the gradients, (V, B).
        model: weights of rows in M gradients of theta, (M, K, B).
        path: weights of rows in the path of P gradients of phi, (P, K, B); None if they are 0 by construction.
        score: weights of rows in the score of P gradients of phi, (P, K, B); None if they are 0 by construction.
        pathless: weights of rows in the score of latents without a path, where other latents have one, (P, K, B);
            None if all latents are alike.
        square: weights model - d model / d log w of the gradients of theta that go along samples of the prior,
            (M, K, B); None if all follow the prior's score.
        rules: how each of the M gradients of theta treats the prior, None for its score; empty if all follow it.
        path_scale: weights of rows in the path by the standard deviation of a Gaussian, where antithetic samples have
            others for it, (P, K, B); None if they are those of ``path``.
    """

    value: Tensor
    model: Tensor
    path: Tensor | None
    score: Tensor | None
    pathless: Tensor | None = None
    square: Tensor | None = None
    rules: tuple[PriorRule | None, ...] = ()
    path_scale: Tensor | None = None

    @property
    def has_score(self) -> bool:
        """Whether the score of any latent has weights."""
        return self.score is not None or self.pathless is not None

    def arrays(self) -> tuple[Tensor | None, ...]:
        """Return all arrays; their last axis is the examples."""
        return self.value, self.model, self.path, self.score, self.pathless, self.square, self.path_scale

    def with_arrays(self, arrays: Iterable[Tensor | None]) -> Self:
        """Return the same weights with other arrays, in the order of ``arrays``."""
        value, model, path, score, pathless, square, path_scale = arrays
        assert value is not None
        assert model is not None
        return replace(
            self,
            value=value,
            model=model,
            path=path,
            score=score,
            pathless=pathless,
            square=square,
            path_scale=path_scale,
        )

    def like(self, tensor: Tensor) -> Self:
        """Return the same weights on the device and with the type of a tensor."""
        return self.with_arrays(None if each is None else each.to(tensor) for each in self.arrays())

    def samples(self, first: int, count: int) -> Self:
        """Return weights of ``count`` samples, starting at ``first``; the values still use all samples."""
        parts = (None if each is None else each[:, first : first + count] for each in self.arrays()[1:])
        return self.with_arrays((self.value, *parts))

    def rows(self, k: Tensor, b: Tensor, inverse: Tensor) -> Self:
        """Return weights of rows (k, b), times ``inverse`` (R,), as one sample of R examples; without a score."""

        def chosen(whole: Tensor | None) -> Tensor | None:
            return None if whole is None else (whole[:, k, b] * inverse).unsqueeze(1)

        value, model, path, _, _, square, path_scale = self.arrays()
        return self.with_arrays((value, chosen(model), chosen(path), None, None, chosen(square), chosen(path_scale)))

    def of_examples(self, first: int, count: int) -> Self:
        """Return weights and values of ``count`` examples, starting at ``first``."""
        return self.with_arrays(None if each is None else each[..., first : first + count] for each in self.arrays())

    def of_rows(self, here: Tensor) -> Self:
        """Return the weights of some of the rows that ``rows`` returned, by their mask, bool, (R,)."""
        parts = (None if each is None else each[..., here] for each in self.arrays()[1:])
        return self.with_arrays((self.value, *parts))

    def times(self, factor: float) -> Self:
        """Return all weights times a factor; the values stay as they are."""
        parts = (None if each is None else each * factor for each in self.arrays()[1:])
        return self.with_arrays((self.value, *parts))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Join the weights of consecutive examples."""
        arrays = zip(*(part.arrays() for part in parts), strict=True)
        whole = (None if each[0] is None else torch.cat(list(each), dim=-1) for each in arrays)
        return parts[0].with_arrays(whole)

    def corrected(self, examples: Tensor, times: Tensor, exact: Self) -> Self:
        """Correct the weights of some examples to w + times (exact - w); all then have the exact expectation.

        Args:
            examples: indices of examples, each at most once, int64, (E,).
            times: 1 / the probability of choosing the example, or 0 for one that was not chosen, float64, (E,).
            exact: exact weights of these examples.
        """
        moved: list[Tensor | None] = []
        for mine, right in zip(self.arrays(), exact.arrays(), strict=True):
            if mine is None or right is None:
                moved.append(None)
                continue
            chosen = mine[..., examples]
            moved.append(mine.index_copy(mine.ndim - 1, examples, torch.lerp(chosen, right, times)))
        return self.with_arrays(moved)


class Weigh(Protocol):
    """Compute row weights from log-weights. Examples do not mix, so it may get only some examples."""

    def __call__(self, log_w: Tensor, *, values: bool = True) -> RowWeights:
        """Return row weights at log-weights of shape (K, B); without ``values`` V is 0."""
        ...


@dataclass(frozen=True)
class PairWeigh:
    """The weights of pairs: one gradient of phi per pair, then the first pair's derivatives by learned parameters.

    Attributes:
        pairs: at least one pair.
        train_model: whether to compute theta's gradients, one for each rule and each distinct theta of the pairs.
        learning: whether to compute the derivatives.
        known: gradients of theta that are already known, with their rules.
        kl_weight: weight of the KL part of the log-weights.
        mixed: whether some latents have a path and others have none.
        rules: ways in which theta's gradients treat the prior, None for its score. A theta that leaves samples out
            always follows the score.
        noise: whether the samples are antithetic pairs.
        at_once: approximate number of rows that are weighted together: 2 MiB per array.
    """

    pairs: tuple[Pair, ...]
    train_model: bool = True
    learning: bool = True
    known: frozenset[tuple[Theta, PriorRule | None]] = frozenset()
    kl_weight: float = 1.0
    mixed: bool = False
    rules: tuple[PriorRule | None, ...] = (None,)
    noise: SampleNoise = SampleNoise.IID
    at_once: int = 2**18

    def __call__(self, log_w: Tensor, *, values: bool = True) -> RowWeights:
        """Compute row weights; the values are the bound, the first objective's value and the effective sample size.

        All is computed in float64 for log-weights of any type: v - v^2 subtracted from v leaves v^2 with an error of
        eps * v, which in float32 is larger than v^2 once K is large. The arrays are small beside the decoder's rows,
        but a dozen of them at K = 65,536 are not, so they are made for some examples at a time.
        """
        examples = max(1, self.at_once // len(log_w))
        parts = [self._weights(part, values=values) for part in torch.split(log_w.detach(), examples, dim=1)]
        whole = parts[0] if len(parts) == 1 else RowWeights.joined(parts)
        return whole if has_float64(log_w.device) else whole.like(log_w)

    def _weights(self, log_w: Tensor, *, values: bool) -> RowWeights:
        log_w = widened(log_w)
        objectives = dict.fromkeys(pair.objective for pair in self.pairs)
        terms = {objective: terms_at(objective, log_w, self.noise) for objective in objectives}
        if self.kl_weight != 1.0:
            terms = {objective: each.tempered(self.kl_weight) for objective, each in terms.items()}
        first = terms[self.pairs[0].objective]
        found = [pair.weights(terms[pair.objective]) for pair in self.pairs]
        # Pairs with one theta have the same model weights; if one differs by an error, the first pair's are used.
        models: dict[Theta, Tensor] = {}
        for pair, each in zip(self.pairs, found, strict=True):
            models.setdefault(pair.theta, each.model)
        pathless = [pair.pathless(terms[pair.objective]) for pair in self.pairs] if self.mixed else []
        if self.learning:
            found += self.pairs[0].estimator.derivatives(self.pairs[0].objective, first).values()
        asked = [(each, rule) for rule in self.rules for each in models] if self.train_model else []
        needed = [each for each in asked if each not in self.known]
        wanted = [models[each] for each, _ in needed]
        # The rule needs the objective's own weights, whose derivative by the log-weight is known.
        rules = tuple(None if each.left_out else rule for each, rule in needed)
        numbers = [log_mean_exp(log_w), first.value, effective_sample_size(log_w)] if values else []
        return RowWeights(
            torch.stack(numbers) if values else log_w.new_empty(0, log_w.shape[1]),
            torch.stack(wanted) if wanted else log_w.new_empty(0, *log_w.shape),
            _stacked(found, "path") if any(pair.uses_path for pair in self.pairs) else None,
            _stacked(found, "score") if any(pair.uses_score for pair in self.pairs) else None,
            # A learned parameter changes the weights of the path alone.
            torch.stack([*pathless, *[torch.zeros_like(log_w)] * (len(found) - len(pathless))]) if pathless else None,
            torch.stack([models[each] - terms[each.objective].dmodel for each, _ in needed]) if any(rules) else None,
            rules if any(rules) else (),
            _path_scale(found),
        )


def _path_scale(found: Sequence[Coefficients]) -> Tensor | None:
    """Return the weights of the path by the standard deviation; None if no gradient has others for it."""
    if all(each.path_scale is None for each in found):
        return None
    return torch.stack([each.path if each.path_scale is None else each.path_scale for each in found])


def _stacked(found: Sequence[Coefficients], name: str) -> Tensor:
    return torch.stack([getattr(each, name) for each in found])
