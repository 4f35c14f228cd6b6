"""All executors give any model the same gradients, and a plain twin those of the built-in networks."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from dregcli.engine import execution
from dregcli.engine.draws import AddressedDraws
from dregcli.engine.execution import Execution
from dregcli.engine.execution.screened import Screening
from dregcli.engine.gradients import Step
from dregcli.engine.models.linear_gaussian import LinearGaussian
from dregcli.engine.models.vae import Vae
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData, gaussian, standard_normal
from dregcli.engine.programs.pixels import Pixels
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import Backward, DataKind
from tests.support.every_pair import checked_pairs
from tests.support.exact import MODELS, off_networks, relative_distance, small_batch
from tests.support.plain_models import PlainVae
from tests.support.program_oracle import drawn
from tests.support.program_zoo import PATHS, SCORES, pixels_of
from tests.support.screening import off_gradients
from tests.support.sweep import swept

K = 20
"""One whole block of samples and a part of another."""
FEW = 4


@dataclass
class KeepsAll:
    """Draws that keep every row whatever its probability, and count it once."""

    own: AddressedDraws
    asked: list[Tensor] = field(default_factory=list[Tensor])

    @property
    def k(self) -> int:
        return self.own.k

    def noise(self, first: int, count: int) -> Tensor:
        return self.own.noise(first, count)

    def of_latent(self, latent: int, width: int):
        return self.own.of_latent(latent, width)

    def uniforms(self, latent: int, width: int, first: int, count: int):
        return self.own.uniforms(latent, width, first, count)

    def seed(self, latent: int, block: int) -> int:
        return self.own.seed(latent, block)

    def keep(self, probability: Tensor) -> Tensor:
        self.asked.append(probability.clone())
        probability.fill_(1.0)
        return torch.ones_like(probability, dtype=torch.bool)

    def choose(self, rate: float, batch: int) -> Tensor:
        return torch.zeros(batch, dtype=torch.bool)


EXECUTIONS = {
    "in chunks": Execution(k_chunk=16),
    "screened": Execution(Backward.SCREENED),
    "screened in chunks": Execution(Backward.SCREENED, k_chunk=16),
}


def off(model: ProgramModel, pair: Pair) -> dict[str, dict[str, float]]:
    """Executions whose gradients are not those of a dense one."""
    x = pixels_of(model)
    draws = drawn(model, k=K, batch=len(x))
    dense = Step(model, x, draws, Execution()).gradients(pair)
    found = {
        name: off_gradients(Step(model, x, KeepsAll(draws), each).gradients(pair), dense, 1e-11)
        for name, each in EXECUTIONS.items()
    }
    return {name: each for name, each in found.items() if each}


@swept("name", PATHS)
def test_chunks_and_kept_rows_give_denses_gradients(name: str) -> None:
    assert off(PATHS[name](), resolve_pair("iwae", "reparam", K)) == {}


@swept("name", SCORES)
def test_models_without_a_path(name: str) -> None:
    assert off(SCORES[name](), resolve_pair("iwae", "vimco", K)) == {}


@pytest.mark.parametrize("rows", [1, 7])
def test_kept_rows_in_several_passes_of_one_size(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the last pass is filled up by copies of a row, whose weights are 0."""

    def padded(*args: Any, **settings: Any) -> Screening:
        return Screening(*args, **{**settings, "capacity": rows, "pad": True})

    monkeypatch.setattr(execution, "Screening", padded)
    model = PATHS["two layers, Laplace above"]()
    x = pixels_of(model)
    draws = drawn(model, k=K, batch=len(x))
    pair = resolve_pair("iwae", "dreg", K)
    found = Step(model, x, KeepsAll(draws), Execution(Backward.SCREENED)).gradients(pair)
    assert off_gradients(found, Step(model, x, draws, Execution()).gradients(pair), 1e-11) == {}


class PlainLikelihoodVae(PlainVae):
    """The built-in VAE with any likelihood."""

    def __init__(self, vae: Vae) -> None:
        super().__init__(vae)
        self.likelihood, self.unit = vae.likelihood, 1.0 if vae.spread is None else vae.spread

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", gaussian(self.encoder((x.flatten(1) - self.mean) / self.unit)))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", standard_normal(self.latent_dim))
        return Pixels(self.likelihood, self.decoder(z["z"]), (len(self.mean),))


class PlainLinearGaussian(LatentModel):
    """The built-in linear Gaussian, from torch's own distributions."""

    def __init__(self, built_in: LinearGaussian) -> None:
        super().__init__()
        (self.encoder,), self.decoder = built_in.encoder, built_in.decoder
        self.log_noise = built_in.log_noise
        self.mean, self.spread, self.unit = built_in.mean, built_in.spread, built_in.unit

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", gaussian(self.encoder((x.flatten(1) - self.mean) / self.spread)))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", standard_normal(self.decoder.in_features))
        return Independent(Normal(self.unit * self.decoder(z["z"]), self.unit * self.log_noise.exp()), 1)


