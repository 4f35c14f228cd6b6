"""What one's own model must fulfil: rows that are independent, a support that does not move, no jump on a path."""

import functools
import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Beta,
    Cauchy,
    Dirichlet,
    Distribution,
    Exponential,
    Gamma,
    HalfNormal,
    Independent,
    Kumaraswamy,
    Laplace,
    LogNormal,
    MultivariateNormal,
    Normal,
    OneHotCategoricalStraightThrough,
    Pareto,
    RelaxedBernoulli,
    StudentT,
    TransformedDistribution,
    Uniform,
    Weibull,
    Wishart,
    constraints,
)
from torch.distributions.transforms import AffineTransform, SigmoidTransform, TanhTransform

from dregcli.engine import check_bias, gradient_report, multi_sample_loss
from dregcli.engine.checks.score_identity import support_moves
from dregcli.engine.own.rows import RowChoice
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.posteriors import Unfolded
from dregcli.errors import SpecError
from tests.support.every_pair import checked_pairs
from tests.support.given_noise import GivenNoise

Builder = Callable[[Tensor, Tensor], Distribution]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


# --- a support that moves ---


class Truncated(Distribution):
    """A standard normal between a and a + s, by its inverse distribution function; it does not say its support."""

    has_rsample = True

    def __init__(self, a: Tensor, s: Tensor) -> None:
        super().__init__(a.shape, validate_args=False)
        self.a, self.s = a, s

    def _ends(self) -> tuple[Tensor, Tensor]:
        normal = Normal(0.0, 1.0)
        return normal.cdf(self.a), normal.cdf(self.a + self.s)

    def rsample(self, sample_shape=()):
        low, high = self._ends()
        u = torch.rand(*sample_shape, *self.a.shape, dtype=self.a.dtype)
        return Normal(0.0, 1.0).icdf(low + u * (high - low))

    def log_prob(self, value):
        low, high = self._ends()
        return Normal(0.0, 1.0).log_prob(value) - (high - low).log()


class SaysReal(Truncated):
    support = constraints.real


class UniformAmongNormals(Distribution):
    """Eight independent latents, of which one is uniform."""

    has_rsample = True

    def __init__(self, a: Tensor, s: Tensor) -> None:
        super().__init__(a.shape, torch.Size([8]), validate_args=False)
        self.a, self.s, self.is_uniform = a[:, None], s[:, None], torch.arange(8) == 3

    def rsample(self, sample_shape=()):
        e = torch.randn(*sample_shape, *self.a.shape[:1], 8, dtype=self.a.dtype)
        return self.a + self.s * torch.where(self.is_uniform, torch.rand_like(e), e)

    def log_prob(self, value):
        x = (value - self.a) / self.s
        return (torch.where(self.is_uniform, 0.0, Normal(0.0, 1.0).log_prob(x)) - self.s.log()).sum(-1)


def shifted(base: Distribution, a: Tensor) -> Distribution:
    return TransformedDistribution(base, [AffineTransform(a, 1.0)])


def stretched(base: Distribution, a: Tensor, s: Tensor) -> Distribution:
    return TransformedDistribution(base, [AffineTransform(a, s)])


class FixedWidth(Distribution):
    """Uniform between a and a + 1, whose density does not depend on a: only the samples do."""

    has_rsample = True

    def __init__(self, a: Tensor, s: Tensor) -> None:
        super().__init__(a.shape, validate_args=False)
        self.a = a

    def rsample(self, sample_shape=()):
        return self.a + torch.rand(*sample_shape, *self.a.shape, dtype=self.a.dtype)

    def log_prob(self, value):
        return 0.0 * value


