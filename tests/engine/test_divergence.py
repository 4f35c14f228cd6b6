"""A broken step: found late, and nothing of it anywhere."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from dregcli.engine.checksum import tensors_sha256
from dregcli.engine.execution import Execution
from dregcli.engine.pairs import Pair
from dregcli.engine.training import MOST_PENDING, Trainer
from dregcli.errors import Diverged
from tests.support.small_training import (
    DENSE,
    HALF,
    SCREENED,
    STL,
    binary_examples,
    small_trainer,
    take,
    trained_sha256,
)

COLLECTORS: dict[str, Callable[[Trainer], object]] = {
    "collect": Trainer.collect,
    "row": Trainer.row,
    "state": Trainer.state,
}


def _poisoned(step: int, value: float = math.nan) -> tuple[Tensor, int]:
    """Examples of which one of step ``step``'s (from 1, in the first epoch) is broken, and which."""
    stored = binary_examples()
    example = int(small_trainer()._batches.indices(step - 1)[2])
    stored[example, 3] = value
    return stored, example


@pytest.mark.parametrize("execution", [DENSE, SCREENED, HALF], ids=["dense", "screened", "bfloat16"])
@pytest.mark.parametrize(("step", "value"), [(1, math.nan), (4, math.nan), (4, math.inf)])
def test_a_broken_batch_changes_nothing_however_late_it_is_found(
    step: int, value: float, execution: Execution
) -> None:
    """Copies of one trainer ask for what it found after 0, 1 and 20 further steps, in every way."""
    stored, example = _poisoned(step, value)
    good, broken = small_trainer(execution=execution), small_trainer(stored=stored, execution=execution)
    for _ in range(step - 1):
        good.advance()
        broken.advance()
    trained = trained_sha256(good)
    asked = {
        (follow, by): copy.deepcopy(trainer) for follow, trainer in _followed(broken, 0, 1, 20) for by in COLLECTORS
    }
    assert len(asked) == 9
    good.collect()
    for (follow, by), trainer in asked.items():
        case = f"asked by {by} after {follow} more"
        assert trained_sha256(trainer) == trained, case
        with pytest.raises(Diverged, match="the bound is not finite") as caught:
            COLLECTORS[by](trainer)
        assert caught.value.where == f"step {step}, training examples {example}", case
        assert trainer.step == step - 1, case
        assert trained_sha256(trainer) == trained, case
        assert vars(trainer.window) == vars(good.window), case


def _followed(trainer: Trainer, *numbers: int) -> Iterator[tuple[int, Trainer]]:
    """The trainer after its broken step and so many steps more."""
    done = -1
    for number in numbers:
        for _ in range(number - done):
            trainer.advance()
        done = number
        yield number, trainer


def test_no_more_than_so_many_steps_follow_a_broken_one() -> None:
    stored, example = _poisoned(3)
    trainer, good = small_trainer(stored=stored), small_trainer()
    for _ in range(2):
        good.advance()
    for _ in range(MOST_PENDING - 1):
        trainer.advance()
    with pytest.raises(Diverged) as caught:
        trainer.advance()
    assert caught.value.where == f"step 3, training examples {example}"
    assert trainer.step == 2
    assert trained_sha256(trainer) == trained_sha256(good)


class _OneGradient(Trainer):
    """Step 3 has a finite bound and one gradient that is not."""

    broken: ClassVar[tuple[str, str]]

    def _gradients(self, drawn, **settings):
        batch, found = super()._gradients(drawn, **settings)
        if self.step == 2:
            group, name = self.broken
            getattr(found, group)[name].view(-1)[0] = -math.inf
        return batch, found


@pytest.mark.parametrize("broken", [("model", "decoder.1.bias"), ("posterior", "encoder.0.weight")])
def test_one_number_of_one_gradient_is_enough(broken: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_OneGradient, "broken", broken, raising=False)
    trainer, good = small_trainer(_OneGradient), small_trainer()
    for _ in range(2):
        good.advance()
    for _ in range(9):
        trainer.advance()
    with pytest.raises(Diverged, match=f"the gradient of {broken[1]} is not finite\\.") as caught:
        trainer.collect()
    examples = ", ".join(str(int(each)) for each in good._batches.indices(2))
    assert caught.value.where == f"step 3, training examples {examples}"
    assert trained_sha256(trainer) == trained_sha256(good)


