"""Gradients of a user's log_joint in two passes: values of all rows, then gradients of chunks or of chosen rows."""

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.engine.execution.screening import keep_probabilities
from dregcli.engine.own.log_joint import Joint, LogJoint
from dregcli.engine.own.prior import OwnPrior
from dregcli.engine.own.prior_seeds import Slopes, prior_seeds
from dregcli.engine.own.row_check import row_faults
from dregcli.engine.own.rows import RowChoice
from dregcli.engine.own.samples import RowGradients, Samples, draw_located, require_inside, require_spared, spread_of
from dregcli.engine.pairs import Pair
from dregcli.engine.reach import Reach
from dregcli.engine.replay import Replay
from dregcli.errors import Fault, SpecError

_ROUNDING = {torch.float32: 1e-2, torch.float64: 1e-6}
"""Largest difference between two computations of one log p, relative to 1 + |log p|: matrix products of other sizes,
perhaps in bfloat16 under autocast, round differently. A row of another example differs by far more."""


@dataclass(frozen=True)
class Passes:
    """How log_joint is called.

    Attributes:
        k_chunk: samples in one call; None takes all at once.
        screen: largest relative increase of a gradient's second moment by screening; None computes the gradients of
            all rows.
        generator: generator of the uniform numbers that choose rows; torch's global one if None.
    """

    k_chunk: int | None = None
    screen: float | None = None
    generator: torch.Generator | None = None

    @classmethod
    def checked(cls, k_chunk: object, screen: object, generator: torch.Generator | None) -> "Passes":
        """Return the passes that a user asked for.

        Raises:
            SpecError: numbers that cannot work.
        """
        faults: list[Fault] = []
        if k_chunk is not None and (type(k_chunk) is not int or k_chunk < 1):
            faults.append(Fault("k_chunk", f"must be a whole number of at least 1, or None, got {k_chunk!r}."))
        if screen is not None and not (type(screen) in (int, float) and 0.0 < cast("float", screen) < math.inf):
            message = f"must be a number above 0, such as 0.15, or None for no screening, got {screen!r}."
            faults.append(Fault("screen", message))
        if faults:
            raise SpecError(faults)
        return cls(cast("int | None", k_chunk), cast("float | None", screen), generator)

    def are_needed(self, k: int) -> bool:
        """Whether one call of log_joint with all samples would not do."""
        return self.screen is not None or (self.k_chunk is not None and self.k_chunk < k)


@dataclass(frozen=True)
class _Part:
    """Rows that one call of log_joint computes with a graph.

    Attributes:
        index: what the rows are in tensors of shape (K, B, ...): a slice of samples, or a sample and an example each.
        rows: the same for the user's log_joint.
    """

    index: Any
    rows: RowChoice

    def take(self, whole: Tensor) -> Tensor:
        """Return the rows of a tensor (K, B, ...): (K', B, ...), or (1, R, ...)."""
        return whole[self.index] if self.rows.examples is None else whole[self.index].unsqueeze(0)

    def put(self, whole: Tensor, values: Tensor) -> None:
        """Set the rows of a tensor (K, B, ...)."""
        whole[self.index] = values if self.rows.examples is None else values[0]


