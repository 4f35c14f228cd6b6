"""Numbers of steps that are fetched late: the same sums, and no step that waits for them; and warming up."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dregcli.engine import training
from dregcli.engine.checksum import tensors_sha256
from dregcli.engine.execution import Execution
from dregcli.engine.likelihoods import base
from dregcli.engine.training import MOST_PENDING
from tests.engine.test_captured import call_again
from tests.support.small_training import DENSE, HALF, RWS, SCREENED, STL, small_trainer, take, trained_sha256


def test_a_window_does_not_depend_on_when_numbers_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    late = small_trainer()
    for _ in range(MOST_PENDING + 6):
        late.advance()
    assert late.window.count == MOST_PENDING
    late.collect()
    assert late.collect() == []
    monkeypatch.setattr(training, "MOST_PENDING", 1)
    at_once = small_trainer()
    for i in range(MOST_PENDING + 6):
        at_once.advance()
        assert at_once.window.count == i + 1
    assert vars(late.window) == vars(at_once.window)
    assert late.row() == at_once.row()
    assert trained_sha256(late) == trained_sha256(at_once)


def test_the_window_holds_every_steps_own_numbers() -> None:
    trainer, twin = small_trainer(), small_trainer()
    sums = dict.fromkeys(vars(twin.window), 0.0)
    for _ in range(7):
        _, found = twin._gradients(twin._drawn())
        numbers = [each.mean().item() for each in found.values]
        for group in (found.model, found.posterior):
            numbers.append(torch.cat([each.flatten() for each in group.values()]).double().norm().item())
        for name, number in zip(sums, [1, *numbers, 0.0], strict=True):  # no step is clipped
            sums[name] += number
        twin.advance()
        trainer.advance()
    assert trainer.state().window == pytest.approx(sums, rel=1e-6)
    assert trainer.row() == pytest.approx(
        {name: each / 7 for name, each in sums.items() if name not in ("count", "clipped")}, rel=1e-6
    )
    assert trainer.window.count == 0


class _Fetches(TorchDispatchMode):
    """Counts what makes the host wait for a device: numbers and sizes that are read back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        for name in ("tolist", "item", "__bool__", "__float__", "__int__", "__index__", "cpu", "numpy"):
            self._count(name, monkeypatch)

    def _count(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        own = getattr(Tensor, name)

        def counted(tensor: Tensor, *rest, **options):
            self.counts[name] += 1
            return own(tensor, *rest, **options)

        monkeypatch.setattr(Tensor, name, counted)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "_unique2"):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("execution", "per_step"),
    [
        (DENSE, {}),
        # How many rows are kept is known to the host: where they are is read back.
        (SCREENED, {"nonzero": 1}),
        (HALF, {"nonzero": 2}),  # and which examples correct the others
    ],
    ids=["dense", "screened", "bfloat16"],
)
def test_no_step_waits_for_its_numbers(
    execution: Execution, per_step: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = small_trainer(execution=execution)
    trainer.advance()
    trainer.collect()
    with _Fetches(monkeypatch) as fetches:
        for _ in range(50):
            trainer.advance()
        assert fetches.counts == {name: 50 * count for name, count in per_step.items()}
        fetches.counts.clear()
        trainer.collect()
        assert fetches.counts == {"tolist": 1}


@pytest.mark.parametrize("execution", [DENSE, SCREENED, HALF], ids=["dense", "screened", "bfloat16"])
def test_a_repeated_step_waits_for_nothing(execution: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that waits for the GPU cannot be recorded."""
    trainer = small_trainer(execution=execution, record=call_again)
    trainer.warm_up()
    with _Fetches(monkeypatch) as fetches:
        for _ in range(50):
            trainer.advance()
        assert fetches.counts == {}


def test_tracking_waits_for_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = small_trainer(tracked=(STL, RWS))
    with _Fetches(monkeypatch) as fetches:
        for _ in range(50):
            trainer.advance()
        assert fetches.counts == {}


@pytest.mark.parametrize("word", ["dreg", "dreg-cv"])
@pytest.mark.parametrize("execution", [DENSE, HALF], ids=["dense", "bfloat16"])
def test_warming_up_changes_nothing(word: str, execution: Execution) -> None:
    cold, warm = (small_trainer(word=word, tracked=(STL,), execution=execution) for _ in range(2))
    for _ in range(2):
        assert warm.warm_up() is None
        assert (warm.step, warm.window) == (cold.step, cold.window)
        assert tensors_sha256(warm.state().optimizer) == tensors_sha256(cold.state().optimizer)
        assert trained_sha256(warm) == trained_sha256(cold)
        take(cold, 3)
        take(warm, 3)
    assert warm.row() == cold.row()
    assert trained_sha256(warm) == trained_sha256(cold)


def _failing(error: Exception) -> Callable[..., Any]:
    def compiled(*_: object, **__: object) -> None:
        raise error

    return compiled


def test_a_compilation_that_fails_is_given_up_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "FEWEST_COMPILED", 1)
    plain, trainer = small_trainer(), small_trainer()
    likelihood = trainer.model.get_submodule("likelihood")
    failing = _failing(RuntimeError("\nno compiler\nand much more"))
    monkeypatch.setattr(likelihood, "fuse", lambda: setattr(likelihood, "_compiled", failing))
    trainer.model.fuse()
    assert trainer.model.fused
    assert trainer.warm_up() == "no compiler"
    assert not trainer.model.fused
    take(plain, 3)
    take(trainer, 3)
    assert trainer.row() == plain.row()
    assert trained_sha256(trainer) == trained_sha256(plain)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_memory_that_runs_out_is_no_failed_compilation(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(base, "FEWEST_COMPILED", 1)
    trainer = small_trainer()
    likelihood = trainer.model.get_submodule("likelihood")
    monkeypatch.setattr(likelihood, "_compiled", _failing(error))
    trainer.model.fused = True
    with pytest.raises(RuntimeError) as caught:
        trainer.warm_up()
    assert caught.value is error
    assert trainer.model.fused


def test_what_fails_uncompiled_is_no_failed_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, tried = small_trainer(), []

    def failing(*_: object) -> None:
        tried.append(trainer.model.fused)
        message = "its own"
        raise RuntimeError(message)

    monkeypatch.setattr(type(trainer.model), "log_joint", failing)
    for trainer.model.fused in (False, True):
        with pytest.raises(RuntimeError, match="its own"):
            trainer.warm_up()
    assert tried == [False, True, False], "tried again only where something was compiled"