ONE = torch.ones(1, dtype=torch.float64)
MOVING: dict[str, Builder] = {
    "uniform": lambda a, s: Uniform(a - s, a + s),
    "uniform, three latents": lambda a, s: Independent(
        Uniform(a[:, None] - s[:, None], (a + s)[:, None] + ONE[0]), 1
    ),
    "shifted half-normal": lambda a, s: shifted(HalfNormal(s), a),
    "shifted exponential": lambda a, s: shifted(Exponential(s), a),
    "stretched uniform": lambda a, s: stretched(Uniform(0.0 * ONE, ONE), a, s),
    "stretched logistic": lambda a, s: TransformedDistribution(
        Uniform(0.0 * ONE, ONE), [SigmoidTransform().inv, SigmoidTransform(), AffineTransform(a, s)]
    ),
    "pareto": lambda a, s: Pareto(s, 3.0 + a),
    "truncated": Truncated,
    "truncated, said to be real": SaysReal,
    "one of eight": UniformAmongNormals,
    "of fixed width": FixedWidth,
    "shifted uniform": lambda a, s: shifted(Uniform(0.0 * ONE, ONE), a),
    # A jump at one border, and a density that vanishes at the other one.
    "stretched beta, one jump": lambda a, s: stretched(Beta(ONE, 1.5 * ONE), a, s),
    # Infinite at the border.
    "shifted sharp gamma": lambda a, s: shifted(Gamma(0.5 * ONE, ONE), a),
    "stretched sharp beta": lambda a, s: stretched(Beta(0.8 * ONE, 0.8 * ONE), a, s),
}
FIXED: dict[str, Builder] = {
    "normal": Normal,
    "student": lambda a, s: StudentT(2.5 + a, a, s),
    "cauchy": Cauchy,
    "laplace": Laplace,
    "lognormal": LogNormal,
    "half-normal": lambda a, s: HalfNormal(s),
    "exponential": lambda a, s: Exponential(s),
    "gamma": lambda a, s: Gamma(1.0 + s, s + a),
    "sharp gamma": lambda a, s: Gamma(0.3 * s, s + a),
    "beta": lambda a, s: Beta(s, s + a),
    "dirichlet": lambda a, s: Dirichlet((s + a).expand(1, 4)),
    "kumaraswamy": lambda a, s: Kumaraswamy(1.0 + s, s + a),
    "weibull": lambda a, s: Weibull(1.0 + s, s + a),
    "relaxed": lambda a, s: RelaxedBernoulli(0.5 * ONE[0], logits=a),
    "multivariate": lambda a, s: MultivariateNormal(a.expand(1, 3), scale_tril=s * torch.eye(3, dtype=s.dtype)[None]),
    "wishart": lambda a, s: Wishart(s.new_tensor([5.0]), scale_tril=s * torch.eye(2, dtype=s.dtype)[None]),
    # Supports that move, with a density that vanishes there: the identity holds.
    "shifted gamma": lambda a, s: shifted(Gamma(3.0 * ONE, s), a),
    "shifted gamma that vanishes slowly": lambda a, s: shifted(Gamma(1.05 * ONE, s), a),
    "stretched beta that vanishes slowly": lambda a, s: stretched(Beta(1.1 * ONE, 1.1 * ONE), a, s),
    "stretched beta": lambda a, s: stretched(Beta(2.0 * ONE, 2.0 * ONE), a, s),
    "stretched tanh": lambda a, s: TransformedDistribution(Normal(a, s), [TanhTransform(), AffineTransform(a, s)]),
}


def parameters() -> tuple[Tensor, Tensor]:
    return (0.2 * ONE).clone().requires_grad_(), (0.9 * ONE).clone().requires_grad_()


def log_normal_joint(z: Tensor) -> Tensor:
    """log N(z; 1, .8), summed over the latents of a sample."""
    return Normal(1.0, 0.8).log_prob(z.clamp(-50.0, 50.0)).reshape(*z.shape[:2], -1).sum(-1)