@pytest.mark.parametrize("execution", [DENSE, SCREENED], ids=["dense", "screened"])
def test_what_learns_raises_at_once_and_has_learnt_nothing_of_it(execution: Execution) -> None:
    stored, example = _poisoned(3)
    good = small_trainer(word="dreg-cv", execution=execution)
    trainer = small_trainer(word="dreg-cv", stored=stored, execution=execution)
    for _ in range(2):
        good.advance()
        trainer.advance()
    with pytest.raises(Diverged) as caught:
        trainer.advance()
    assert caught.value.where == f"step 3, training examples {example}"
    assert trainer.step == 2
    assert trainer.trained.learned.pair == good.trained.learned.pair
    assert trained_sha256(trainer) == trained_sha256(good)


@pytest.mark.parametrize("execution", [DENSE, SCREENED, HALF], ids=["dense", "screened", "bfloat16"])
@pytest.mark.parametrize("word", ["dreg", "vimco", "dreg-cv"])
def test_a_batch_of_which_nothing_is_finite_is_divergence_too(word: str, execution: Execution) -> None:
    trainer = small_trainer(word=word, execution=execution)
    trainer.advance()
    trainer.collect()
    with torch.no_grad():
        trainer.model.get_parameter("decoder.0.weight")[0, 0] = math.nan
    with pytest.raises(Diverged) as caught:
        take(trainer, 3)
    assert str(caught.value.where).startswith("step 2, ")
    assert trainer.step == 1


@pytest.mark.parametrize("found", [False, True])
def test_a_good_state_loaded_after_a_broken_step_trains_on(found: bool) -> None:
    stored, _ = _poisoned(4)
    straight, trainer = small_trainer(), small_trainer(stored=stored)
    for each in (straight, trainer):
        each.advance()
        each.advance()
    state = trainer.state()
    for _ in range(4):
        trainer.advance()
    if found:
        with pytest.raises(Diverged):
            trainer.collect()
    trainer.load(state.step, state.model, state.optimizer, state.window)
    for each in (straight, trainer):
        each.advance()
    assert trainer.state().window == straight.state().window
    assert trained_sha256(trainer) == trained_sha256(straight)


@pytest.mark.parametrize("tracked", [(), (STL,)])
def test_a_start_loaded_into_a_used_trainer_is_the_start(tracked: tuple[Pair, ...]) -> None:
    fresh, used = small_trainer(tracked=tracked), small_trainer(tracked=tracked)
    start = fresh.state()
    take(used, 3)
    used.load(start.step, start.model, start.optimizer, start.window)
    take(used, 3)
    take(fresh, 3)
    assert trained_sha256(used) == trained_sha256(fresh)
    assert used.row() == fresh.row()


@pytest.mark.parametrize("word", ["dreg", "dreg-cv"])
def test_after_divergence_there_is_no_state_to_take_and_no_step(word: str) -> None:
    """The tracked moments have taken in the broken step, and the flag would keep all later ones from training."""
    stored, example = _poisoned(4)
    trainer = small_trainer(word=word, tracked=(STL,), stored=stored)
    take(trainer, 3)
    trained = trained_sha256(trainer)
    for ask in (lambda each: take(each, 2), *COLLECTORS.values(), Trainer.advance, *COLLECTORS.values()):
        with pytest.raises(Diverged, match="the bound is not finite") as caught:
            ask(trainer)
        assert caught.value.where == f"step 4, training examples {example}"
        assert trainer.step == 3
        assert trained_sha256(trainer) == trained


def test_a_good_state_makes_tracking_good_again() -> None:
    stored, _ = _poisoned(4)
    straight, trainer = small_trainer(tracked=(STL,)), small_trainer(tracked=(STL,), stored=stored)
    take(straight, 3)
    state = take(trainer, 2).state()
    with pytest.raises(Diverged):
        take(trainer, 3)
    trainer.load(state.step, state.model, state.optimizer, state.window)
    take(trainer, 1)
    assert tensors_sha256(trainer.state().optimizer) == tensors_sha256(straight.state().optimizer)
    assert trainer.row() == straight.row()
