"""A recorded step against steps taken one by one. On the CPU a recording calls the work again.

The graphs themselves need a GPU: the last tests, which are skipped without one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dregcli.engine import captured, execution
from dregcli.engine.captured import MovedRandomness, record_graph
from dregcli.engine.checksum import tensors_sha256
from dregcli.engine.examples import ResidentExamples
from dregcli.engine.execution import Execution
from dregcli.engine.execution.screened import Screening, _Kept
from dregcli.engine.models.base import Model
from dregcli.engine.pairs import all_pairs, resolve_pair
from dregcli.engine.pixels import AsStored
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.training import Trainer
from dregcli.engine.training_state import TrainerState
from tests.support.every_pair import pairs_of_different_weights
from tests.support.exact import small_structured, small_vae
from tests.support.small_training import (
    BATCH,
    DENSE,
    HALF,
    SCREENED,
    K,
    binary_examples,
    small_trainer,
    take,
    trained_sha256,
)
from tests.support.sweep import swept

WAYS = {"dense": DENSE, "screened": SCREENED, "bfloat16": HALF}


def call_again(work: Callable[[], Tensor], randomness: MovedRandomness) -> tuple[Callable[[], object], Tensor]:
    """The recording of a CPU: a repetition calls the work, whose result goes where the first one was."""
    result = work()

    def repeat() -> None:
        randomness.begin()
        result.copy_(work())

    return repeat, result


def warm(
    word: str,
    way: Execution,
    record: Any,
    *,
    k: int = K,
    device: str = "cpu",
    model: Model | None = None,
    **settings: Any,
) -> Trainer:
    """A trainer of a small model, with its step recorded: float64 on the CPU, float32 as in the program on a GPU."""
    objective, _, estimator = word.partition("/")
    on_cpu = device == "cpu"
    trainer = Trainer(
        (model or (small_vae().double() if on_cpu else small_vae().float())).to(device),
        resolve_pair(objective, estimator, k),
        ResidentExamples(binary_examples().to(device)),
        _Doubles(1) if on_cpu else AsStored(1),
        k=k,
        batch_size=BATCH,
        lr=0.01,
        seed=1,
        execution=way,
        record=record,
        **settings,
    )
    trainer.warm_up()
    return trainer


def trained(
    word: str, way: Execution, record: Any, *, k: int = K, steps: int = 9
) -> tuple[Trainer, dict[str, float]]:
    """A trainer on the CPU after some steps, and its row."""
    trainer = warm(word, way, record, k=k)
    take(trainer, steps)
    return trainer, trainer.row()


class _Doubles(AsStored):
    def __call__(self, stored: Tensor, uniform: Callable[[], Tensor]) -> Tensor:
        return super().__call__(stored, uniform).double()


@torch.no_grad()
def off(found: Trainer, expected: Trainer) -> float:
    """The largest relative distance between two models' parameters."""
    pairs = zip(found.model.parameters(), expected.model.parameters(), strict=True)
    return max(float((a - b).norm() / b.norm()) for a, b in pairs)


DIFFERENT = pairs_of_different_weights(K, (pair for pair in all_pairs() if not pair.faults(K)))
TURNS = [
    (pair, way)
    for i, pair in enumerate(DIFFERENT)
    for way in (WAYS if pair.estimator.learned or pair.word == "iwae/dreg" else [list(WAYS)[i % 7 % 3]])
]
"""Each pair in one way of work, in turns of 7, so that no estimator always has the same; a GPU runs all of them."""


@swept("pair, way", TURNS, named=lambda pair, way: f"{pair.word}-{way}")
def test_a_repeated_step_is_the_step(pair, way) -> None:
    found, row = trained(pair.word, WAYS[way], call_again)
    expected, expected_row = trained(pair.word, WAYS[way], None)
    assert (vars(found)["_captured"] is None) == bool(pair.estimator.learned)
    assert row == pytest.approx(expected_row, rel=1e-6)
    assert off(found, expected) < 1e-6
    assert off(found, small_trainer()) > 1e-3  # it did train


@pytest.mark.parametrize("way", WAYS)
def test_chunks_are_repeated_too(way: str) -> None:
    settings = {"k": 40, "execution": replace(WAYS[way], k_chunk=16)}
    found, expected = small_trainer(record=call_again, **settings), small_trainer(**settings)
    found.warm_up()
    take(found, 9)
    take(expected, 9)
    assert vars(found)["_captured"]
    assert off(found, expected) < 1e-3  # float32, and Adam's first steps divide by tiny gradients
    assert off(found, small_trainer()) > 1e-2


