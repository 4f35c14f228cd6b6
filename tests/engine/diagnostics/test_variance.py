"""Variance, SNR, DSNR and cosine against K: exact against stored replicates first, then on the Gaussian toy."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from dregcli.columns import snr_floor
from dregcli.engine.diagnostics import measurement, variance
from dregcli.engine.diagnostics.jackknife import Statistic, fit_slope, leave_one_out, mean_of_groups
from dregcli.engine.diagnostics.measurement import GROUPS, LEARNING, MEASURING, Measurement, groups_of
from dregcli.engine.diagnostics.replicates import Drawn, ModelReplicates, ToyReplicates
from dregcli.engine.diagnostics.variance import VarianceStudy
from dregcli.engine.diagnostics.variance_result import fit_slopes
from dregcli.engine.draws import AddressedNoise
from dregcli.engine.models.gaussian_toy import POSTERIOR_VARIANCE, log_marginal, toy_problem
from dregcli.engine.moments import GroupMoments
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.programs.contract import Draw, Given, gaussian, standard_normal
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness, Stream
from dregcli.errors import NotFinite
from dregcli.names import Network, Promise
from tests.support.dense import dense_gradients
from tests.support.exact import small_batch, small_vae
from tests.support.plain_models import SmallModel, small_data

WORDS = (("iwae", "reparam"), ("iwae", "stl"), ("iwae", "dreg"), ("rws", "dreg"), ("iwae", "vimco-star"))
PAIRS = [resolve_pair(*words, 4) for words in WORDS]


def _vectors(n: int = 57, width: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    """Of one sequence about means that dwarf their spread, shape (1, n, D)."""
    generator = torch.Generator().manual_seed(3)
    means = torch.tensor([1e6, 1.0, 0.0, -3.0, 0.1, 2.0], dtype=torch.float64)[:width]
    return (means + torch.randn(1, n, width, generator=generator, dtype=torch.float64)).to(dtype)


# Moments and the jackknife


@pytest.mark.parametrize("at_once", [1, 3])
def test_group_moments_are_those_of_the_stored_vectors(at_once: int) -> None:
    vectors = _vectors()
    group = groups_of(57, GROUPS)
    moments = GroupMoments(GROUPS)
    for each in range(GROUPS):
        mine = vectors[:, group == each]
        for first in range(0, mine.shape[1], at_once):
            moments.add(each, mine[:, first : first + at_once])
    for kept in [*leave_one_out(GROUPS), *leave_one_out(GROUPS)]:  # twice: asking must change nothing
        chosen = vectors[0, torch.isin(group, torch.tensor(kept))].numpy()
        n, mean, variance = moments.merged(0, kept)
        assert n == len(chosen)
        np.testing.assert_allclose(mean, chosen.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(variance, chosen.var(axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(
        moments.mean([2, 3])[0], vectors[0, (group == 2) | (group == 3)].mean(dim=0), rtol=1e-13
    )


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    """With a group for each number it is exactly sd / sqrt(n)."""
    values = torch.randn(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = mean_of_groups(values, torch.arange(12), range(12))
    assert found.value == pytest.approx(float(values.mean()), rel=1e-14)
    assert found.stderr == pytest.approx(float(values.std()) / math.sqrt(12), rel=1e-12)


def test_a_power_law_has_its_slope_and_one_point_has_none() -> None:
    def point(k: int) -> Statistic:
        return Statistic(3.0 * k**-1.5, tuple(c * k**-1.5 for c in (2.9, 3.1, 3.0)))

    slope = fit_slope((4, 16, 64), [point(k) for k in (4, 16, 64)])
    assert slope is not None
    assert slope.value == pytest.approx(-1.5, abs=1e-12)
    assert slope.stderr == pytest.approx(0.0, abs=1e-12), "what all points share does not tilt the line"
    assert fit_slope((4,), [point(4)]) is None
    tilted = [Statistic(1.0, (1.0, 1.0, 1.0)), Statistic(1.0, (1.1, 0.9, 1.0))]
    known = fit_slope((1, math.e), tilted)  # pyright: ignore[reportArgumentType]
    assert known is not None
    logs = np.log([1.1, 0.9, 1.0])
    assert known.stderr == pytest.approx(math.sqrt(2 / 3 * ((logs - logs.mean()) ** 2).sum()), rel=1e-12)
    assert known.high == pytest.approx(4.30265273 * known.stderr, rel=1e-6), "Student's t, 2 degrees of freedom"


# Statistics of one network


def _measured(
    vectors: Tensor,
    reference: Tensor,
    directions: Sequence[int] | None = None,
    targets: Sequence[int] | None = None,
) -> list[dict]:
    """Statistics of sequences (P, R, D)."""
    r, own = vectors.shape[1], range(len(vectors))
    found = Measurement(directions or own, targets or own, reference, r)
    for each in range(GROUPS):
        members = (groups_of(r, GROUPS) == each).nonzero()[:, 0].tolist()
        found.add(members[0], each, vectors[:, members])
    return found.statistics()


def test_the_squared_bias_is_without_the_part_of_noise() -> None:
    """The mean over pairs of unlike groups is exact for a constant difference, and has no bias for noise.

    Of noise alone, the plain square of the mean difference is 1 / R on average; the estimate of G groups is 0 with a
    standard deviation of sqrt(2 G / ((G - 1) D)) / R. Over 40 draws five standard errors are one false alarm in two
    million; the plain square is ten of them away, and misses them once in a million.
    """
    generator = torch.Generator().manual_seed(2)
    shared = torch.randn(1, 47, 6, generator=generator, dtype=torch.float64)
    apart = torch.tensor([0.0, 1.0, 0.0, -2.0, 0.0, 0.5])
    reference = torch.ones(3, 6, dtype=torch.float64) / math.sqrt(6.0)
    constant = _measured(torch.cat([shared, shared + apart, shared]), reference, targets=[0, 0, 0])
    assert [each["squared_bias"].value for each in constant] == pytest.approx(
        [0.0, float(apart.square().mean()), 0.0]
    )
    assert constant[1]["squared_bias"].stderr == pytest.approx(0.0, abs=1e-12)
    found, plain = [], []
    for _ in range(40):
        noise = torch.randn(2, 20, 6, generator=generator, dtype=torch.float64)
        noise[0] = 0.0
        found.append(_measured(noise, reference[:2], targets=[0, 0])[1]["squared_bias"].value)
        plain.append(float(noise[1].mean(dim=0).square().mean()))
    error = 5.0 * math.sqrt(2.0 * 10.0 / 9.0 / 6.0) / 20.0 / math.sqrt(40.0)
    assert abs(np.mean(found)) < error < abs(np.mean(plain)), "the wrong twin is caught"


def test_statistics_are_those_of_the_stored_replicates() -> None:
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(2, 60, 5, generator=generator, dtype=torch.float64) + torch.tensor([0.3, 0, 0, 1.0, -0.2])
    reference = torch.nn.functional.normalize(torch.randn(2, 5, generator=generator, dtype=torch.float64), dim=1)
    found = _measured(vectors, reference, [1, 1])
    group = groups_of(60, GROUPS).numpy()
    learning, measuring = group < GROUPS // 2, group >= GROUPS // 2
    for i in range(2):
        g = vectors[i].numpy()
        mean, sd = g.mean(axis=0), g.std(axis=0, ddof=1)
        u = vectors[1].numpy()[learning].mean(axis=0)
        u /= np.linalg.norm(u)
        part = g[measuring] @ u
        dsnr = np.abs(part) / np.linalg.norm(g[measuring] - part[:, None] * u, axis=1)
        cosine = g @ reference[i].numpy() / np.linalg.norm(g, axis=1)
        known = {
            "variance": (sd**2).mean(),
            "snr": (np.abs(mean) / sd).mean(),
            "power": ((mean / sd) ** 2).mean() * 57 / 59 - 1 / 60,
            "dsnr": dsnr.mean(),
            "cosine": cosine.mean(),
        }
        for name, value in known.items():
            assert found[i][name].value == pytest.approx(value, rel=1e-10), name
        without = g[group != 3]
        assert found[i]["variance"].without[3] == pytest.approx(without.var(axis=0, ddof=1).mean(), rel=1e-10)
        assert len(found[i]["dsnr"].without) == len(MEASURING)


def _noise_dsnr(seed: int) -> tuple[float, float]:
    """DSNR and its floor of pure noise in 40 dimensions, 100 replicates."""
    vectors = torch.randn(1, 100, 40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    (found,) = _measured(vectors, torch.ones(1, 40, dtype=torch.float64) / math.sqrt(40))
    return found["dsnr"].value, found["dsnr_floor"].value


def test_a_direction_is_not_learned_on_what_it_is_measured_on(monkeypatch) -> None:
    """Of pure noise DSNR is its floor, E|N| / chi_39: .130, s.e. .014 of 50 replicates. The wrong twin has .23.

    Bounds are 5 standard errors from the one and 4 from the other: false alarms below 1e-6 for any seed, and the twin
    passes with a probability below 1e-4.
    """
    for value in _noise_dsnr(0):
        assert abs(value - 0.130) < 0.045, value
    # The twin learns on the half that it then measures.
    vectors = torch.randn(1, 100, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = torch.nn.functional.normalize(vectors[:, 50:].mean(dim=1), dim=1)
    twin = measurement._directional(vectors[:, 50:], u).mean()
    assert twin > 0.175
    assert set(LEARNING) & set(MEASURING) == set()


def test_the_floor_of_dsnr_does_not_grow_with_the_signal() -> None:
    vectors = torch.randn(1, 400, 20, generator=torch.Generator().manual_seed(5), dtype=torch.float64) + 3.0
    (found,) = _measured(vectors, torch.ones(1, 20, dtype=torch.float64) / math.sqrt(20))
    assert found["dsnr"].value > 2.0
    assert abs(found["dsnr_floor"].value - 0.187) < 0.05, "E|N| / chi_19, s.e. .010 of 200 replicates"


def test_what_never_varies_has_no_ratio_and_no_slope() -> None:
    vectors = torch.ones(1, 20, 3, dtype=torch.float64)
    (found,) = _measured(vectors, torch.ones(1, 3, dtype=torch.float64) / math.sqrt(3))
    assert found["variance"].value == 0.0
    assert math.isnan(found["snr"].value)
    assert found["cosine"].value == pytest.approx(1.0)


# Sources


def _toy_by_hand(z: Tensor, log_w: Tensor, slope: Tensor, score: Tensor, pair: Pair) -> Tensor:
    """The toy's gradient of b in ascent, from weights typed in; z (K, n, D), log_w (K, n)."""
    v = torch.softmax(log_w, dim=0)
    weights = {
        "iwae/reparam": (v, -v),
        "iwae/stl": (v, 0.0 * v),
        "iwae/dreg": (v * v, 0.0 * v),
        "rws/dreg": (v - v * v, 0.0 * v),
        "iwae/vimco-star": (0.0 * v, -torch.log1p(-v) - v),
    }
    path, scores = weights[pair.word]
    return (path.unsqueeze(-1) * slope + scores.unsqueeze(-1) * score).sum(dim=0)


