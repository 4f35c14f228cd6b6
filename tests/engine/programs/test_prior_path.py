"""Gradients of hierarchies with every treatment of the prior, by every executor, against three backward passes."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from dregcli.engine import execution
from dregcli.engine.execution import Execution
from dregcli.engine.execution.dense import DenseRows
from dregcli.engine.execution.screened import Screening
from dregcli.engine.execution.weighing import PairWeigh
from dregcli.engine.gradients import Step
from dregcli.engine.models.structured import StructuredVae
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData, gaussian
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.names import Backward, DataKind
from tests.engine.programs import test_mixed_latents as mixed
from tests.engine.programs.test_executors import EXECUTIONS, KeepsAll
from tests.support.exact import off_networks, relative_distance, small_batch, small_structured
from tests.support.hierarchies import HIERARCHIES
from tests.support.hierarchy_oracle import three_backward_passes
from tests.support.plain_models import sequential
from tests.support.prior_rules import RULES
from tests.support.program_oracle import drawn
from tests.support.program_zoo import PATHS, pixels_of
from tests.support.screening import Prescribed, expectation
from tests.support.sweep import swept
from tests.support.two_layers import ORDERS, Normals, TwoNumbers, X, built

K = 20
WORDS = ("iwae/dreg", "jvi:order=1/reparam")
"""Pairs with all arrays of row weights; the weights of the others are no part of the engine's work here."""


def off(name: str, mode: str, words: tuple[str, ...], ways: dict[str, Execution]) -> dict[tuple[str, str], float]:
    """Pairs and executions whose gradients are not the oracle's."""
    model = HIERARCHIES[name]()
    x = pixels_of(model)
    draws = drawn(model, k=K, batch=len(x))
    steps = {way: Step(model, x, KeepsAll(draws), each, rule=RULES[mode]) for way, each in ways.items()}
    found: dict[tuple[str, str], float] = {}
    for word in words:
        pair = resolve_pair(*word.split("/"), K)
        expected = three_backward_passes(model, x, draws, pair, mode)
        for way, step in steps.items():
            gradients = step.gradients(pair).whole()
            found[word, way] = relative_distance({n: gradients[n] for n in expected}, expected)
    return {what: each for what, each in found.items() if not each < 1e-10}


@swept("name, mode", [(name, mode) for name in HIERARCHIES for mode in RULES])
def test_the_oracles_gradient(name: str, mode: str) -> None:
    assert off(name, mode, WORDS, {"dense": Execution()}) == {}
    assert off(name, mode, WORDS[:1], EXECUTIONS) == {}