class _NeverMoved(MovedRandomness):
    """The wrong twin: every repetition draws the numbers of the first step."""

    def move(self, step: int) -> None:
        super().move(0)


class _OneGenerator(MovedRandomness):
    """The wrong twin: a second draw at one address goes on where the first one stopped."""

    def generator(self, stream: Stream, step: int = 0, block: int = 0) -> torch.Generator:
        self._used.clear()
        return super().generator(stream, step, block)


def test_numbers_of_another_step_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "MovedRandomness", _NeverMoved)
    found, _ = trained("iwae/dreg", DENSE, call_again)
    assert off(found, trained("iwae/dreg", DENSE, None)[0]) > 1e-4


@pytest.mark.parametrize(("kind", "right"), [(MovedRandomness, True), (_OneGenerator, False)])
def test_moved_numbers_are_those_of_their_address(kind: type[MovedRandomness], right: bool) -> None:
    moved, plain = kind(3, "cpu"), Randomness(3)
    equal = True
    for step in (0, 7, 4):
        moved.move(step)
        moved.begin()
        for _ in range(2):  # a chunked pass may draw the same noise twice
            drawn = moved.normal(Stream.NOISE, 0, k=40, batch=3, width=2)
            equal &= torch.equal(drawn, plain.normal(Stream.NOISE, step, k=40, batch=3, width=2))
            uniform = moved.uniform64(Stream.SCREENING, 0, 1, 5)
            equal &= torch.equal(uniform, plain.uniform64(Stream.SCREENING, step, 1, 5))
    assert equal is right


def _small_capacity(rows: int) -> int:
    return 4