def test_toy_gradients_are_the_formulas_and_each_replicate_is_a_step_of_its_own() -> None:
    randomness = Randomness(7)
    problem = toy_problem(randomness)
    source = ToyReplicates(problem, randomness)
    drawn = source.draw(Stream.VARIANCE_NOISE, 2, 3, PAIRS, 4)
    noise = AddressedNoise(
        randomness, Stream.VARIANCE_NOISE, 2, k=4, batch=source.at_once, width=20, dtype=torch.float64, examples=3
    ).noise(0, 4)
    model, x = problem.model, problem.x
    a, b, theta = model.a, model.b.detach()[0], model.theta.detach()[0]
    scale = math.sqrt(POSTERIOR_VARIANCE)
    z = x @ a.mT + b + scale * noise
    log_w = -0.5 * ((x - z) ** 2 + (z - theta) ** 2 - noise**2).sum(dim=-1)
    slope, score = (x - z) - (z - theta) + noise / scale, noise / scale
    for i, pair in enumerate(PAIRS):
        by_hand = -_toy_by_hand(z, log_w, slope, score, pair)
        torch.testing.assert_close(drawn.gradients[Network.ENCODER][i], by_hand, rtol=1e-10, atol=1e-12)
        for n in range(3):
            single = dense_gradients(model, x, noise[:, n : n + 1].contiguous(), pair)
            torch.testing.assert_close(
                drawn.gradients[Network.ENCODER][i, n], single.posterior["b"][0], rtol=1e-10, atol=1e-12
            )
    of_theta = -(torch.softmax(log_w, dim=0).unsqueeze(-1) * (z - theta)).sum(dim=0)
    for each in drawn.gradients[Network.DECODER]:  # of iwae and rws, which share it
        torch.testing.assert_close(each, of_theta, rtol=1e-10, atol=1e-12)
    # The constants of log w, which weights do not see, are in the bound.
    constant = -10.0 * math.log(2.0 * math.pi) + 10.0 * math.log(POSTERIOR_VARIANCE)
    torch.testing.assert_close(drawn.bound, log_w.logsumexp(dim=0) - math.log(4) + constant)


