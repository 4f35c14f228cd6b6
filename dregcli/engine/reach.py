"""What autograd reaches from a tensor: the leaves that its backward pass would add to, and the way there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor
from torch.autograd.graph import GradientEdge

_COMPILED = "CompiledFunctionBackward"
"""The node that ``torch.compile`` makes of a whole graph. As a rule it runs once: its buffers are given away."""


@dataclass(frozen=True)
class Reach:
    """The graph behind one tensor.

    Attributes:
        leaves: the tensors to whose ``grad`` a backward pass would add.
        names: the names of all nodes, in the order in which they were met; two equal ones are of equal graphs, as a
            rule. Of batch normalisation it says whether it is in training mode.
    """

    leaves: frozenset[Tensor]
    names: tuple[str, ...]

    @classmethod
    def of(cls, output: Tensor) -> "Reach":
        """Walk the graph behind ``output``."""
        if output.grad_fn is None:
            return cls(frozenset({output} if output.requires_grad else ()), ())
        leaves: set[Tensor] = set()
        names: list[str] = []
        todo, seen = [output.grad_fn], {output.grad_fn}
        while todo:
            node = todo.pop()
            name = node.name()
            if name == "torch::autograd::AccumulateGrad":
                leaves.add(cast("Any", node).variable)
            elif (training := getattr(node, "_saved_training", None)) is not None:
                name += f" {training}"
            names.append(name)
            for following, _ in node.next_functions:
                if following is not None and following not in seen:
                    seen.add(following)
                    todo.append(following)
        return cls(frozenset(leaves), tuple(names))

    @property
    def is_compiled(self) -> bool:
        """Whether a part of it was compiled by ``torch.compile``."""
        return _COMPILED in self.names


Ends = dict[Any, Tensor | GradientEdge]
"""Where to differentiate to, by a key that is the same for the same place."""


def ends_before(output: Tensor, stops: Sequence[Tensor] = ()) -> Ends:
    """Where a backward pass from ``output`` ends: at some tensors, else at leaves.

    Compiled parts, which stand one pass, end it as well: there it is at the edges that lead into these.
    """
    edges = {(cast("Any", each.grad_fn), each.output_nr) for each in stops if each.grad_fn is not None}
    found: Ends = {}
    if output.grad_fn is None:
        return {output: output} if output.requires_grad else found
    todo, seen = [(output.grad_fn, output.output_nr)], set[Any]()
    while todo:
        place = todo.pop()
        if place in seen:
            continue
        seen.add(place)
        node, number = place
        name = node.name()
        if place in edges or name == _COMPILED:
            found[place] = GradientEdge(node, number)
            continue
        if name == "torch::autograd::AccumulateGrad":
            leaf = cast("Tensor", cast("Any", node).variable)
            found[leaf] = leaf
        if node in seen:
            continue
        seen.add(node)
        todo.extend((following, nr) for following, nr in node.next_functions if following is not None)
    return found