@pytest.mark.parametrize("name", list(MOVING))
def test_a_support_that_moves_is_refused_but_for_reparam(name: str) -> None:
    """Every pair that rests on a mean score of 0; reparam of an objective with a path does not."""
    a, s = parameters()
    theta = torch.ones((), dtype=torch.float64, requires_grad=True)
    build = MOVING[name]
    for objective, estimator in (("iwae", "dreg"), ("elbo", "stl"), ("iwae", "vimco"), ("rws", "reparam")):
        # A density that does not depend on the parameter at all has a dead score, which is seen first.
        with pytest.raises(SpecError, match=r"support moves[\s\S]*next: use estimator 'reparam'|a dead score"):
            multi_sample_loss(lambda z: theta * log_normal_joint(z), build(a, s), 4, objective, estimator, check=True)
    if name == "of fixed width":  # its score is 0, which cannot be told from a log_prob that is detached
        return
    for objective in ("elbo", "iwae", "jvi", "piwae:groups=2"):
        loss, _ = multi_sample_loss(log_normal_joint, build(a, s), 4, objective, "reparam")
        assert all(torch.isfinite(each).all() for each in torch.autograd.grad(loss, (a, s), materialize_grads=True))
    named = {"a": a} if name in ("shifted uniform", "shifted sharp gamma") else {"a": a, "s": s}
    for estimators in (["reparam"], ["dreg"]):
        with pytest.raises(SpecError, match="no score identity holds"):
            check_bias(lambda: (log_normal_joint, build(a, s)), named, 4, estimators=estimators)
    (report,) = gradient_report(lambda: (log_normal_joint, build(a, s)), named, 4, estimators=["reparam"], batches=4)
    assert report.total.variance > 0.0


@pytest.mark.filterwarnings("ignore:Singular sample:UserWarning")  # of torch's Wishart
@pytest.mark.parametrize("name", list(FIXED))
def test_other_supports_are_taken(name: str) -> None:
    """Four times, by different samples: an alarm's probability is 1e-6 at each."""
    a, s = parameters()
    for seed in range(4):
        torch.manual_seed(seed)
        multi_sample_loss(log_normal_joint, FIXED[name](a, s), 4, check=True)


def test_samplers_without_a_path() -> None:
    """Without a derivative of z there is its word, and the mean score."""

    class NoPath(Uniform):
        has_rsample = False

    class NoPathAndNoWord(NoPath):
        support = constraints.real

    a, s = parameters()
    theta = torch.ones((), requires_grad=True)
    moving, fixed = (a - s, a + s), (a.detach(), (a + s).detach())
    straight = OneHotCategoricalStraightThrough(logits=(a * torch.arange(3.0))[None])
    for posterior, moves in (
        (NoPath(*moving), True),
        (NoPathAndNoWord(*moving, validate_args=False), True),
        (NoPath(*fixed), False),
        (straight, False),
    ):
        with pytest.raises(SpecError, match="support moves") if moves else nullcontext():
            multi_sample_loss(lambda z: theta * log_normal_joint(z), posterior, 4, estimator="vimco")


def test_reparam_of_a_moving_support_by_its_closed_form() -> None:
    """The ELBO of N(1, .8) and Uniform(a - s, a + s): its derivatives are (1 - a) / .64 and 1 / s - s / (3 * .64).

    The examples are the 4,000 midpoints of the noise, so that their mean is the expectation.
    """
    a, s = parameters()
    u = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    posterior = Uniform((a - s).expand(4000), (a + s).expand(4000))
    posterior.rsample = lambda shape: (posterior.low + (posterior.high - posterior.low) * u)[None]

    def log_normal_joint(z: Tensor) -> Tensor:
        return Normal(1.0, 0.8).log_prob(z)

    loss, _ = multi_sample_loss(log_normal_joint, posterior, 1, "elbo", "reparam", check=False)
    by_a, by_s = torch.autograd.grad(loss, (a, s))
    assert by_a.item() == pytest.approx(-1.25, abs=1e-6)
    assert by_s.item() == pytest.approx(-(1 / 0.9 - 0.9 / 1.92), abs=1e-6)
    wrong = multi_sample_loss(log_normal_joint, posterior, 1, "elbo", "stl", check=False)[0]
    assert torch.autograd.grad(wrong, s)[0].item() > 0.4  # the wrong sign, where nobody looked


def test_only_pairs_whose_path_is_minus_their_score_need_no_identity() -> None:
    log_w = torch.randn(8, 3, dtype=torch.float64)
    for pair in checked_pairs(8):
        _, c = pair.at(log_w)
        assert pair.needs_score_identity or torch.equal(c.path, -c.score), pair.word
    assert not resolve_pair("miwae:groups=2", "reparam", 8).needs_score_identity
    assert resolve_pair("rws", "reparam", 8).needs_score_identity


# --- rows ---


