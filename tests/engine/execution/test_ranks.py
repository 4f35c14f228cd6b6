"""A step on several ranks has the numbers of one process: every pair and executor, and what no rank may do alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dregcli.engine.draws import AddressedDraws, Noise, PartOfNoise
from dregcli.engine.dreams import DreamNoise
from dregcli.engine.execution import Execution
from dregcli.engine.execution.batch import Named
from dregcli.engine.execution.ranks import Ranks, own_range
from dregcli.engine.execution.sharded import Shards
from dregcli.engine.gradients import Gradients, Step
from dregcli.engine.likelihoods import bernoulli
from dregcli.engine.models.base import Model
from dregcli.engine.pairs import Pair, all_pairs, resolve_pair
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.training import Trainer
from dregcli.errors import SpecError
from dregcli.names import Backward, Precision, SampleNoise, Shard
from tests.support.exact import MODELS, off_networks, small_batch, small_vae
from tests.support.prior_rules import RULES
from tests.support.program_zoo import BATCH, PATHS, SCORES, pixels_of
from tests.support.screened_batch import EXECUTIONS, B, K, drawn, subject
from tests.support.screening import Prescribed, off_gradients
from tests.support.small_training import small_trainer, take, trained_sha256
from tests.support.thread_ranks import ThreadRank, on_ranks

PAIRS = tuple(pair for pair in all_pairs() if not pair.faults(K))
BY_SIZE = [(Shard.SAMPLES, 2), (Shard.SAMPLES, 3), (Shard.BATCH, 3)]
# Products of other sizes in bfloat16 round differently, and the weights then are those of other log-weights.
TOLERANCE = {Precision.FLOAT32: 2e-12, Precision.BFLOAT16: 1e-9, Precision.LINEARISED: 2e-12}

Found = tuple[Named, Named]


def every_pair(
    name: str, execution: Execution, *, pairs: tuple[Pair, ...] = PAIRS, dtype: torch.dtype = torch.float64
) -> Found:
    """All pairs' gradients from the same rows."""
    model, pixels, noise = subject(name)
    if dtype is torch.float32:
        model = MODELS[name].build().float()
        pixels, noise = (each.float() for each in small_batch(model, k=K, batch=B))
    return Step(model, pixels, drawn(noise), execution).each(pairs, train_model=True)


def on(ranks: ThreadRank, execution: Execution, by: Shard = Shard.SAMPLES) -> Execution:
    return replace(execution, shards=Shards(ranks, by))


def off(found: Found, expected: Found, tolerance: float) -> dict[str, float]:
    return off_networks(found[0], expected[0], tolerance) | off_networks(found[1], expected[1], tolerance)


def equal(found: Sequence[Found]) -> bool:
    """Whether all ranks have the same bits."""
    first = found[0]
    return all(
        torch.equal(mine, theirs)
        for each in found[1:]
        for part, others in zip(each, first, strict=True)
        for mine, theirs in zip(part.values(), others.values(), strict=True)
    )


@pytest.mark.parametrize("way", EXECUTIONS)
def test_every_pair_is_that_of_one_process(way: str) -> None:
    execution = EXECUTIONS[way]
    alone = every_pair("vae", execution)
    for by, size in BY_SIZE:
        found = on_ranks(size, lambda ranks, by=by: every_pair("vae", on(ranks, execution, by)))
        assert off(found[0], alone, TOLERANCE[execution.precision]) == {}, (by, size)
        assert equal(found)