def test_fewer_samples_have_the_beginning_of_the_noise_of_more_and_the_toys_density_is_exact() -> None:
    randomness = Randomness(0)
    problem = toy_problem(randomness)
    wanted = torch.distributions.MultivariateNormal(problem.truth, 2.0 * torch.eye(20, dtype=torch.float64))
    torch.testing.assert_close(log_marginal(problem.x, problem.truth), wanted.log_prob(problem.x))
    one, two = (
        AddressedNoise(randomness, Stream.VARIANCE_NOISE, 0, k=k, batch=50, width=20).noise(0, k) for k in (20, 64)
    )
    assert torch.equal(one, two[:20])


def test_a_models_replicate_is_one_step_for_all_pairs() -> None:
    model = small_vae()
    pixels, _ = small_batch(model, k=4)
    randomness = Randomness(3)
    drawn = ModelReplicates(model, pixels, randomness).draw(Stream.VARIANCE_NOISE, 5, 1, PAIRS, 4)
    noise = randomness.normal(Stream.VARIANCE_NOISE, 5, k=4, batch=len(pixels), width=model.latent_width).double()
    assert drawn.gradients[Network.DECODER].shape[:2] == (2, 1), "one for each distinct objective"
    for i, pair in enumerate(PAIRS):
        known = dense_gradients(model, pixels, noise, pair)
        flat = torch.cat([each.flatten() for each in known.posterior.values()])
        torch.testing.assert_close(drawn.gradients[Network.ENCODER][i, 0], flat, rtol=1e-10, atol=1e-12)
        assert float(drawn.bound[0]) == pytest.approx(float(known.bound.mean()), rel=1e-12)