@pytest.mark.parametrize("mode", ["joint", "blend"])
def test_kept_rows_in_several_passes_of_one_size(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last pass is filled up by copies of a row, which have the weight 0 and the same samples."""

    def padded(*args: Any, **settings: Any) -> Screening:
        return Screening(*args, **{**settings, "capacity": 7, "pad": True})

    monkeypatch.setattr(execution, "Screening", padded)
    assert off("bottom-up", mode, WORDS[:1], {"padded": Execution(Backward.SCREENED)}) == {}


def test_latents_that_are_drawn_in_blocks() -> None:
    """Each block is a pass of its own, whose row weights are a part of the whole."""
    model = PATHS["two layers, Laplace above"]()
    x = pixels_of(model)
    draws, pair = drawn(model, k=K, batch=len(x)), resolve_pair(*WORDS[0].split("/"), K)
    dense, score = (
        Step(model, x, draws, Execution(), rule=RULES[rule]).gradients(pair) for rule in ("joint", "score")
    )
    assert relative_distance(dense.model, score.model) > 1e-3
    for way in EXECUTIONS.values():
        found = Step(model, x, KeepsAll(draws), way, rule=RULES["joint"]).gradients(pair)
        assert relative_distance(found.model, dense.model) < 1e-12


@pytest.mark.parametrize("rule", ["joint", "blend"])
@pytest.mark.parametrize("word", ["iwae/dreg", "rws/dreg-norm", "jvi:order=1/vimco"])
def test_screening_has_denses_expectation(rule: str, word: str) -> None:
    """Every mask is enumerated."""
    model = PATHS["two layers"]()
    noise = torch.linspace(0.0, 40.0, 3 * model.latent_width, dtype=torch.float64).sin().reshape(3, 1, -1) * 1.7
    pair, nothing = resolve_pair(*word.split("/"), 3), torch.zeros(1, 1, dtype=torch.bool)
    x, way = pixels_of(model, 1), Execution(Backward.SCREENED, 3.0)
    dense = Step(model, x, Prescribed(noise, nothing, nothing[0]), Execution(), rule=RULES[rule]).gradients(pair)
    found = expectation(model, x, noise, pair, way, rule=RULES[rule])
    assert found.uncertain >= 2
    assert found.off(dense, 1e-10) == {}


def test_each_pair_of_one_step_has_its_own_gradient() -> None:
    model = HIERARCHIES["top-down"]()
    x = pixels_of(model)
    draws = drawn(model, k=K, batch=len(x))
    pairs = tuple(resolve_pair(*word.split("/"), K) for word in (*WORDS, "rws/dreg", "piwae:groups=4/stl"))
    theta, phi = Step(model, x, draws, Execution(), rule=RULES["joint"]).each(pairs, train_model=True)
    objectives = list(dict.fromkeys(pair.objective for pair in pairs))
    for i, pair in enumerate(pairs):
        alone = Step(model, x, draws, Execution(), rule=RULES["joint"]).gradients(pair)
        assert (
            off_networks({n: each[objectives.index(pair.objective)] for n, each in theta.items()}, alone.model) == {}
        )
        assert off_networks({n: each[i] for n, each in phi.items()}, alone.posterior) == {}


# Identities.


def test_one_sample_makes_dreg_and_stl_the_same() -> None:
    model = HIERARCHIES["bottom-up"]()
    x = pixels_of(model)
    step = Step(model, x, drawn(model, k=1, batch=len(x)), Execution())
    dreg, stl = (step.gradients(resolve_pair("iwae", word, 1)).posterior for word in ("dreg", "stl"))
    assert relative_distance(dreg, stl) < 1e-14


def exact_posterior(order: str) -> ProgramModel:
    """Linear means and fixed scales, with q = p(z1, z2 | x)."""
    module = TwoNumbers(order, bend=_same)
    with torch.no_grad():
        module.p1[3] = 0.0
        a, b, c, d, log_noise = module.decoder
        p0, p1, log_below, _ = module.p1
        # Precision and precision times mean of (z1, z2) given x.
        below, top, noise = (each.mul(-2.0).exp() for each in (log_below, module.top[1], log_noise))
        slope = torch.stack([torch.stack([a, b]), torch.stack([d, c])])
        across = torch.stack([torch.ones_like(p1), -p1])
        precision = below * torch.outer(across, across) + noise * slope.mT @ slope
        precision[1, 1] += top
        weighted = below * p0 * across + noise * slope.mT @ X
        weighted[1] += top * module.top[0]
        covariance = torch.linalg.inv(precision)
        mean = covariance @ weighted
        first, second = (0, 1) if order == "bottom-up" else (1, 0)
        networks = (module.q1, module.q2)
        nothing = torch.zeros_like(p0)
        networks[first].copy_(torch.stack([mean[first], nothing, 0.5 * covariance[first, first].log(), nothing]))
        tilt = covariance[0, 1] / covariance[first, first]
        start, scale = mean[second] - tilt * mean[first], -0.5 * precision[second, second].log()
        networks[second].copy_(torch.stack([start, tilt, scale, nothing]))
    return built(module)


def _same(z: Tensor) -> Tensor:
    return z


@pytest.mark.parametrize("order", ORDERS)
def test_no_path_gradient_in_any_layer_if_q_is_the_posterior(order: str) -> None:
    model = exact_posterior(order)
    noise = torch.linspace(0.0, 30.0, 8, dtype=torch.float64).sin().reshape(4, 1, 2)
    step = Step(model, X.unsqueeze(0), Normals(noise), Execution())
    dreg, reparam = (step.gradients(resolve_pair("iwae", word, 4)) for word in ("dreg", "reparam"))
    assert float(dreg.log_w.std()) < 1e-13
    for name, each in dreg.posterior.items():
        assert float(each.abs().max()) < 1e-13
        assert float(reparam.posterior[name].abs().max()) > 0.05


# Models with a latent of another kind.


@cache
def of_the_number(order: str, rule: str, word: str) -> Tensor:
    """Expected gradient by the numbers of p; one of them is the slope of the number's prior by the bit."""
    model = mixed._model(order)
    bits, normals, _ = mixed._columns()
    probability = mixed._written_out(order)[2].detach()
    model.module.bits = bits  # type: ignore[assignment]
    try:
        batch = model.batch(mixed.X.expand(len(probability), -1), mixed._GivenNormals(normals))
        pair = resolve_pair(*word.split("/"), mixed.K)
        rows = DenseRows(batch, PairWeigh((pair,), learning=False, mixed=True, rules=(RULES[rule],)), k_chunk=None)
        value, *arrays = rows.weights.arrays()
        scaled = [None if each is None else each * -probability * len(probability) for each in arrays]
        return rows.sums(rows.weights.with_arrays((value, *scaled))).model[0]["p"]
    finally:
        model.module.bits = None  # type: ignore[assignment]


@pytest.mark.parametrize("order", mixed.ORDERS)
@pytest.mark.parametrize(("rule", "word"), [("joint", "iwae/dreg"), ("blend", "iwae/dreg"), ("joint", "rws/dreg")])
def test_a_learned_prior_beside_a_bit(order: str, rule: str, word: str) -> None:
    found, score = of_the_number(order, rule, word), of_the_number(order, "score", word)
    torch.testing.assert_close(found, score, rtol=0.0, atol=5e-6)
    assert abs(float(score[1])) > 0.01
    # The bit's prior and the likelihood keep their gradients.
    torch.testing.assert_close(found[[0, 2, 3]], score[[0, 2, 3]], rtol=1e-12, atol=0.0)


# The fast path.


class _Target(Distribution):
    """Bits of a part of an image; the rest of it is given."""

    arg_constraints = {}  # noqa: RUF012 - as in torch

    def __init__(self, logits: Tensor, given: int) -> None:
        self._logits, self._given = logits, given
        super().__init__(logits.shape[:2], torch.Size((given + logits.shape[-1],)), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        value = value[..., self._given :].expand_as(self._logits)
        return -nn.functional.binary_cross_entropy_with_logits(self._logits, value, reduction="none").sum(-1)


class PlainStructured(LatentModel):
    """The built-in structured model for images with the same context, as two programs."""

    def __init__(self, built_in: StructuredVae, context: Tensor) -> None:
        super().__init__()
        self.prior, self.encoder = (sequential(each) for each in (built_in.prior, built_in.encoder))
        self.first, self.context_layer = built_in.decoder[0], built_in.context_layer
        self.rest = sequential(built_in.decoder[1:])
        self.mean, self.context = built_in.mean, context

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", gaussian(self.encoder(x - self.mean)))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", gaussian(self.prior(self.context - self.mean[: len(self.context)])))
        hidden = self.first(z["z"]) + self.context_layer(self.context)
        return _Target(self.rest(torch.tanh(hidden)), len(self.context))


@pytest.mark.parametrize("rule", RULES)
def test_a_plain_twin_of_the_structured_model_has_the_fast_paths_gradients(rule: str) -> None:
    model = small_structured()
    x = small_batch(model, k=1)[0]
    context = x[0, :5]
    x[:, :5] = context
    data = ModelData((12,), DataKind.REAL, 1, torch.zeros(12), torch.ones(12))
    twin = ProgramModel(PlainStructured(model, context), data)
    draws = drawn(twin, k=4, batch=len(x))
    for way in (Execution(), Execution(Backward.SCREENED, 3.0)):
        for word in ("iwae/dreg", "rws/dreg", "jvi:order=1/stl"):
            pair = resolve_pair(*word.split("/"), 4)
            fast, slow = (Step(each, x, draws, way, rule=RULES[rule]).gradients(pair) for each in (model, twin))
            for network in ("prior", "context_layer", "encoder"):
                mine, same = (_of(network, {**each.model, **each.posterior}) for each in (fast, slow))
                assert float((mine - same).norm() / mine.norm()) < 1e-12


def _of(network: str, gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([each.flatten() for name, each in gradients.items() if name.startswith(network)])