@pytest.mark.parametrize("precision", Precision)
def test_few_rows_are_those_of_one_process(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs together keep every row; one pair does not.

    Ranks that share examples would each choose other pixels to linearise, and are refused (``sharing_faults``).
    """
    monkeypatch.setattr(bernoulli, "_MULTIPLE", 1)  # so that some of the few pixels have a tangent
    pairs = (resolve_pair("iwae", "dreg", K),)
    execution = Execution(Backward.SCREENED, 1.0, precision)
    alone = every_pair("vae", execution, pairs=pairs)
    assert set(off(every_pair("vae", Execution(), pairs=pairs), alone, 1e-3)) == {"encoder", "decoder"}
    for by, size in BY_SIZE:
        found = on_ranks(size, lambda ranks, by=by: every_pair("vae", on(ranks, execution, by), pairs=pairs))
        differs = by is Shard.BATCH and precision is Precision.LINEARISED
        assert bool(off(found[0], alone, TOLERANCE[precision])) is differs, (by, size)
        assert equal(found)


@pytest.mark.parametrize("way", ["dense", "dense in chunks", "screened"])
def test_every_pair_in_float32(way: str) -> None:
    alone = every_pair("vae", EXECUTIONS[way], dtype=torch.float32)
    found = on_ranks(3, lambda ranks: every_pair("vae", on(ranks, EXECUTIONS[way]), dtype=torch.float32))
    assert off(found[0], alone, 1e-5) == {}
    assert equal(found)


# Whatever ranks may not do alone must show in the gradients.


class OwnLogWeights(ThreadRank):
    """Makes the weights from its own log-weights, as if the others had none."""

    def sums(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        total = super().sums(tensors)
        return list(tensors) if [tuple(each.shape) for each in tensors] == [(K, B)] else total


class OwnGradients(ThreadRank):
    """Keeps the gradients of its own rows."""

    def sums(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        total = super().sums(tensors)
        return list(tensors) if len(tensors) > 1 else total


@pytest.mark.parametrize("kind", [OwnLogWeights, OwnGradients])
def test_a_rank_that_does_not_exchange_is_caught(kind: type[ThreadRank]) -> None:
    alone = every_pair("vae", Execution())
    (found, *_) = on_ranks(2, lambda ranks: every_pair("vae", on(ranks, Execution())), kind)
    assert set(off(found, alone, 1e-3)) == {"encoder", "decoder"}


def test_noise_at_addresses_of_the_rank_itself_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(part: PartOfNoise, first: int, count: int) -> Tensor:
        return part.whole.noise(first, count)

    alone = every_pair("vae", Execution())
    monkeypatch.setattr(PartOfNoise, "noise", own)
    (found, *_) = on_ranks(2, lambda ranks: every_pair("vae", on(ranks, Execution())))
    assert set(off(found, alone, 1e-3)) == {"encoder", "decoder"}


# All that a step can be beside its pair.


def addressed(model: Model, batch: int, *, antithetic: bool = False) -> AddressedDraws:
    width = model.latent_width
    return AddressedDraws(
        Randomness(3),
        Stream.NOISE,
        7,
        k=K,
        batch=batch,
        width=width,
        screening=Stream.SCREENING,
        dtype=torch.float64,
        antithetic=antithetic,
    )


def gradients(model: Model, pixels: Tensor, pair: Pair, execution: Execution, **step: Any) -> Gradients:
    antithetic = step.get("noise") is SampleNoise.ANTITHETIC
    noise = addressed(model, len(pixels), antithetic=antithetic)
    dreams = DreamNoise(
        Randomness(3), Stream.NOISE, 7, batch=len(pixels), width=model.latent_width, dtype=torch.float64
    )
    return Step(model, pixels, noise, execution, dreams=dreams, **step).gradients(pair)


SCREENED = Execution(Backward.SCREENED)
CASES: dict[str, tuple[Callable[[], Model], str, Execution, dict[str, Any]]] = {
    "learned parameters": (small_vae, "iwae/dreg-cv:alpha=0.3,beta=0.6", Execution(), {}),
    "less of the KL": (small_vae, "iwae/dreg", Execution(k_chunk=16), {"kl_weight": 0.4}),
    "less of the KL, screened": (small_vae, "iwae/stl", SCREENED, {"kl_weight": 0.4}),
    "antithetic": (small_vae, "iwae/dreg", SCREENED, {"noise": SampleNoise.ANTITHETIC}),
    "sleep": (small_vae, "rws:sleep=0.5/dreg", Execution(), {}),
    "structured": (MODELS["structured"].build, "iwae/ovis-mc:samples=5", SCREENED, {}),
    "two layers, prior": (PATHS["two layers"], "iwae/dreg", Execution(k_chunk=16), {"rule": RULES["blend"]}),
    "two layers, score": (PATHS["two layers"], "iwae/vimco", SCREENED, {}),
    "shared parameters": (PATHS["shared matrix"], "iwae/dreg", Execution(), {}),
    "bits on bits": (SCORES["bits on bits"], "iwae/vimco", SCREENED, {}),
    "discrete and continuous": (SCORES["discrete and continuous"], "iwae/vimco", Execution(k_chunk=16), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_all_else_is_that_of_one_process(case: str) -> None:
    build, word, execution, step = CASES[case]
    model, pair = build(), resolve_pair(*word.split("/"), K)
    pixels = pixels_of(model, BATCH) if isinstance(model, ProgramModel) else small_batch(model, k=K, batch=BATCH)[0]
    alone = gradients(model, pixels, pair, execution, **step)
    for by in Shard:
        found = on_ranks(3, lambda ranks, by=by: gradients(model, pixels, pair, on(ranks, execution, by), **step))
        for each in found:
            assert off_gradients(each, alone, 1e-11) == {}, by
            assert torch.equal(each.log_w, found[0].log_w)


def test_samples_that_are_drawn_by_seed() -> None:
    """Each block has a seed of its own, and ranks share samples only: the examples of a block are drawn together."""
    model = SCORES["von Mises"]()
    pair, pixels = resolve_pair("iwae", "vimco", K), pixels_of(model)
    alone = gradients(model, pixels, pair, Execution())
    (found, *_) = on_ranks(3, lambda ranks: gradients(model, pixels, pair, on(ranks, Execution())))
    assert off_gradients(found, alone, 1e-11) == {}
    assert model.no_shared_batch is not None
    assert PATHS["two layers"]().no_shared_batch is None


class Alone:
    rank, size = 0, 1

    def sums(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return list(tensors)


def test_a_model_whose_numbers_depend_on_the_batch_does_not_share_it() -> None:
    shards = Shards(Alone(), Shard.BATCH)
    settings: dict[str, Any] = {"word": "vimco", "model": SCORES["von Mises"](), "stored": torch.rand(20, 16).round()}
    with pytest.raises(SpecError, match=r"shard: .* Use --shard samples"):
        small_trainer(execution=Execution(shards=shards), **settings)


# A whole training: the fit of an objective's numbers and averages of weights belong to it.


def test_training_on_ranks() -> None:
    def trained(execution: Execution) -> Trainer:
        start, k = "tvo:partitions=4,schedule=moments", 32
        return take(small_trainer(word="reparam", start=start, k=k, execution=execution), 3)

    alone = trained(Execution())
    found = on_ranks(2, lambda ranks: trained(on(ranks, Execution())))
    assert len({trained_sha256(each) for each in found}) == 1
    names = alone.model.state_dict()
    assert off_networks(found[0].model.state_dict(), dict(names), 1e-6) == {}


# The division.


@pytest.mark.parametrize(("units", "size"), [(3, 2), (3, 3), (7, 3), (64, 5)])
def test_every_unit_has_one_rank_and_no_rank_has_much_more_than_another(units: int, size: int) -> None:
    class At:
        def __init__(self, rank: int) -> None:
            self.rank, self.size = rank, size

        sums = Alone.sums

    parts: list[range] = [own_range(At(rank), units) for rank in range(size)]
    assert [unit for part in parts for unit in part] == list(range(units))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_more_ranks_than_parts_are_refused() -> None:
    ranks: Ranks = Alone()
    assert Shards(ranks).units(k=17, examples=3) == 2
    assert Shards(ranks, Shard.BATCH).units(k=17, examples=3) == 3
    model, pixels, noise = subject("vae")

    def one(ranks: ThreadRank) -> Gradients:
        draws: Noise = Prescribed(noise[:16], lambda p: p > 0, torch.zeros(B, dtype=torch.bool))
        return Step(model, pixels, draws, on(ranks, Execution())).gradients(PAIRS[0])

    with pytest.raises(ValueError, match="2 ranks cannot share 1 parts"):
        on_ranks(2, one)