def batch_norm_joint(k: int, batch: int, *, train: bool, norm: Callable[[int], nn.Module] = nn.BatchNorm1d):
    net = nn.Sequential(nn.Linear(3, 7), norm(7), nn.Tanh(), nn.Linear(7, 5)).train(train)
    x = torch.rand(batch, 5).round()

    def log_joint(z: Tensor) -> Tensor:
        logits = net(z.reshape(-1, 3)).reshape(k, batch, 5)
        return -z.square().sum(-1) + Independent(Bernoulli(logits=logits), 1).log_prob(x)

    return log_joint


def energy(z: Tensor) -> Tensor:
    return -(z - 1.0).square().sum(-1)


def paired_by_sample(k: int, batch: int):
    x = torch.randn(batch, 3)
    return lambda z: -(z - x[:, None]).square().sum(-1)


def repeated_wrongly(k: int, batch: int):
    x = torch.randn(batch, 3).repeat_interleave(k, 0)
    return lambda z: -(z.reshape(k * batch, 3) - x).square().sum(-1).reshape(k, batch)


def with_scores(k: int, batch: int):
    def log_joint(z: Tensor) -> Tensor:
        leaf = z if z.requires_grad else z.detach().requires_grad_()
        (score,) = torch.autograd.grad(energy(leaf).sum(), leaf, create_graph=True)
        return energy(leaf) - 0.1 * score.square().sum(-1)

    return log_joint


def with_a_state(k: int, batch: int):
    generator = torch.Generator().manual_seed(0)
    return lambda z: energy(z) * torch.rand((), generator=generator)


DEPENDENT: dict[str, Callable[[int, int], Callable[[Tensor], Tensor]]] = {
    "batch norm": lambda k, b: batch_norm_joint(k, b, train=True),
    "view that swaps": lambda k, b: lambda z: energy(z.reshape(-1, 3)).view(b, k).T,
    "mean over samples": lambda k, b: lambda z: energy(z - z.mean(0)),
    "mean over examples": lambda k, b: lambda z: energy(z - z.mean(1, keepdim=True)),
    "softmax over samples": lambda k, b: lambda z: energy(z).log_softmax(0),
    "reversed": lambda k, b: lambda z: energy(z.flip(1)),
}
INDEPENDENT: dict[str, Callable[[int, int], Callable[[Tensor], Tensor]]] = {
    "batch norm in eval mode": lambda k, b: batch_norm_joint(k, b, train=False),
    "layer norm": lambda k, b: batch_norm_joint(k, b, train=True, norm=nn.LayerNorm),
    "dropout": lambda k, b: batch_norm_joint(k, b, train=True, norm=lambda width: nn.Dropout(0.5)),
    "energy": lambda k, b: energy,
    "scores inside": with_scores,
}
SIZES = [(2, 2), (4, 4), (5, 3), (32, 16)]


def gaussian(batch: int) -> Distribution:
    return Independent(Normal(torch.randn(batch, 3).requires_grad_(), 1.0), 1)


@pytest.mark.parametrize("estimator", ["dreg", "vimco"])
def test_rows_that_depend_on_each_other_are_refused(estimator: str) -> None:
    missed: list[str] = []
    for k, batch in SIZES:
        wrong = dict(DEPENDENT)
        if k == batch:
            wrong["swapped"] = lambda k, b: lambda z: energy(z).T
            wrong["x paired with samples"] = paired_by_sample
        elif k > 1:
            wrong["x repeated in the wrong order"] = repeated_wrongly
        for name, make in wrong.items():
            log_joint = make(k, batch)
            for _ in range(2):  # what was refused is not taken at the second call
                try:
                    multi_sample_loss(log_joint, gaussian(batch), k, estimator=estimator)
                except SpecError as error:
                    if "sample" not in str(error) or error.faults[0].field != "log_joint":
                        missed.append(f"{name} {k} {batch}: {error}")
                else:
                    missed.append(f"{name} {k} {batch}")
        for make in INDEPENDENT.values():
            multi_sample_loss(make(k, batch), gaussian(batch), k, estimator=estimator, check=True)
    assert not missed


