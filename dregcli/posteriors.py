"""The words for the family of a built-in model's posterior: ``diagonal``, ``full`` or ``flow:maf,layers=2``.

Standard library only.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dregcli.names import nearest
from dregcli.words import split_parameters

WORDS: Final = "diagonal, full, flow:maf or flow:nsf, with flow:maf,layers=2 for two transforms"
_LAYERS: Final = "layers"
_USUAL_LAYERS: Final = 1


class Family(StrEnum):
    """A family of conditional distributions."""

    DIAGONAL = "diagonal"
    """A Gaussian with independent components."""
    FULL = "full"
    """A Gaussian with a full covariance matrix, by its Cholesky factor."""
    FLOW = "flow"
    """A normalising flow of zuko."""


class Flow(StrEnum):
    """A normalising flow of zuko."""

    MAF = "maf"
    """Masked autoregressive flow (arXiv 1705.07057)."""
    NSF = "nsf"
    """Neural spline flow (arXiv 1906.04032)."""


@dataclass(frozen=True)
class PosteriorRule:
    """A parsed word.

    Attributes:
        family: the family.
        flow: the kind of flow; None for the other families.
        layers: number of the flow's transforms; 0 for the other families.
    """

    family: Family
    flow: Flow | None = None
    layers: int = 0

    @property
    def word(self) -> str:
        """The one spelling that a spec keeps."""
        if self.flow is None:
            return self.family.value
        layers = "" if self.layers == _USUAL_LAYERS else f",{_LAYERS}={self.layers}"
        return f"{self.family}:{self.flow}{layers}"


def parse_posterior(word: str) -> PosteriorRule:
    """Read a word.

    Raises:
        ValueError: the word is not valid; the message names the valid words.
    """
    name, items = split_parameters(word.strip())
    if name not in list(Family):
        raise ValueError(_refusal(word, name, [*Family, *Flow]))
    family = Family(name)
    if family is not Family.FLOW:
        if ":" in word:
            message = f"'{name}' takes no parameters, got '{word}'."
            raise ValueError(message)
        return PosteriorRule(family)
    (kind, value), *others = items or [("", None)]
    if kind not in list(Flow) or value is not None:
        raise ValueError(_refusal(word, kind, list(Flow)))
    layers = _USUAL_LAYERS
    if others:
        (key, text), *more = others
        if more or key != _LAYERS or not (text and text.isascii() and text.isdigit() and 1 <= int(text) <= 100):
            message = f"a flow takes layers=N, from 1 to 100, as in flow:{kind},layers=2, got '{word}'."
            raise ValueError(message)
        layers = int(text)
    return PosteriorRule(family, Flow(kind), layers)


def _refusal(word: str, part: str, known: list[str]) -> str:
    near = nearest(part, known)
    if near in list(Flow):
        near = f"{Family.FLOW}:{near}"
    elif near == Family.FLOW:
        near = word.replace(part, near, 1) if ":" in word else f"{near}:{Flow.MAF}"
    meant = f" Did you mean '{near}'?" if near and near != word else ""
    return f"must be {WORDS}, got '{word}'.{meant}"
