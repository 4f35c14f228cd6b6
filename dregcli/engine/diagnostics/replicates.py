"""Independent replicates of many pairs' gradients on the same noise, for a frozen model or the Gaussian toy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

from dregcli.engine.draws import AddressedNoise
from dregcli.engine.dreams import DreamNoise
from dregcli.engine.execution import Execution
from dregcli.engine.execution.batch import Named
from dregcli.engine.gradients import Step
from dregcli.engine.models.base import Model
from dregcli.engine.models.gaussian_toy import GaussianToy, ToyProblem
from dregcli.engine.pairs import Pair
from dregcli.engine.prior_rule import RULES
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import Network, PriorGradient


@dataclass(frozen=True)
class Drawn:
    """n independent replicates, as descent directions.

    Attributes:
        gradients: for the encoder one sequence per pair, for the decoder one per distinct theta in the order of the
            pairs, and for a learned prior that many for each kind of its gradient in turn; (P, n, D) each.
        bound: the IWAE bound at K, mean over the examples, shape (n,), float64, nats.
        ess: effective sample size, mean over the examples, shape (n,), float64.
        unsure: coordinates of each network that belong to it only because no trial run reached their parameters.
    """

    gradients: dict[Network, Tensor]
    bound: Tensor
    ess: Tensor
    unsure: dict[Network, list[slice]] = field(default_factory=dict[Network, list[slice]])


class Replicates(Protocol):
    """Gradients that vary only with the noise of the samples.

    The noise is addressed: the same number of a stream gives the same noise for all pairs, and the noise of fewer
    samples is the beginning of the noise of more samples.
    """

    @property
    def at_once(self) -> int:
        """Number of replicates in one draw."""
        ...

    @property
    def device(self) -> torch.device:
        """The device of the gradients."""
        ...

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks that have gradients."""
        ...

    @property
    def prior_gradients(self) -> tuple[PriorGradient, ...]:
        """The kinds of gradients that a learned prior has; empty for a fixed prior."""
        ...

    def takes(self, pair: Pair) -> bool:
        """Return whether there are gradients by a pair."""
        ...

    def draw(
        self,
        stream: Stream,
        number: int,
        count: int,
        pairs: Sequence[Pair],
        k: int,
        prior: Sequence[PriorGradient] = (),
    ) -> Drawn:
        """Return the first ``count`` replicates of draw ``number``; equal numbers give equal replicates.

        Args:
            stream: stream of the noise.
            number: number of the draw.
            count: number of replicates.
            pairs: pairs to compute.
            k: samples per example.
            prior: kinds of the prior's gradients; at least one for a learned prior.
        """
        ...


def prior_gradients_of(model: Model) -> tuple[PriorGradient, ...]:
    """Return the kinds of gradients that a model's learned prior has; empty for a fixed prior."""
    if not model.prior_parameters():
        return ()
    return tuple(kind for kind, rule in RULES.items() if rule is None or model.no_prior_path(rule) is None)


def networks_of(model: Model) -> tuple[Network, ...]:
    """Return the networks of a model that have parameters; those of a learned prior are not the decoder's."""
    of_prior = frozenset(model.prior_parameters())
    there = {
        Network.ENCODER: True,
        Network.DECODER: bool(model.model_parameters().keys() - of_prior - set(model.unreached)),
        Network.PRIOR: bool(of_prior),
    }
    return tuple(network for network, is_there in there.items() if is_there)