def test_rows_of_discrete_latents_of_one_sample_and_of_the_density() -> None:
    discrete = Independent(Bernoulli(logits=torch.zeros(6, 3, requires_grad=True)), 1)
    with pytest.raises(SpecError, match="log_joint"):
        multi_sample_loss(batch_norm_joint(4, 6, train=True), discrete, 4, estimator="vimco")
    multi_sample_loss(batch_norm_joint(4, 6, train=False), discrete, 4, estimator="vimco")
    with pytest.raises(SpecError, match="log_joint"):
        multi_sample_loss(DEPENDENT["mean over examples"](1, 6), gaussian(6), 1)

    class Centred(GivenNoise):
        def log_prob(self, value):
            return super().log_prob(value - value.mean(0))

    noise = torch.randn(4, 6, 3)
    with pytest.raises(SpecError, match=r"posterior: log q of a sample changes"):
        multi_sample_loss(energy, Centred(torch.zeros(6, 3, requires_grad=True), torch.ones(6, 3), noise), 4)


def test_a_mode_that_changes_later_is_seen() -> None:
    """A first call in eval mode does not vouch for training mode: the graph's nodes tell."""
    net = nn.Sequential(nn.Linear(3, 7), nn.BatchNorm1d(7), nn.Linear(7, 1)).eval()

    def log_joint(z: Tensor) -> Tensor:
        return energy(z) + net(z.reshape(-1, 3)).reshape(4, 5)

    multi_sample_loss(log_joint, gaussian(5), 4)
    net.train()
    with pytest.raises(SpecError, match="BatchNorm"):
        multi_sample_loss(log_joint, gaussian(5), 4)


class Mean:
    def __init__(self, wrong: bool) -> None:
        self.mean = torch.zeros(1, 3)[None] if not wrong else None

    def __call__(self, z: Tensor) -> Tensor:
        return energy(z - (z.mean(0) if self.mean is None else self.mean))


def test_what_was_met_does_not_vouch_for_another_model() -> None:
    """The same wrapper, class or factory, and a global without a graph: each first right, and then wrong."""
    norm = nn.Sequential(nn.Linear(3, 7), nn.BatchNorm1d(7), nn.Linear(7, 1)).eval()

    def of_x(x: Tensor):
        return lambda z: -(z - x).square().sum(-1)

    def by_name(z: Tensor) -> Tensor:
        return energy(z) + norm(z.reshape(-1, 3)).reshape(4, 4)

    x = torch.randn(4, 3)
    compiled = [torch.compile(f, backend="eager") for f in (energy, lambda z: energy(z - z.mean(0)))]
    pairs = [(of_x(x[None]), of_x(x[:, None])), (Mean(False), Mean(True)), tuple(compiled)]
    for right, wrong in pairs:
        multi_sample_loss(right, gaussian(4), 4)
        with pytest.raises(SpecError, match="log_joint"):
            multi_sample_loss(wrong, gaussian(4), 4)
    with torch.no_grad():
        multi_sample_loss(by_name, gaussian(4), 4)
        norm.train()
        with pytest.raises(SpecError, match="log_joint"):
            multi_sample_loss(by_name, gaussian(4), 4)


def centred(z: Tensor, axis: int = -1, *, net: nn.Module | None = None, factor: float = 1.0) -> Tensor:
    """Right for the last axis."""
    mean = z.mean(axis, keepdim=True)
    return energy(z - factor * (mean if net is None else net(mean)))


def zeros(value: float) -> nn.Module:
    net = nn.Linear(3, 3)
    with torch.no_grad():
        for each in net.parameters():
            each.fill_(value)
    return net


