"""The autograd graph behind a tensor: the leaves that its backward pass would add to, and the nodes before them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor
from torch.autograd.graph import GradientEdge

_COMPILED = "CompiledFunctionBackward"
"""The node that ``torch.compile`` makes of a whole graph. Usually it runs only once, since it frees its buffers."""


_REENTRANT = "CheckpointFunctionBackward"
"""The node that ``torch.utils.checkpoint`` makes with ``use_reentrant=True``, which allows ``backward()`` alone."""

NO_REENTRANT = "call torch.utils.checkpoint.checkpoint(..., use_reentrant=False)"
"""What to do about such a node."""

_LEAF = "torch::autograd::AccumulateGrad"
"""The node that adds to a leaf's ``grad``."""

Place = tuple[Any, int]
"""An edge of the graph: the node that it leads into, and the index of the node's output that it belongs to."""


@dataclass(frozen=True)
class Reach:
    """The graph behind one tensor.

    Attributes:
        leaves: tensors to whose ``grad`` a backward pass would add.
        names: names of all nodes, in the order in which they were found; equal names usually mean equal graphs. The
            name of a batch normalisation says whether it is in training mode.
    """

    leaves: frozenset[Tensor]
    names: tuple[str, ...]

    @classmethod
    def of(cls, output: Tensor) -> "Reach":
        """Walk the graph behind ``output``."""
        if output.grad_fn is None:
            return cls(frozenset({output} if output.requires_grad else ()), ())
        leaves: set[Tensor] = set()
        names: dict[Any, str] = {}
        for (node, _), name in _walk(output):
            if name == _LEAF:
                leaves.add(node.variable)
            training = getattr(node, "_saved_training", None)
            names[node] = name if training is None else f"{name} {training}"
        return cls(frozenset(leaves), tuple(names.values()))

    @property
    def is_compiled(self) -> bool:
        """Whether a part of the graph was compiled by ``torch.compile``."""
        return _COMPILED in self.names

    @property
    def is_reentrant(self) -> bool:
        """Whether a part of the graph is a checkpoint that allows ``backward()`` alone."""
        return _REENTRANT in self.names


def nodes_behind(output: Tensor) -> dict[Any, set[Tensor]]:
    """Return the nodes of the graph behind ``output``, each with the leaves that it leads into directly.

    Nodes of two graphs can be compared while both graphs are held.
    """
    found: dict[Any, set[Tensor]] = {}
    if output.grad_fn is not None:
        for (node, _), name in _walk(output):
            if name != _LEAF:
                found[node] = {each.variable for each, _ in node.next_functions if each and each.name() == _LEAF}
    return found


Ends = dict[Any, Tensor | GradientEdge]
"""The places to differentiate to, by a key that is equal for equal places."""


def ends_before(output: Tensor, stops: Sequence[Tensor] = ()) -> Ends:
    """Return where a backward pass from ``output`` ends: at the ``stops``, otherwise at leaves.

    It also ends at the edges that lead into compiled parts, since these allow one pass only.
    """
    edges = {(cast("Any", each.grad_fn), each.output_nr) for each in stops if each.grad_fn is not None}
    if output.grad_fn is None:
        return {output: output} if output.requires_grad else {}

    def is_end(place: Place, name: str) -> bool:
        return place in edges or name == _COMPILED

    found: Ends = {}
    for place, name in _walk(output, is_end):
        if is_end(place, name):
            found[place] = GradientEdge(*place)
        elif name == _LEAF:
            leaf = place[0].variable
            found[leaf] = leaf
    return found


def _walk(output: Tensor, is_end: Callable[[Place, str], bool] | None = None) -> Iterator[tuple[Place, str]]:
    """Yield each edge of the graph behind a tensor once, with the name of the node that it leads into.

    Args:
        output: tensor at which the walk begins.
        is_end: says whether the walk stops at an edge.
    """
    todo: list[Place] = [(output.grad_fn, output.output_nr)]
    seen, entered = set[Place](), set[Any]()
    while todo:
        place = todo.pop()
        node = place[0]
        if node is None or place in seen:
            continue
        seen.add(place)
        name = node.name()
        yield place, name
        if node in entered or (is_end is not None and is_end(place, name)):
            continue
        entered.add(node)
        todo.extend(node.next_functions)