class ModelReplicates:
    """Gradients of a model at fixed examples and pixels, for the mean over the examples.

    The parameters of a learned prior are not the decoder's, even those that the likelihood shares; for a parameter
    that q and p share, the encoder has q's part of the gradient.

    Args:
        model: frozen model.
        pixels: shape (B, D).
        randomness: random numbers of the noise.
        k_chunk: samples at once; None takes all.
    """

    at_once = 1

    def __init__(self, model: Model, pixels: Tensor, randomness: Randomness, *, k_chunk: int | None = None) -> None:
        self._model, self._pixels, self._randomness = model, pixels, randomness
        self._execution = Execution(k_chunk=k_chunk)
        self._of_prior = frozenset(model.prior_parameters())
        self.prior_gradients = prior_gradients_of(model)
        self.networks = networks_of(model)

    @property
    def device(self) -> torch.device:
        """The device of the pixels."""
        return self._pixels.device

    def takes(self, pair: Pair) -> bool:
        """Return whether the model can be trained by a pair."""
        return not self._model.faults(pair)

    def draw(
        self,
        stream: Stream,
        number: int,
        count: int,
        pairs: Sequence[Pair],
        k: int,
        prior: Sequence[PriorGradient] = (),
    ) -> Drawn:
        """Draw one replicate, by one forward and one backward pass for all pairs."""
        noise = AddressedNoise(
            self._randomness,
            stream,
            number,
            k=k,
            batch=len(self._pixels),
            width=self._model.latent_width,
            dtype=self._pixels.dtype,
        )
        dreams = DreamNoise(
            self._randomness,
            stream,
            number,
            batch=len(self._pixels),
            width=self._model.latent_width,
            dtype=self._pixels.dtype,
        )
        step = Step(self._model, self._pixels, noise, self._execution, dreams=dreams)
        theta, phi = step.each(tuple(pairs), train_model=True, rules=[RULES[each] for each in prior] or None)
        # The likelihood's own gradient is the same for every kind of the prior's gradient, up to rounding.
        thetas = len({pair.theta for pair in pairs})
        of = {
            Network.ENCODER: phi,
            Network.DECODER: {name: each[:thetas] for name, each in theta.items() if name not in self._of_prior},
            Network.PRIOR: {name: each for name, each in theta.items() if name in self._of_prior},
        }
        bound, _, ess = step.values.mean(dim=1, keepdim=True)
        unsure = {network: _spans(of[network], self._model.unreached) for network in self.networks}
        return Drawn({network: _flat(of[network]) for network in self.networks}, bound, ess, unsure)


def _spans(gradients: Named, names: Sequence[str]) -> list[slice]:
    """Return the coordinates of some parameters in the vectors of ``_flat``."""
    ends = list(accumulate(each[0].numel() for each in gradients.values()))
    spans = zip(gradients, [0, *ends], ends, strict=False)
    return [slice(start, end) for name, start, end in spans if name in names]


def _flat(gradients: Named) -> Tensor:
    """Turn gradients by parameter, (P, ...) each, into one vector per pair: (P, 1, D)."""
    return torch.cat([each.reshape(len(each), -1) for each in gradients.values()], dim=1).unsqueeze(1)


class ToyReplicates:
    """Gradients of the toy's b (encoder) and theta (decoder) at its data point, many replicates per batch.

    Args:
        problem: the toy.
        randomness: random numbers of the noise.
    """

    at_once = 50
    networks = (Network.ENCODER, Network.DECODER)
    prior_gradients: tuple[PriorGradient, ...] = ()

    def __init__(self, problem: ToyProblem, randomness: Randomness) -> None:
        self._problem, self._randomness = problem, randomness
        self._models: dict[int, GaussianToy] = {}

    @property
    def device(self) -> torch.device:
        """The device of the data point."""
        return self._problem.x.device

    def takes(self, pair: Pair) -> bool:
        """Return True: every sample of the toy has a path."""
        return True

    def draw(
        self,
        stream: Stream,
        number: int,
        count: int,
        pairs: Sequence[Pair],
        k: int,
        prior: Sequence[PriorGradient] = (),
    ) -> Drawn:
        """Draw replicates; each is one example of one batch. The prior has no gradient apart from the decoder's."""
        if count not in self._models:
            self._models[count] = self._problem.model.repeated(count)
        model, x = self._models[count], self._problem.x.expand(count, -1)
        noise = AddressedNoise(
            self._randomness,
            stream,
            number,
            k=k,
            batch=self.at_once,
            width=model.latent_width,
            dtype=x.dtype,
            examples=count,
        )
        dreams = DreamNoise(
            self._randomness,
            stream,
            number,
            batch=self.at_once,
            width=model.latent_width,
            dtype=x.dtype,
            examples=count,
        )
        step = Step(model, x, noise, Execution(), dreams=dreams)
        theta, phi = step.each(tuple(pairs), train_model=True)
        bound, _, ess = step.values
        # A step's gradients belong to the mean over its batch, so each replicate's gradient is ``count`` times
        # larger.
        return Drawn({Network.ENCODER: phi["b"] * count, Network.DECODER: theta["theta"] * count}, bound, ess)
