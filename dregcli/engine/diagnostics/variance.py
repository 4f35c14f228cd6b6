"""Variance and direction of many estimators' gradients against K, all on the same noise."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, cast

import torch
from torch import Tensor

from dregcli.engine.diagnostics.jackknife import Statistic, mean_of_groups
from dregcli.engine.diagnostics.measurement import GROUPS, Measurement, Plan, groups_of, prior_direction, units
from dregcli.engine.diagnostics.references import directions_of
from dregcli.engine.diagnostics.replicates import Replicates
from dregcli.engine.diagnostics.variance_result import GradientOf, Name, Reference, Row, Sampled
from dregcli.engine.moments import GroupMoments
from dregcli.engine.pairs import Pair
from dregcli.engine.randomness import Stream
from dregcli.errors import NotFinite
from dregcli.names import Network, PriorGradient

FEWEST_REPLICATES: Final = 2 * GROUPS
"""Smallest number of replicates: two per group, since one replicate has no variance."""

FEWEST_REFERENCE: Final = 2

MOST_STATE: Final = 2**26
"""Largest size in bytes of an unfinished K's moments in the saved state. Ten estimators of a model with half a
million parameters need three times as much, and writing this takes more memory than measuring; such a study repeats
the unfinished K after a stop."""

_HALVES: Final = 2

Found = tuple[dict[Network, list[dict[Name, Statistic]]], Statistic, Statistic]
"""Results at one K: the statistics of each sequence, the effective sample size and the bound."""


class VarianceStudy:
    """A study that draws replicates of the reference, then of each K, one draw after the other.

    Args:
        source: source of the replicates.
        pairs: requested pairs; at a K where some are not defined, the others are measured.
        ks: numbers of samples, ascending; at each, at least one pair is defined.
        replicates: number of replicates at each K, R; at least ``FEWEST_REPLICATES``.
        reference_k: samples per example of the reference gradients.
        reference_replicates: number of reference replicates, on separate noise; at least ``FEWEST_REFERENCE``.
        prior: kinds of a learned prior's gradient to measure; all that the source has if they are not given.
    """

    def __init__(
        self,
        source: Replicates,
        pairs: Sequence[Pair],
        ks: Sequence[int],
        *,
        replicates: int,
        reference_k: int,
        reference_replicates: int,
        prior: Sequence[PriorGradient] | None = None,
    ) -> None:
        self._source, self._pairs, self._ks = source, list(pairs), list(ks)
        self._replicates, self._group = replicates, groups_of(replicates, GROUPS)
        self._reference_k, self._reference_replicates = reference_k, reference_replicates
        self._references = directions_of(pairs, reference_k, source.takes)
        self._prior = list(source.prior_gradients if prior is None else prior)
        self._prior_reference = prior_direction(source.prior_gradients)
        self._halves = {network: GroupMoments(_HALVES) for network in source.networks}
        self._found: list[Found] = []
        self._referred = False
        self._drawn = 0

    @property
    def done(self) -> bool:
        """Whether there is nothing left to draw."""
        return self._referred and len(self._found) == len(self._ks)

    @property
    def k(self) -> int:
        """Number of samples of the present draws."""
        if not self._referred:
            return self._reference_k
        return self._ks[min(len(self._found), len(self._ks) - 1)]

    @property
    def total(self) -> int:
        """Total work: samples per example over all replicates."""
        return self._reference_k * self._reference_replicates + sum(self._ks) * self._replicates

    @property
    def samples(self) -> int:
        """Finished work: samples per example that are done."""
        if not self._referred:
            return self._reference_k * self._drawn
        finished = (
            self._reference_k * self._reference_replicates + sum(self._ks[: len(self._found)]) * self._replicates
        )
        return finished + (0 if self.done else self.k * self._drawn)

    def advance(self) -> None:
        """Make one draw.

        Raises:
            NotFinite: a pair has no finite gradient here.
        """
        if not self._referred:
            self._advance_reference()
        else:
            self._advance_k()

    def _advance_reference(self) -> None:
        end, split = self._reference_replicates, groups_of(self._reference_replicates, _HALVES)
        asked = self._references, self._prior_reference
        for _, half, vectors in self._next(Stream.VARIANCE_REFERENCE, *asked, split):
            for network, each in vectors.items():
                self._halves[network].add(half, each)
        if self._drawn == end:
            self._referred = True
            self._begin()

    def _begin(self) -> None:
        """Begin the next K, if there is one."""
        self._drawn = 0
        if self.done:
            return
        self._plan = self._plan_at(self.k)
        self._numbers = torch.full((2, self._replicates), math.nan, dtype=torch.float64)
        objectives = [pair.objective for pair in self._references]
        self._measured: dict[Network, Measurement] = {}
        for network, sequences in self._plan.sequences.items():
            to = units(self._halves[network].mean(range(_HALVES)))
            to = to[[objectives.index(each.objective) for each in sequences]]
            self._measured[network] = Measurement(
                self._plan.directions[network], self._plan.targets[network], to, self._replicates
            )

    def _plan_at(self, k: int) -> Plan:
        return Plan.of(self._pairs, k, self._source, self._prior)

    def _advance_k(self) -> None:
        asked = self._plan.pairs, self._plan.prior
        for first, group, vectors in self._next(Stream.VARIANCE_NOISE, *asked, self._group):
            for network, each in vectors.items():
                self._measured[network].add(first, group, each)
        if self._drawn < self._replicates:
            return
        ess, bound = (mean_of_groups(each, self._group, range(GROUPS)) for each in self._numbers)
        measured = {
            network: each.statistics(self._unsure.get(network, ())) for network, each in self._measured.items()
        }
        self._found.append((measured, ess, bound))
        self._begin()

    def _next(
        self, stream: Stream, pairs: Sequence[Pair], prior: Sequence[PriorGradient], group: Tensor
    ) -> Iterator[tuple[int, int, dict[Network, Tensor]]]:
        """Yield the next draw's replicates, cut at the ends of groups: first index, group and vectors."""
        first, at_once = self._drawn, self._source.at_once
        count = min(at_once, len(group) - first)
        drawn = self._source.draw(stream, first // at_once, count, pairs, self.k, prior)
        self._require_finite(drawn.gradients, pairs)
        self._unsure = drawn.unsure
        if stream is Stream.VARIANCE_NOISE:
            self._numbers[:, first : first + count] = torch.stack([drawn.ess, drawn.bound]).cpu()
        here = cast("list[int]", group[first : first + count].tolist())  # pyright: ignore[reportUnknownMemberType]
        start = 0
        for each, members in groupby(here):
            part = slice(start, start := start + len(list(members)))
            vectors = {network: vectors[:, part] for network, vectors in drawn.gradients.items()}
            yield first + part.start, each, vectors
        self._drawn = first + count

    def _require_finite(self, gradients: Mapping[Network, Tensor], pairs: Sequence[Pair]) -> None:
        finite = gradients[Network.ENCODER].isfinite().all(dim=-1).all(dim=-1).tolist()  # pyright: ignore[reportUnknownVariableType]
        for pair, is_finite in zip(pairs, cast("list[bool]", finite), strict=True):
            if not is_finite:
                what = f"'{pair.word}' has no finite gradient at K={self.k}."
                raise NotFinite(what, hint="leave out this estimator or this K")

    def rows(self) -> list[Row]:
        """Return the results at every finished K: sequence by sequence, each by K."""
        found: dict[GradientOf, list[Row]] = {}
        for k, (statistics, _, _) in zip(self._ks, self._found, strict=False):
            plan = self._plan_at(k)
            for network, sequences in plan.sequences.items():
                for of, each in zip(sequences, statistics[network], strict=True):
                    found.setdefault(of, []).append(Row(of, k, plan.promise(of, k), each))
        # In the order of the requested pairs; not all of them are defined at every K.
        order = [GradientOf(Network.ENCODER, pair.objective, pair) for pair in self._pairs]
        order += [GradientOf.of_theta(Network.DECODER, pair) for pair in self._pairs]
        order += [GradientOf.of_theta(Network.PRIOR, pair, kind) for pair in self._pairs for kind in self._prior]
        return [row for of in dict.fromkeys(order) for row in found.get(of, [])]

    def sampled(self) -> list[Sampled]:
        """Return the results that all pairs share, at every finished K."""
        return [Sampled(k, ess, bound) for k, (_, ess, bound) in zip(self._ks, self._found, strict=False)]

    def references(self) -> list[Reference]:
        """Return the quality of the reference gradients."""
        found: list[Reference] = []
        for network, halves in self._halves.items():
            one, two = (units(halves.mean([half])) for half in range(_HALVES))
            for pair, agreement in zip(self._references, (one * two).sum(dim=-1).tolist(), strict=True):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
                found.append(
                    Reference(
                        network,
                        pair,
                        self._reference_k,
                        self._reference_replicates,
                        cast("float", agreement),
                        self._prior_reference[0] if network is Network.PRIOR else None,
                    )
                )
        return found

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return all that a later process needs to continue: plain numbers, and arrays by name."""
        arrays = {f"reference-{network}/{name}": each for network, name, each in _named(self._halves)}
        drawn = self._drawn
        if self._referred and not self.done:
            now = {f"{network}/{name}": each for network, name, each in _named(self._measured)}
            if sum(each.nbytes for each in now.values()) <= MOST_STATE:
                arrays |= now | {"numbers": self._numbers}
            else:
                drawn = 0
        return {"referred": self._referred, "drawn": drawn, "found": [_plain(each) for each in self._found]}, arrays

    def load(self, numbers: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> None:
        """Restore what ``state`` returned, for the same source, pairs and numbers."""

        def under(prefix: str) -> dict[str, Tensor]:
            device = self._source.device
            return {
                name.partition("/")[2]: each.to(device) for name, each in arrays.items() if name.startswith(prefix)
            }

        self._referred = bool(numbers["referred"])
        self._found = [_from_plain(each) for each in numbers["found"]]
        for network, halves in self._halves.items():
            halves.load(under(f"reference-{network}/"))
        if self._referred:
            self._begin()
        self._drawn = int(numbers["drawn"])
        if "numbers" in arrays:
            self._numbers = arrays["numbers"].clone()
            for network, measured in self._measured.items():
                measured.load(under(f"{network}/"))


def _named(
    parts: Mapping[Network, GroupMoments] | Mapping[Network, Measurement],
) -> Iterator[tuple[Network, str, Tensor]]:
    for network, part in parts.items():
        for name, each in part.state().items():
            yield network, name, each


def _plain(found: Found) -> dict[str, Any]:
    networks, ess, bound = found
    return {
        "ess": [ess.value, *ess.without],
        "bound": [bound.value, *bound.without],
        "networks": {
            network.value: [{name: [each.value, *each.without] for name, each in of.items()} for of in sequences]
            for network, sequences in networks.items()
        },
    }


def _from_plain(plain: Mapping[str, Any]) -> Found:
    def statistic(values: Sequence[float]) -> Statistic:
        return Statistic(float(values[0]), tuple(float(each) for each in values[1:]))

    networks: dict[Network, list[dict[Name, Statistic]]] = {
        Network(network): [{name: statistic(values) for name, values in of.items()} for of in sequences]
        for network, sequences in plain["networks"].items()
    }
    return networks, statistic(plain["ess"]), statistic(plain["bound"])
