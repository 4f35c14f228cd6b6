"""A user's module as a model of the engine."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.draws import LatentNoise, Noise
from dregcli.engine.dreams import Dreams
from dregcli.engine.execution.batch import chunks
from dregcli.engine.pairs import Pair, estimators_of
from dregcli.engine.prior_rule import PriorRule
from dregcli.engine.programs.batch import ProgramBatch, Programs
from dregcli.engine.programs.contract import Draw, Given, ModelData
from dregcli.engine.programs.densities import ModelDensities, without_validation
from dregcli.engine.programs.latents import Latents, draw_latents
from dregcli.engine.programs.transposed import FewChannels
from dregcli.engine.programs.trial import REGISTER, trial, unregistered_in_words
from dregcli.engine.programs.values import ProgramValues
from dregcli.errors import Fault, SpecError


class ProgramModel(ProgramValues):
    """A model whose densities are a user's two programs. Its state is the module's own, by the module's names.

    Theta and phi are found by one trial at the data's mean: theta is what log p(x, z) reaches in autograd's graph,
    and phi is what the samples or log q(z | x) reach. A parameter that the trial reaches in neither way may still be
    used for other examples or in training mode, so that it belongs to both: what reaches it trains it.

    Args:
        module: a module with the two programs of ``LatentModel``.
        data: shape and statistics of the data.

    Raises:
        SpecError: the programs do not fit the contract, or use tensors that require grad and that are no parameters.

    Attributes:
        module: the user's module.
        data: shape and statistics of the data.
        latents: shape of each latent, by name.
        discrete: names of the latents without ``rsample``, which have no path.
        integers: names of the latents whose samples are integers.
        unreached: names of the parameters that require grad and that the trial did not reach.
        widest: numbers for one row in the largest array that the model's program computes.
        kept: numbers for one row that the model's program keeps for a backward pass.
    """

    repeats = False

    def __init__(self, module: nn.Module, data: ModelData) -> None:
        super().__init__()
        self.module = module
        self.data = data
        self.densities = ModelDensities(self.model_program)
        self._values: Callable[[], AbstractContextManager[object]] = nullcontext
        self._recurrent = [each for each in module.modules() if isinstance(each, nn.RNNBase)]
        found = trial(module, data, self.posterior_program, self.densities)
        self.latents, self.discrete, self.integers = found.latents, found.discrete, found.integers
        self.widest, self.kept = max(found.of_p, default=1), sum(found.of_p)
        self._kept, self._by_blocks = sum(found.of_q), found.by_blocks
        self._by_batch = found.by_batch
        self._priors = found.priors
        # Compiled code would be compiled once more inside a mode.
        self._values = nullcontext if found.is_compiled else FewChannels
        self.latent_width = sum(torch.Size(shape).numel() for shape in self.latents.values())
        if found.unregistered:
            raise SpecError([Fault("model", unregistered_in_words(found.unregistered))], hint=REGISTER)
        self._trained = {name: each for name, each in module.named_parameters() if each.requires_grad}
        of_p, of_q = found.theta, found.phi
        self.unreached = [name for name, each in self._trained.items() if each not in of_p and each not in of_q]
        self._theta = {name: each for name, each in self._trained.items() if each in of_p or each not in of_q}
        self._phi = {name: each for name, each in self._trained.items() if each in of_q or each not in of_p}

    def posterior_program(self, x: Tensor, draw: Draw) -> None:
        """Run the posterior's program."""
        with without_validation(), self._differentiable():
            cast("Any", self.module).posterior(x, draw)

    def model_program(self, z: dict[str, Tensor], given: Given) -> Distribution:
        """Run the model's program."""
        convolutions = nullcontext if torch.is_grad_enabled() else self._values
        with without_validation(), convolutions(), self._differentiable():
            return cast("Any", self.module).model(z, given)

    def _differentiable(self) -> AbstractContextManager[object]:
        """Return a context in which recurrent layers in evaluation mode have derivatives: cuDNN's have none."""
        needs = torch.is_grad_enabled() and any(not each.training for each in self._recurrent)
        return torch.backends.cudnn.flags(enabled=False) if needs else nullcontext()

    def batch(self, pixels: Tensor, draws: Noise) -> ProgramBatch:
        """Return a batch for the executors."""
        return ProgramBatch(self._programs, pixels, draws)

    def log_posterior(self, dreams: Dreams) -> Tensor:
        """Return log q(z | x) at dreams, shape (B,), nats."""
        found = super().log_posterior(dreams)
        self._programs.require_known("q(z | x)", [found], self._phi)
        return found

    @property
    def _programs(self) -> Programs:
        return Programs(
            posterior=self.posterior_program,
            densities=self.densities,
            shape=self.data.shape,
            theta=self._theta,
            phi=self._phi,
            trained=self._trained,
            mixed=0 < len(self.discrete) < len(self.latents),
            kept=self._kept,
            by_blocks=self._by_blocks,
            priors=self._priors,
        )

    def model_parameters(self) -> dict[str, nn.Parameter]:
        """Return theta, by the module's names, with the parameters that the trial did not reach."""
        return self._theta

    def posterior_parameters(self) -> dict[str, nn.Parameter]:
        """Return phi, by the module's names, with the parameters that the trial did not reach."""
        return self._phi

    def prior_parameters(self) -> list[str]:
        """Return the names of the parameters that log p(z) depends on."""
        return [name for name, each in self._theta.items() if each in self._priors.parameters]

    @property
    def no_shared_batch(self) -> str | None:
        """The reason why ranks cannot share the examples of a step; None if they can."""
        if not self._by_batch:
            return None
        return "the model draws random numbers, such as dropout's, for all examples of a step at once."

    def no_prior_path(self, rule: PriorRule) -> str | None:
        """Return why theta's gradient cannot go along samples of the prior; None if it can."""
        return self._priors.refusal(rule)

    def draw(self, pixels: Tensor, draws: Noise, *, first: int = 0, count: int | None = None) -> Latents:
        """Run the posterior's program for some samples of each example.

        Args:
            pixels: shape (B, D).
            draws: random numbers of the samples.
            first: index of the first sample, a multiple of the noise block.
            count: number of samples; all if it is not given.
        """
        assert isinstance(draws, LatentNoise)
        x = pixels.reshape(-1, *self.data.shape)
        number = draws.k - first if count is None else count
        return Latents.joined(
            [
                draw_latents(self.posterior_program, x, draws, first=first + start, count=size, has_path=False)
                for start, size in chunks(number, NOISE_BLOCK if self._by_blocks else None)
            ]
        )

    def faults(self, pair: Pair) -> list[Fault]:
        """Return the reasons why the model cannot be trained by a pair: not every latent has a path."""
        if faults := super().faults(pair):
            return faults
        if not self.discrete or not pair.uses_path:
            return []
        names = ", ".join(repr(name) for name in self.discrete)
        if len(self.discrete) == len(self.latents):
            others = [each.name for each in estimators_of(pair.objective) if not each.uses_path(pair.objective)]
            words = ", ".join(others)
            advice = f"Use one of {words}." if words else "Use another objective, such as iwae with vimco."
            message = f"'{pair.word}' needs the gradient of samples, but those of {names} have none (no rsample)."
            return [Fault("estimator", f"{message} {advice}")]
        refusal = pair.mixed_refusal()
        return [Fault("objective", f"{refusal} The posterior of {names} has none.")] if refusal else []

    def fuse(self) -> None:
        """Compile the arithmetic of binary pixels."""
        self.densities.bernoulli.fuse()
        self.fused = True

    def unfuse(self) -> None:
        """Stop using compiled code."""
        self.densities.bernoulli.unfuse()
        self.fused = False

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - torch's own convention
        """Return the module's state, by the module's own names; as a part of another module, by torch's names."""
        if "destination" in kwargs:
            return super().state_dict(*args, **kwargs)
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Load the module's state."""
        return self.module.load_state_dict(state_dict, *args, **kwargs)