def _linear_gaussian() -> LinearGaussian:
    generator = Randomness(0).generator(Stream.INITIALISATION)
    spread = torch.linspace(0.4, 1.5, 12)
    return LinearGaussian(torch.linspace(0.05, 0.9, 12), latent_dim=3, generator=generator, spread=spread).double()


TWINS = {
    "vae": (lambda: MODELS["vae"].build(), PlainVae),
    "gaussian": (lambda: MODELS["gaussian"].build(), PlainLikelihoodVae),
    "discretised-logistic": (lambda: MODELS["discretised-logistic"].build(), PlainLikelihoodVae),
    "linear-gaussian": (_linear_gaussian, PlainLinearGaussian),
}


def _renamed(name: str) -> str:
    """A parameter's name in a built-in network: every second part of a plain one is a tanh."""
    network, _, rest = name.partition(".")
    index, _, kind = rest.partition(".")
    return f"{network}.{int(index) // 2}.{kind}" if kind else f"{network}.0.{rest}" if network == "encoder" else name


@pytest.mark.parametrize("way", [Execution(), *EXECUTIONS.values()], ids=["dense", *EXECUTIONS])
@pytest.mark.parametrize("twin", TWINS)
def test_the_fast_path_and_its_plain_twin_give_the_same_gradients(twin: str, way: Execution) -> None:
    """Every pair, with the same rows kept; both have the same networks, so only the way to the gradients differs."""
    build, plain = TWINS[twin]
    built_in = build()
    data = ModelData((12,), DataKind.REAL, 1, torch.zeros(12), torch.ones(12))
    model = ProgramModel(plain(built_in), data)
    if isinstance(built_in, Vae):
        x, _ = small_batch(built_in, k=1)
    else:
        x = built_in.mean + torch.linspace(0.0, 9.0, 48, dtype=torch.float64).sin().reshape(4, 12)
    # Jvi's weights of higher orders are small differences of large numbers: at a large K they keep fewer digits.
    k = FEW if way.k_chunk is None else K
    draws = drawn(model, k=k, batch=len(x))
    words = ("iwae/dreg", "iwae/reparam", "iwae/vimco", "rws/dreg", "jvi:order=1/stl", "vr-iwae:alpha=0.3/dreg")
    wanted = [resolve_pair(*word.split("/"), k) for word in words]
    if twin == "vae" and k == FEW:  # which rows are kept does not depend on the pair: a few show it
        wanted = list(checked_pairs(k))[:: 4 if way.backward is Backward.SCREENED else 1]
    faults: dict[str, object] = {}
    for pair in wanted:
        fast, slow = (Step(each, x, draws, way).gradients(pair) for each in (built_in, model))
        assert off_networks(slow.learned, fast.learned, 1e-9) == {}, pair.word
        for mine, theirs in ((fast.model, slow.model), (fast.posterior, slow.posterior)):
            again = {_renamed(name): each for name, each in theirs.items()}
            off = off_networks({name: again[name].reshape_as(each) for name, each in mine.items()}, mine)
            if off or set(again) != set(mine):
                faults[pair.word] = off or (set(again) ^ set(mine))
    assert faults == {}


def test_a_screened_step_keeps_some_rows_only() -> None:
    """The test above would prove nothing of screening if every row were kept."""
    model = PATHS["normal"]()
    x = pixels_of(model)
    draws = KeepsAll(drawn(model, k=K, batch=len(x)))
    Step(model, x, draws, Execution(Backward.SCREENED)).gradients(resolve_pair("iwae", "dreg", K))
    assert 0.2 < float((draws.asked[0] < 1.0).double().mean()) <= 1.0


def test_a_wrong_twin_is_seen() -> None:
    built_in = MODELS["vae"].build()
    twin = PlainVae(deepcopy(built_in))
    twin.encoder[0].bias = nn.Parameter(twin.encoder[0].bias + 1e-9)
    data = ModelData((12,), DataKind.REAL, 1, torch.zeros(12), torch.ones(12))
    model = ProgramModel(twin, data)
    x, _ = small_batch(built_in, k=1)
    draws, pair = drawn(model, k=K, batch=len(x)), resolve_pair("iwae", "dreg", K)
    fast, slow = (Step(each, x, draws, Execution()).gradients(pair) for each in (built_in, model))
    slow_posterior = {_renamed(name): each for name, each in slow.posterior.items()}
    assert relative_distance({name: slow_posterior[name] for name in fast.posterior}, fast.posterior) > 1e-12