# The study


def _study(seed: int = 0, pairs: Sequence[Pair] = PAIRS, ks: Sequence[int] = (4, 16), r: int = 200) -> VarianceStudy:
    randomness = Randomness(seed)
    source = ToyReplicates(toy_problem(randomness), randomness)
    return VarianceStudy(source, pairs, ks, replicates=r, reference_k=64, reference_replicates=60)


@cache
def _finished() -> VarianceStudy:
    study = _study()
    while not study.done:
        study.advance()
    assert study.samples == study.total
    return study


def test_interrupted_anywhere_it_ends_with_the_same_numbers() -> None:
    study, draws = _study(), 0
    while not study.done:
        study.advance()
        draws += 1
        numbers, arrays = study.state()
        arrays = {name: each.clone() for name, each in arrays.items()}
        before = study.samples
        study = _study()
        study.load(numbers, arrays)
        assert study.samples == before
    assert draws == 2 + 2 * 4
    assert study.rows() == _finished().rows()
    assert study.references() == _finished().references()
    assert study.sampled() == _finished().sampled()


class _Unsure(SmallModel):
    """What no trial at the data's mean reaches: ``spare`` never is, ``late`` is by q on real images."""

    def __init__(self) -> None:
        super().__init__(small_data())
        self.spare, self.late = nn.Linear(10, 10), nn.Linear(16, 4)

    def posterior(self, x: Tensor, draw: Draw) -> None:
        super().posterior(x, draw)
        if (x == x.round()).all():
            draw("late", gaussian(self.late(x.flatten(1))))
        else:
            draw("late", gaussian(x.flatten(1)[:, :4].detach()))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("late", standard_normal(2))
        return super().model(z, given)


def test_coordinates_that_nothing_reaches_do_not_count() -> None:
    """As without them; ``late`` counts in the encoder alone. Else all 110 + 68 would be in both networks."""
    torch.manual_seed(0)
    model, pixels, n = ProgramModel(_Unsure(), small_data()), (torch.rand(4, 16) < 0.3).float(), 20
    assert model.unreached == ["spare.weight", "spare.bias", "late.weight", "late.bias"]
    pairs, source = PAIRS[:2], ModelReplicates(model, pixels, Randomness(0))
    study = VarianceStudy(source, pairs, [4], replicates=n, reference_k=4, reference_replicates=2)
    while not study.done:
        study.advance()
    drawn = [source.draw(Stream.VARIANCE_NOISE, i, 1, [*pairs, PAIRS[2]], 4).gradients for i in range(n)]
    for network, idle in ((Network.ENCODER, 110), (Network.DECODER, 178)):
        vectors = torch.cat([each[network][0] for each in drawn]).double()
        row = next(each for each in study.rows() if each.of.network is network)
        expected = float(vectors.var(dim=0).sum()) / (vectors.shape[1] - idle)
        assert row["variance"].value == pytest.approx(expected, rel=1e-5)
    stl = study.rows()[1]
    assert stl["squared_bias"].value == pytest.approx(_bias_by_hand(drawn, 110), rel=1e-4)