@pytest.mark.parametrize("way", ["screened", "bfloat16"])
def test_a_step_that_keeps_too_many_rows_is_taken_as_usual(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, expected_row = trained("iwae/dreg", WAYS[way], None, steps=96)
    monkeypatch.setattr(execution, "gpu_capacity", _small_capacity)
    monkeypatch.setattr("dregcli.engine.training.MOST_PENDING", 8)
    found, row = trained("iwae/dreg", WAYS[way], call_again, steps=96)
    assert 1 <= vars(found)["_spills"] < 5  # the recording is left alone for longer each time
    assert found.step == 96
    assert row == pytest.approx(expected_row, rel=1e-6)
    assert off(found, expected) < 1e-6


def test_dropping_the_rows_that_find_no_room_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = _Kept.first

    def dropping(keep: Tensor, probability: Tensor, capacity: int) -> _Kept:
        found = right(keep, probability, capacity)
        return replace(found, inverse=found.inverse.nan_to_num(nan=1.0))

    expected, _ = trained("iwae/dreg", SCREENED, None)
    monkeypatch.setattr(execution, "gpu_capacity", _small_capacity)
    monkeypatch.setattr(_Kept, "first", dropping)
    assert off(trained("iwae/dreg", SCREENED, call_again)[0], expected) > 1e-4


def _padded(*settings: Any, **more: Any) -> Screening:
    """Shapes of a step as on a GPU, where also a step that is not recorded has them."""
    return Screening(*settings, **{**more, "pad": True, "capacity": K * BATCH})


def spilling(monkeypatch: pytest.MonkeyPatch, at: int) -> Any:
    """A recording in which step ``at`` keeps too many rows."""
    right, now = _Kept.first, [-1]

    def first(keep: Tensor, probability: Tensor, capacity: int) -> _Kept:
        found = right(keep, probability, capacity)
        return replace(found, inverse=found.inverse * float("nan")) if now == [at] else found

    def record(work: Callable[[], Tensor], randomness: MovedRandomness) -> Any:
        repeat, result = call_again(work, randomness)

        def noting() -> None:
            now[0] = vars(randomness)["_step"]
            repeat()

        return noting, result

    monkeypatch.setattr(_Kept, "first", first)
    return record


def _after(trainer: Trainer, steps: int) -> dict[str, Any]:
    """The whole state after so many steps in all, whose numbers nobody has fetched before."""
    while trainer.step < steps:
        trainer.advance()
    state = trainer.state()
    return {"sha256": tensors_sha256({**state.model, **state.optimizer}), **state.window}


@pytest.mark.parametrize(
    ("way", "model", "train_model"),
    [
        ("screened", small_vae, True),
        ("screened", small_structured, False),
        ("bfloat16", small_vae, False),
        ("bfloat16", small_structured, True),
    ],
)
def test_a_spill_changes_no_bit_and_neither_does_a_resume_after_it(
    way: str, model: Callable[[], Model], train_model: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "Screening", _padded)
    monkeypatch.setattr("dregcli.engine.training.MOST_PENDING", 8)

    def made(record: Any, state: TrainerState | None = None) -> Trainer:
        settings = {"train_model": train_model, "execution": WAYS[way], "record": record}
        found = small_trainer(model=model().float(), **settings)
        if state:
            found.load(state.step, state.model, state.optimizer, state.window)
        found.warm_up()
        return found

    plain = made(None)
    expected = {steps: _after(plain, steps) for steps in (4, 8, 30)}
    # The first and the last of the steps whose numbers are fetched together, one just before a checkpoint, and one
    # after which the recording is used again. An epoch has four steps.
    for at in (0, 3, 7, 8, 11):
        found = made(spilling(monkeypatch, at))
        if at == 3:
            assert _after(found, 4) == expected[4]
        assert _after(found, 30) == expected[30]
        assert vars(found)["_spills"] == 1
    # The whole run does not use the recording from step 5 to step 21; the resumed one uses it from step 8 on.
    whole = made(spilling(monkeypatch, 5))
    assert _after(whole, 8) == expected[8]
    resumed = made(call_again, whole.state())
    assert vars(resumed)["_captured"]
    assert _after(resumed, 30) == _after(whole, 30) == expected[30]


def test_a_repeated_step_that_needs_no_row_has_the_bits_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """If theta is frozen and the gradient has only a score, no row is kept; padding must not make one row exact."""
    monkeypatch.setattr(execution, "Screening", _padded)
    settings = {"word": "reinforce", "train_model": False, "execution": HALF}
    found, plain = small_trainer(record=call_again, **settings), small_trainer(**settings)
    assert not found.trained.learned.pair.uses_path
    found.warm_up()
    assert vars(found)["_captured"]
    assert _after(found, 9) == _after(plain, 9)


@pytest.mark.parametrize("kept", [0, 1, 5, 8])
def test_the_first_rows_are_the_kept_rows_padded(kept: int) -> None:
    keep = torch.zeros(6, 4, dtype=torch.bool)
    keep.view(-1)[torch.randperm(24, generator=torch.Generator().manual_seed(1))[:kept]] = True
    probability = torch.rand(6, 4, generator=torch.Generator().manual_seed(2)).double() + 0.1
    found = _Kept.first(keep, probability, 8)
    k, b = keep.nonzero(as_tuple=True)
    assert found.k[:kept].equal(k)
    assert found.b[:kept].equal(b)
    assert found.inverse[:kept].equal(probability[k, b].reciprocal())
    assert not found.inverse[kept:].any()
    if kept:
        assert found.k[kept:].eq(k[-1]).all()
        assert found.b[kept:].eq(b[-1]).all()
        assert _Kept.first(keep, probability, kept - 1 or 1).inverse.isnan().all() == (kept > 1)


def test_a_divergence_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded step that diverges is taken again without the recording, and is then reported."""
    from dregcli.errors import Diverged

    stored = binary_examples()
    stored[3, 2] = float("nan")
    trainer = small_trainer(stored=stored, record=call_again)
    trainer.warm_up()
    with pytest.raises(Diverged, match="training examples 3"):
        take(trainer, 20)
    plain = small_trainer(stored=stored)
    with pytest.raises(Diverged):
        take(plain, 20)
    assert trainer.step == plain.step
    assert all(torch.equal(a, b) for a, b in zip(trainer.model.parameters(), plain.model.parameters(), strict=True))


def test_without_memory_for_a_recording_steps_are_taken_as_usual() -> None:
    def too_large(work: Callable[[], Tensor], randomness: MovedRandomness) -> Any:
        work()
        raise torch.OutOfMemoryError

    found, plain = small_trainer(record=too_large), small_trainer()
    assert found.records
    found.warm_up()
    assert not found.records, "so that a run can say it"
    assert trained_sha256(take(found, 5)) == trained_sha256(take(plain, 5))


@pytest.mark.gpu
@pytest.mark.parametrize("way", WAYS)
@swept("pair", (pair for pair in all_pairs() if not pair.faults(K)), named=lambda pair: pair.word)
def test_a_graph_computes_the_same_bits(pair, way) -> None:
    """On one device a recorded step and a step from Python launch the same kernels."""
    finals: list[list[Tensor]] = []
    for record in (record_graph, None):
        trainer = warm(pair.word, WAYS[way], record, device="cuda")
        take(trainer, 9)
        finals.append([each.detach().clone() for each in trainer.model.parameters()])
    assert all(map(torch.equal, *finals))
