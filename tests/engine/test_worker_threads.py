"""Parts of a computation in threads of their own: the same numbers, and nothing left behind."""

import threading
from collections.abc import Callable, Sequence

import pytest
import torch

from dregcli.engine.device import using_threads
from dregcli.engine.execution import gaussian_batch
from dregcli.engine.worker_threads import each_in_threads
from tests.support.exact import MODELS, small_batch
from tests.support.screened_batch import drawn


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_item_is_worked_on_once_by_threads_of_one(number: int) -> None:
    seen: list[tuple[int, int]] = []
    together = threading.Barrier(number)

    def work(item: int) -> None:
        if item < number:
            together.wait(timeout=30)  # so every thread has an item
        seen.append((item, torch.get_num_threads()))

    with using_threads(number):
        each_in_threads(work, range(7))
        assert torch.get_num_threads() == number
    assert sorted(seen) == [(i, 1) for i in range(7)]


def test_an_error_is_raised_and_torch_keeps_its_threads() -> None:
    def work(item: int) -> None:
        if item == 3:
            message = "the third"
            raise ValueError(message)

    with using_threads(2):
        with pytest.raises(ValueError, match="the third"):
            each_in_threads(work, range(9))
        assert torch.get_num_threads() == 2


def test_log_weights_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS["vae"].build()
    pixels, noise = small_batch(model, k=70, batch=3, seed=1)
    parts: list[int] = []

    def counted(work: Callable[[tuple[int, int]], object], items: Sequence[tuple[int, int]]) -> None:
        parts.append(len(items))
        each_in_threads(work, items)

    monkeypatch.setattr(gaussian_batch, "each_in_threads", counted)
    model.batch(pixels, drawn(noise)).log_weights(k_chunk=None)
    assert parts == [1], "to share so little work would take longer"
    monkeypatch.setattr(gaussian_batch, "BLOCK_BYTES", 1)
    found = []
    for number in (1, 2, 3):
        with using_threads(number):
            found.append(model.batch(pixels, drawn(noise)).log_weights(k_chunk=None))
    assert parts[1:] == [5, 5, 5]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