def _bias_by_hand(drawn: list[dict[Network, Tensor]], idle: int) -> float:
    """Of the second sequence against the third, as products of the means of unlike groups of two."""
    each = torch.stack([gradients[Network.ENCODER][:, 0].double() for gradients in drawn])
    means = (each[:, 1] - each[:, 2]).unflatten(0, (GROUPS, 2)).mean(dim=1)
    products = (means @ means.mT).fill_diagonal_(0.0)
    return float(products.sum()) / (GROUPS * (GROUPS - 1)) / (each.shape[-1] - idle)


def test_of_large_moments_only_finished_ks_are_kept(monkeypatch) -> None:
    monkeypatch.setattr(variance, "MOST_STATE", 1000)
    study = _study()
    for _ in range(2 + 4 + 3):
        study.advance()
    numbers, arrays = study.state()
    assert sum(each.nbytes for each in arrays.values()) < 10_000
    study = _study()
    study.load(numbers, arrays)
    assert study.samples == 60 * 64 + 200 * 4, "the second K begins anew"
    while not study.done:
        study.advance()
    assert study.rows() == _finished().rows()


def test_the_toy_has_its_table_in_small() -> None:
    """Variances hold at any draw of the toy within a factor of 1.5; these are fixed numbers, of seed 0."""
    found = {(row.of.pair.word, row.k): row for row in _finished().rows() if row.of.pair}
    known = {
        ("iwae/reparam", 4): 0.81,
        ("iwae/reparam", 16): 0.22,
        ("iwae/dreg", 4): 1.4e-2,
        ("iwae/dreg", 16): 4.9e-4,
        ("iwae/stl", 4): 5.1e-2,
        ("iwae/stl", 16): 1.4e-2,
        ("rws/dreg", 4): 1.6e-2,
        ("rws/dreg", 16): 9.6e-3,
        ("iwae/vimco-star", 16): 1.8e-3,
    }
    for key, known_variance in known.items():
        assert 1 / 1.5 < found[key]["variance"].value / known_variance < 1.5, key
    assert [row.promise for row in found.values() if row.of.pair and row.of.pair.word == "iwae/stl"] == [
        Promise.BIASED
    ] * 2
    ess = [each.ess.value for each in _finished().sampled()]
    assert ess == pytest.approx([2.6, 8.3], rel=0.1)


def test_slopes_leave_out_what_is_at_the_floor() -> None:
    slopes = {(each.of.pair.word, each.statistic): each for each in fit_slopes(_finished().rows()) if each.of.pair}
    assert slopes["iwae/reparam", "dsnr"].slope is None
    assert slopes["iwae/reparam", "dsnr"].left_out == (4, 16)
    of_dreg = slopes["iwae/dreg", "variance"].slope
    assert of_dreg is not None
    assert of_dreg.low < of_dreg.value < of_dreg.high
    assert -3.0 < of_dreg.value < -2.0
    assert snr_floor(4000) == pytest.approx(0.0126, abs=1e-4)


def test_snr_without_its_floor_is_not_flattened_by_it() -> None:
    """Noise alone has power 0 within 5 standard errors, sqrt(2 / D) / R; its mean square would be 1 / R, 16 off."""
    vectors = torch.randn(1, 100, 500, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (found,) = _measured(vectors, torch.ones(1, 500, dtype=torch.float64) / math.sqrt(500))
    assert abs(found["power"].value) < 5.0 * math.sqrt(2 / 500) / 100
    assert found["snr"].value == pytest.approx(snr_floor(100), rel=0.15), "5 standard errors"


def test_pairs_that_are_not_defined_at_a_k_are_measured_at_the_others() -> None:
    pairs = [resolve_pair("iwae", "vimco", 4), resolve_pair("iwae", "dreg", 4)]
    study = _study(pairs=pairs, ks=(1, 4), r=20)
    while not study.done:
        study.advance()
    assert [(row.of.pair.estimator.name, row.k) for row in study.rows() if row.of.pair] == [
        ("vimco", 4),
        ("dreg", 1),
        ("dreg", 4),
    ]


def test_what_is_not_finite_is_refused() -> None:
    class Broken:
        at_once, device = 1, torch.device("cpu")
        networks, prior_gradients = (Network.ENCODER, Network.DECODER), ()

        def takes(self, pair: Pair) -> bool:
            return True

        def draw(self, stream: Stream, number: int, count: int, pairs: Sequence[Pair], k: int, prior=()) -> Drawn:
            gradients = torch.zeros(len(pairs), 1, 2)
            gradients[0, 0, 1] = math.nan
            return Drawn(dict.fromkeys(self.networks, gradients), torch.zeros(1), torch.ones(1))

    study = VarianceStudy(Broken(), PAIRS, (4,), replicates=20, reference_k=64, reference_replicates=2)
    with pytest.raises(NotFinite, match="iwae/dreg"):
        study.advance()