@dataclass(frozen=True)
class SamplesInPasses(Samples):
    """K samples of every example; log p has no graph, and its rows are computed again for gradients.

    Attributes:
        passes: how log_joint is called.
    """

    passes: Passes

    @cached_property
    def reach_of_p(self) -> Reach:
        """The autograd graph behind log p of the first sample of every example; all samples have such a graph."""
        if not torch.is_grad_enabled():
            return Reach(frozenset(), ())
        z = self.located.z[:1].detach().requires_grad_(self.located.z.is_floating_point())
        with self.replay():
            found = Reach.of(self.joint(z, RowChoice(z.shape[1])))
        itself = {self.leaf} if z in found.leaves else set[Tensor]()
        return Reach((found.leaves - {z}) | itself, found.names)

    def row_gradients(self, model: Tensor | None, path: Tensor | None, square: Tensor | None = None) -> RowGradients:
        """Differentiate log p; theta's gradients are summed here. See ``Samples.row_gradients``.

        Raises:
            SpecError: log_joint has other values than in the first pass, or the gradient cannot go along samples of
                the prior.
            NotFinite: log_joint turns a weight of 0 into NaN for a sample outside the support.
        """
        if model is None and path is None:
            return RowGradients([], None, None)
        if square is not None:
            require_inside(self.log_p)
        parts, inverse = self._parts([each for each in (model, path, square) if each is not None])
        model, path, square = (None if each is None else each * inverse for each in (model, path, square))
        theta: dict[Tensor, Tensor] = {}
        of_z = None if path is None else torch.zeros_like(self.located.z)
        along = None if square is None else _Along(square, self.by_z(self.slope_of_q()))
        with self.replay():
            for part in parts:
                self._differentiate(part, model, theta, of_z, along)
        if model is not None:
            for leaf in self.reach_of_p.leaves - {self.leaf}:
                theta.setdefault(leaf, torch.zeros_like(leaf))  # perhaps no row was kept
        if torch.isneginf(self.log_p).any():
            require_spared(list(theta.values()))
        dz = None if of_z is None else self._by_leaf(of_z) - self.slope_of_q()
        return RowGradients(list(theta.items()), path, dz)

    def densities(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and log q of other base samples of the same shape."""
        values = self.unfolded.pushed(start)
        return self.joint.values(values[-1], self.passes.k_chunk), self.unfolded.log_density(values)

    def _parts(self, arrays: Sequence[Tensor]) -> tuple[Iterator[_Part], Tensor]:
        """Return the rows to differentiate, and the factor of each row's weight, (K, B): keep / probability."""
        k, batch = self.log_p.shape
        if self.passes.screen is None:
            return _chunks(k, batch, self.passes.k_chunk or k), torch.ones_like(arrays[0])
        probability = keep_probabilities((each.unsqueeze(0) for each in arrays), self.passes.screen)
        has_weight = torch.stack([each != 0.0 for each in arrays]).any(dim=0)
        keep = choose(probability, self.passes.generator) & has_weight
        size = k * batch if self.passes.k_chunk is None else self.passes.k_chunk * batch
        return _chosen(keep, size), torch.where(keep, probability.reciprocal(), 0.0)

    def _differentiate(
        self,
        part: _Part,
        model: Tensor | None,
        theta: dict[Tensor, Tensor],
        of_z: Tensor | None,
        along: "_Along | None",
    ) -> None:
        """Add the gradients of some rows. Their graph lives as long as this call."""
        z = part.take(self.located.z.detach()).requires_grad_(of_z is not None or along is not None)
        before = Replay(z.device)
        log_p = self._again(part, z)
        reach = Reach.of(log_p)
        # What lies outside of log_joint is on its graph too, for other chunks and for the user's backward pass. But a
        # compiled graph allows one backward pass only.
        keeps = not reach.is_compiled
        found = torch.zeros_like(z)
        if z.requires_grad and log_p.requires_grad:
            ones = torch.ones_like(log_p)
            (found,) = torch.autograd.grad(log_p, [z], ones, retain_graph=keeps, materialize_grads=True)
            if of_z is not None:
                part.put(of_z, found)
            if reach.is_compiled and model is not None:
                with before():
                    log_p = self._again(part, z)
        leaves = [] if model is None else list(reach.leaves - {z})
        if model is not None and leaves:
            weights = part.take(model).to(log_p.dtype)
            with _without_hooks(leaves):
                every = torch.autograd.grad(log_p, leaves, weights, retain_graph=keeps)
            _add(theta, leaves, every)
            if along is not None:
                with before():
                    self._along_prior_rows(part, found, model, along, theta)

    def _along_prior_rows(
        self, part: _Part, of_p: Tensor, model: Tensor, along: "_Along", theta: dict[Tensor, Tensor]
    ) -> None:
        """Add what makes theta's gradient at some rows go along samples of the prior."""
        assert self.joint.prior is not None
        spread = None if self.spread is None else part.rows(self.spread)
        with torch.enable_grad():
            z = part.take(self.located.z.detach()).requires_grad_()
            slopes = Slopes(of_p, part.take(along.slope_of_q), spread)
            found = prior_seeds(self.joint.prior, z, part.rows, slopes, part.take(model), part.take(along.square))
        if live := [(output, seed) for output, seed in found if output.requires_grad]:
            outputs, seeds = zip(*live, strict=True)
            leaves = list(frozenset[Tensor]().union(*(Reach.of(each).leaves for each in outputs)) - {z})
            with _without_hooks(leaves):
                every = torch.autograd.grad(outputs, leaves, seeds, retain_graph=True)
            _add(theta, leaves, every)

    def _again(self, part: _Part, z: Tensor) -> Tensor:
        """Return log p of some rows with its graph, and compare it with the first pass."""
        is_chosen = part.rows.examples is not None
        try:
            with torch.enable_grad():
                log_p = self.joint(z, part.rows)
        except (RuntimeError, IndexError) as error:
            if not is_chosen or isinstance(error, torch.OutOfMemoryError):
                raise
            message = f"fails for chosen rows, z of shape {tuple(z.shape)}: {error}"
            raise SpecError([Fault("log_joint", message)], hint=_HINT_ROWS) from error
        first = part.take(self.log_p)
        tolerance = _ROUNDING[log_p.dtype] * (1.0 + first.abs())
        same = (log_p.detach() == first) | ((log_p.detach() - first).abs() <= tolerance)
        if not same.all():
            hint = _HINT_ROWS if is_chosen else "leave k_chunk out if log_joint has a state"
            if faults := row_faults(self, insist=False):
                raise SpecError(faults, hint=hint)
            message = "it returns other values in the second pass than in the first one, so that the weights of its "
            message += "rows would be wrong. Entry (k, b) must be a function of z[k, b] and example b alone."
            raise SpecError([Fault("log_joint", message)], hint=hint)
        return log_p

    def _by_leaf(self, of_z: Tensor) -> Tensor:
        """Turn derivatives by z into derivatives by the leaf, through transforms without parameters."""
        if self.located.z is self.leaf:
            return of_z
        (found,) = torch.autograd.grad(self.located.z, self.leaf, of_z, retain_graph=True, materialize_grads=True)
        return found


@dataclass(frozen=True)
class _Along:
    """What the prior's gradient along its samples needs of all rows.

    Attributes:
        square: weights model - d model / d log w, (K, B).
        slope_of_q: d log q / d z at fixed parameters, (K, B, ...).
    """

    square: Tensor
    slope_of_q: Tensor


def _add(theta: dict[Tensor, Tensor], leaves: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    for leaf, gradient in zip(leaves, gradients, strict=True):
        theta[leaf] = theta[leaf] + gradient if leaf in theta else gradient


_HINT_ROWS = "take each tensor of examples by rows(x) inside log_joint; call .eval() on modules with batch statistics"


def choose(probability: Tensor, generator: torch.Generator | None) -> Tensor:
    """Keep each row with its probability, independently; float32 is too coarse for small ones."""
    device = probability.device if generator is None else generator.device
    uniform = torch.rand(probability.shape, dtype=torch.float64, device=device, generator=generator)
    return uniform.to(probability.device) < probability


def _chunks(k: int, batch: int, size: int) -> Iterator[_Part]:
    for first in range(0, k, size):
        yield _Part(slice(first, first + size), RowChoice(batch))


def _chosen(keep: Tensor, size: int) -> Iterator[_Part]:
    samples, examples = keep.nonzero(as_tuple=True)
    for k, b in zip(torch.split(samples, size), torch.split(examples, size), strict=True):
        if len(k):
            yield _Part((k, b), RowChoice(keep.shape[1], b))


@contextmanager
def _without_hooks(leaves: Sequence[Tensor]) -> Generator[None]:
    """Keep hooks of parameters for the user's backward pass: they must see the whole gradient, once."""
    hooks = [each._backward_hooks for each in cast("Sequence[Any]", leaves)]
    saved = [dict(each) if each else {} for each in hooks]
    for each in hooks:
        if each:
            each.clear()
    try:
        yield
    finally:
        for each, before in zip(hooks, saved, strict=True):
            if each is not None:
                each.update(before)


def draw_in_passes(
    log_joint: LogJoint,
    posterior: Distribution,
    pairs: Sequence[Pair],
    k: int,
    passes: Passes,
    prior: OwnPrior | None = None,
) -> SamplesInPasses:
    """Draw samples and compute their log-densities; log p in a pass without a graph.

    Args:
        log_joint: function that returns log p(x, z) of samples.
        posterior: a posterior that ``require_posterior`` accepts.
        pairs: pairs that will use the samples.
        k: samples per example.
        passes: how log_joint is called.
        prior: the prior, if ``log_joint`` returns log p(x | z) alone.

    Raises:
        SpecError: as ``draw_samples``; or log_joint cannot be screened.
        NotFinite: the derivative of a density by z cannot be computed.
    """
    joint = Joint.of(log_joint, prior)
    if passes.screen is not None and not joint.takes_rows:
        message = "has one parameter, z, and screening computes chosen rows only: it needs log_joint(z, rows)."
        hint = "write def log_joint(z, rows), and take the rows' examples inside it: x_rows = rows(x)"
        raise SpecError([Fault("log_joint", message)], hint=hint)
    along = prior is not None and prior.rule is not None
    unfolded, start, located = draw_located(posterior, pairs, k, along=along)
    log_p, replay = joint.first_pass(located.z.detach(), passes.k_chunk)
    if passes.screen is not None and replay.is_passed:
        message = "draws random numbers (dropout?), which screening cannot repeat for chosen rows alone."
        hint = "call .eval() on modules with dropout, or leave screen out"
        raise SpecError([Fault("log_joint", message)], hint=hint)
    spread = spread_of(posterior, prior)
    return SamplesInPasses(unfolded, start, located, joint, replay, log_p, log_p - located.log_q, spread, passes)
