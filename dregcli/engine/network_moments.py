"""Moments of the gradients of one network along a training, which are computed for several steps at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from dregcli.columns import DECAY
from dregcli.engine.moments import RunningMoments, blocks
from dregcli.engine.outer import OuterProducts, Stacked
from dregcli.engine.worker_threads import each_in_threads

STEPS_AT_ONCE = 16
"""Most steps whose gradients wait. Moments of ten pairs are far larger than a cache, and each time they are changed,
they come from main memory and go back to it."""

MOST_WAITING_BYTES = 2**26
"""Gradients beyond this size do not wait for more steps."""

_WAITING, _WINDOW = "-waiting", "-window"
_LEFT, _RIGHT, _VECTORS = "/left", "/right", "/vectors"


class NetworkMoments:
    """Moving averages, and averages over a window of steps, of P gradients of one network.

    Gradients of a few steps wait and are then added together, block by block. A weight's gradient waits as outer
    products, and becomes a matrix only while its block is in the cache.

    Attributes:
        moving: moments in which older steps lose weight.
        window: moments of the steps since the last call of ``begin_window``.
    """

    def __init__(self) -> None:
        self.moving, self.window = RunningMoments(DECAY), RunningMoments(1.0)
        self._waiting: list[Stacked] = []

    @property
    def names(self) -> set[str]:
        """The parts of the gradients that were added."""
        return {*self.moving.names, *(self._waiting[0] if self._waiting else ())}

    def add(self, gradients: Stacked) -> None:
        """Add the gradients of one step; the tensors must not be changed afterwards."""
        if self._waiting and _kinds(self._waiting[-1]) != _kinds(gradients):
            self.settle()
        self._waiting.append(gradients)
        size = sum(each.nbytes for gradient in gradients.values() for each in _tensors(gradient).values())
        if len(self._waiting) * size > MOST_WAITING_BYTES - size or len(self._waiting) == STEPS_AT_ONCE:
            self.settle()

    def settle(self) -> None:
        """Add all gradients that wait to the moments."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        kinds = (self.moving, self.window)
        weights = torch.tensor([each.begin(len(waiting)) for each in kinds], dtype=torch.float64)

        @torch.no_grad()
        def merge(some: tuple[str, slice, Callable[[], Tensor]]) -> None:
            name, block, vectors = some
            of_block = vectors()
            means, squares = _group_moments(of_block, weights.to(of_block))
            for i, kind in enumerate(kinds):
                kind.merge(name, block, means[i], None if squares is None else squares[i])

        work: list[tuple[str, slice, Callable[[], Tensor]]] = []
        for name, first in waiting[0].items():
            for kind in kinds:
                kind.make_room(name, first.shape, next(iter(_tensors(first).values())))
            work += [(name, *each) for each in _blocks([each[name] for each in waiting])]
        if all(each.device.type == "cpu" for gradient in waiting[0].values() for each in _tensors(gradient).values()):
            each_in_threads(merge, work)
        else:
            for each in work:
                merge(each)

    def begin_window(self) -> None:
        """Begin a new window."""
        self.settle()
        self.window = RunningMoments(1.0)

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Return a copy of the whole state; the names begin with the prefix, and a word if not of moving averages."""
        kinds = {"": self.moving, _WINDOW: self.window}
        found = {f"{prefix}{kind}/{name}": t for kind, each in kinds.items() for name, t in each.tensors().items()}
        for name in self._waiting[0] if self._waiting else ():
            of_steps = [_tensors(each[name]) for each in self._waiting]
            found |= {
                f"{prefix}{_WAITING}/{name}{kind}": torch.stack([each[kind] for each in of_steps])
                for kind in of_steps[0]
            }
        return found

    def load(self, tensors: Mapping[str, Tensor], prefix: str, device: torch.device) -> None:
        """Restore the state that ``tensors`` returned; other entries of the mapping are ignored.

        Raises:
            KeyError: a part is missing.
        """
        for kind, moments in (("", self.moving), (_WINDOW, self.window)):
            moments.load(_under(f"{prefix}{kind}/", tensors), device)
        waiting = {name: each.to(device).clone() for name, each in _under(f"{prefix}{_WAITING}/", tensors).items()}
        self._waiting = [
            dict(_gradient({name: each[i] for name, each in waiting.items()}))
            for i in range(len(next(iter(waiting.values()))) if waiting else 0)
        ]


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}


def _tensors(gradient: Tensor | OuterProducts) -> dict[str, Tensor]:
    """Return what a gradient consists of, by the ending of its name in the state."""
    if isinstance(gradient, OuterProducts):
        return {_LEFT: gradient.left, _RIGHT: gradient.right}
    return {_VECTORS: gradient}


def _gradient(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor | OuterProducts]]:
    """Yield the gradients of one step from the tensors of a state, by name."""
    for name, each in tensors.items():
        if name.endswith(_VECTORS):
            yield name.removesuffix(_VECTORS), each
        elif name.endswith(_LEFT):
            whole = name.removesuffix(_LEFT)
            yield whole, OuterProducts(each, tensors[whole + _RIGHT])


def _kinds(gradients: Stacked) -> dict[str, list[tuple[str, torch.Size]]]:
    return {name: [(kind, t.shape) for kind, t in _tensors(each).items()] for name, each in gradients.items()}


def _blocks(parts: Sequence[Tensor | OuterProducts]) -> Iterator[tuple[slice, Callable[[], Tensor]]]:
    """Yield blocks of coordinates, counted over a whole part, and what computes their T vectors, (T, n)."""
    outer = [each for each in parts if isinstance(each, OuterProducts)]
    if not outer:
        vectors = [each.reshape(-1) for each in parts if isinstance(each, Tensor)]
        for block in blocks(len(vectors[0])):
            yield block, partial(_stacked, vectors, block)
        return
    left, right = torch.stack([each.left for each in outer]), torch.stack([each.right for each in outer])
    pairs, outputs, inputs = outer[0].shape
    for pair in range(pairs):
        for block in blocks(outputs * inputs, inputs):
            some = left[:, pair, :, block.start // inputs : block.stop // inputs]
            first = pair * outputs * inputs
            yield slice(first + block.start, first + block.stop), partial(_products, some, right)


def _stacked(vectors: Sequence[Tensor], block: slice) -> Tensor:
    return torch.stack([each[block] for each in vectors])


def _products(left: Tensor, right: Tensor) -> Tensor:
    return torch.bmm(left.mT, right).flatten(1)


def _group_moments(vectors: Tensor, weights: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return weighted means and sums of squared deviations from them; ``vectors`` is changed.

    Args:
        vectors: shape (T, n).
        weights: M kinds of weights, (M, T).

    Returns:
        (M, n) each; no squared deviations of one vector.
    """
    # Relative to the first vector, so that a coordinate that never varies has exactly no variance.
    first, others = vectors[0], vectors[1:]
    if not len(others):
        return first.expand(len(weights), -1), None
    others -= first
    total, weights = weights.sum(dim=1, keepdim=True), weights[:, 1:]
    moved = (weights @ others).div_(total)
    squares = (weights @ others.square_()).addcmul_(moved.square(), total, value=-1.0)
    return moved.add_(first), squares