def test_settings_and_modules_of_one_function_are_known_apart() -> None:
    """The same graph, with another axis, another factor or other weights: each first right, and then wrong."""

    def closed(axis: int) -> Callable[[Tensor], Tensor]:
        return lambda z: centred(z, axis)

    def defaulted(axis: int) -> Callable[[Tensor], Tensor]:
        return lambda z, axis=axis: centred(z, axis)

    right, wrong = zeros(0.0), zeros(1.0)
    pairs: list[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = [
        (closed(-1), closed(0)),
        (functools.partial(centred, axis=-1), functools.partial(centred, axis=0)),
        (defaulted(-1), defaulted(0)),
        (functools.partial(centred, axis=0, factor=0.0), functools.partial(centred, axis=0, factor=0.5)),
        (functools.partial(centred, axis=0, net=right), functools.partial(centred, axis=0, net=wrong)),
    ]
    for one, other in pairs:
        multi_sample_loss(one, gaussian(4), 4)
        with pytest.raises(SpecError, match="log_joint"):
            multi_sample_loss(other, gaussian(4), 4)


def test_a_setting_that_changes_in_each_call_is_tried_out_more_and_more_rarely() -> None:
    """All calls beyond the first kinds count together, and the 100th of them is checked."""
    factor, seen = torch.zeros(()), list[int]()

    def log_joint(z: Tensor, step: int) -> Tensor:
        seen.append(step)
        return energy(z - factor * z.mean(0))

    def step(number: int) -> None:
        multi_sample_loss(functools.partial(log_joint, step=number), gaussian(4), 4)

    for number in range(115):
        step(number)
    often = {number for number in range(115) if seen.count(number) > 1}
    assert often == {*range(17), 25}
    factor.fill_(1.0)
    with pytest.raises(SpecError, match="log_joint"):
        step(115)


def test_a_log_joint_with_a_state_is_not_tried_out() -> None:
    multi_sample_loss(with_a_state(4, 5), gaussian(5), 4)
    with pytest.raises(SpecError, match="returns other values for the same samples"):
        multi_sample_loss(with_a_state(4, 5), gaussian(5), 4, check=True)


def test_it_is_tried_out_again_at_the_tenth_call() -> None:
    """What holds depends on parameters: here a mean over samples whose factor has become 1."""
    factor = torch.zeros(())

    def log_joint(z: Tensor) -> Tensor:
        return energy(z - factor * z.mean(0))

    posterior = gaussian(5)
    multi_sample_loss(log_joint, posterior, 4)
    factor.fill_(1.0)
    for _ in range(8):
        multi_sample_loss(log_joint, posterior, 4)
    with pytest.raises(SpecError, match="log_joint"):
        multi_sample_loss(log_joint, posterior, 4)


def test_trying_out_happens_once_and_draws_nothing_of_the_users_random_numbers() -> None:
    calls: list[int] = []

    def log_joint(z: Tensor) -> Tensor:
        calls.append(1)
        return energy(z)

    posterior = gaussian(5)
    counts: list[int] = []
    losses: list[Tensor] = []
    for check in (None, None, True, False):
        calls.clear()
        torch.manual_seed(3)
        losses += [multi_sample_loss(log_joint, posterior, 4, check=check)[0].detach(), torch.rand(())]
        counts.append(len(calls))
    assert counts[1] == counts[3] == 1
    assert counts[0] == counts[2] > 1
    assert all(torch.equal(losses[i], losses[i % 2]) for i in range(8))


# --- a jump of log p on the path ---


def test_minus_infinity_is_refused_on_a_path_and_taken_without_one() -> None:
    loc = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    z = torch.tensor([0.3, -0.2, 0.5, 1.5], dtype=torch.float64)[:, None].expand(4, 3)

    def inside(value: Tensor) -> Tensor:
        return torch.where(value.abs() < 1.0, -0.3 * value.square(), -math.inf)

    def build(location: Tensor) -> Distribution:
        posterior = Normal(location, 1.0)
        posterior.rsample = lambda shape=(): location + (z - location.detach())
        posterior.sample = lambda shape=(): z
        return posterior

    log_w = inside(z) - Normal(0.0, 1.0).log_prob(z)
    taken: list[str] = []
    for pair in checked_pairs(4):
        terms, weights = pair.at(log_w)
        # Where these are infinite they are refused first.
        if not pair.uses_path or not all(
            torch.isfinite(each).all() for each in (terms.value, weights.model, weights.path, weights.score)
        ):
            continue
        with pytest.raises(SpecError, match=r"-inf for some samples[\s\S]*jump[\s\S]*next: ") as caught:
            multi_sample_loss(inside, build(loc), 4, pair.objective, pair.estimator, check=False)
        assert (
            "vimco" if pair.objective.is_function else "reparam" if pair.objective.name == "rws" else "'iwae'"
        ) in str(caught.value)
        taken.append(pair.word)
    assert len(taken) > 10
    loss, _ = multi_sample_loss(inside, build(loc), 4, estimator="vimco-star", check=False)
    (found,) = torch.autograd.grad(loss, loc)
    _, c = resolve_pair("iwae", "vimco-star", 4).at(log_w)
    torch.testing.assert_close(found, -(c.score * z).sum(0) / 3, rtol=1e-12, atol=0.0)  # d log q / d loc = z
    # With a posterior that is not trained nothing is differentiated through the samples.
    theta = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    loss, _ = multi_sample_loss(
        lambda v: torch.where(v.abs() < 1.0, -theta * v.square(), -math.inf), build(loc.detach()), 4, check=False
    )
    log_w = torch.where(z.abs() < 1.0, -0.5 * z.square(), -math.inf) - Normal(0.0, 1.0).log_prob(z)
    expected = (log_w.softmax(0) * z.square()).sum(0).mean()
    torch.testing.assert_close(torch.autograd.grad(loss, theta)[0], expected, rtol=1e-12, atol=0.0)


# --- torch.compile ---


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # dynamo's own, at every graph break
def test_compiled_modules_and_a_compiled_step_give_the_same_gradients() -> None:
    """Also in chunks and with screening: a compiled graph allows one backward pass only."""
    encoder, decoder = nn.Linear(8, 4).double(), nn.Sequential(nn.Linear(2, 9), nn.Tanh(), nn.Linear(9, 8)).double()
    x = torch.rand(6, 8, dtype=torch.float64).round()
    named = {**dict(encoder.named_parameters()), **{f"d{n}": p for n, p in decoder.named_parameters()}}

    def parts(enc: nn.Module, dec: nn.Module):
        loc, raw = enc(x).chunk(2, -1)

        def log_joint(z: Tensor, rows: RowChoice) -> Tensor:
            return -0.5 * z.square().sum(-1) + Independent(Bernoulli(logits=dec(z)), 1).log_prob(rows(x))

        return log_joint, Independent(Normal(loc, nn.functional.softplus(raw)), 1)

    def step(enc: nn.Module, dec: nn.Module, **options: Any) -> Tensor:
        return multi_sample_loss(*parts(enc, dec), 5, **options)[0]

    def gradients(run: Callable[[], Tensor]) -> Tensor:
        torch.manual_seed(1)
        return torch.cat([each.flatten() for each in torch.autograd.grad(run(), list(named.values()))])

    expected = gradients(lambda: step(encoder, decoder))
    compiled = [torch.compile(each, backend="aot_eager") for each in (encoder, decoder)]
    for options in ({}, {"k_chunk": 2}, {"screen": 1e-9}):
        torch.testing.assert_close(gradients(lambda: step(*compiled, **options)), expected, rtol=1e-10, atol=1e-12)  # noqa: B023
    whole = torch.compile(lambda: step(encoder, decoder), backend="aot_eager")
    torch.testing.assert_close(gradients(whole), expected, rtol=1e-10, atol=1e-12)
    with pytest.raises(SpecError, match=r"torch\.compile[\s\S]*_orig_mod"):
        check_bias(lambda: parts(*compiled), named, 5, max_batches=384)
    with pytest.raises(SpecError, match=r"torch\.compile[\s\S]*_orig_mod"):
        gradient_report(lambda: parts(*compiled), named, 5, estimators=["reparam"], batches=2)


# --- Cost of the test for a moving support ---


def test_each_group_of_samples_has_a_graph_of_its_own() -> None:
    counts = {"drawn": 0, "differentiated": 0}

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, z: Tensor) -> Tensor:
            counts["drawn"] += z.numel()
            return z.clone()

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            counts["differentiated"] += gradient.numel()
            return gradient

    class CountedNormal(Normal):
        def rsample(self, sample_shape: Any = ()) -> Tensor:
            return cast("Any", Counted).apply(super().rsample(sample_shape))

    loc = torch.zeros(4, 3, requires_grad=True)
    posterior = Independent(CountedNormal(loc, torch.ones(4, 3)), 1)
    assert not support_moves(Unfolded.of(posterior), torch.zeros(2, 4, 3), posterior)
    # Two test functions, each with one gradient through all samples; seventeen when all groups shared one graph.
    assert 0 < counts["differentiated"] <= 3 * counts["drawn"]
