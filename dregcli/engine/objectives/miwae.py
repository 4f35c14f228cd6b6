"""The mean of importance-weighted bounds over groups of the samples."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from dregcli.engine.antithetic import of_partners
from dregcli.engine.objectives.base import FunctionObjective, Objective, ObjectiveFormula, Terms, terms_of_function
from dregcli.engine.objectives.iwae import Iwae
from dregcli.engine.weights import leave_one_out_sum, log_mean_exp, normalised


def divisors(k: int) -> list[int]:
    """Return the numbers of groups that ``k`` samples can be cut into."""
    return [m for m in range(1, k + 1) if k % m == 0]


@dataclass(frozen=True)
class Grouped(Objective):
    """An objective whose samples are cut into M groups of K/M: consecutive samples make a group."""

    rises_with_k: ClassVar[bool] = True

    groups: int = 8

    @property
    def smallest_k(self) -> int:
        """One sample per group."""
        return self.groups

    def faults(self, k: int) -> list[str]:
        """Check that the number of groups divides the number of samples."""
        if self.groups < 1:
            return [f"groups must be at least 1, got {self.groups}."]
        if k >= self.groups and k % self.groups:
            return [f"groups must divide k={k}, got {self.groups}; these do: {', '.join(map(str, divisors(k)))}."]
        return []

    def is_linear(self, k: int) -> bool:
        """Whether each group has one sample: then phi's objective is the ELBO."""
        return k == self.groups

    @classmethod
    def settings(cls, k: int) -> tuple[Self, ...]:
        """Return the smallest possible numbers of groups, at most four."""
        return tuple(cls(groups) for groups in divisors(k)[:4])


@dataclass(frozen=True)
class Miwae(Grouped, FunctionObjective):
    """The objective (1/M) sum_m IWAE of group m, for M groups of K/M samples.

    Reference: Rainforth et al., arXiv 1802.04537, section 5.
    """

    name: ClassVar[str] = "miwae"
    reference: ClassVar[str] = "arXiv 1802.04537, section 5"
    cites: ClassVar[tuple[str, ...]] = ("rainforth2018tighter",)
    formula: ClassVar[ObjectiveFormula] = ObjectiveFormula("v_m/M", "v_m/M", "-v_m/M", "v_m^2/M")
    has_partners: ClassVar[bool] = True

    def _grouped(self, x: Tensor) -> Tensor:
        """Reshape (K, B) to (K/M, M * B), so that each group is a column with its own softmax over the first axis."""
        k, batch = x.shape
        size = k // self.groups
        return x.reshape(self.groups, size, batch).transpose(0, 1).reshape(size, self.groups * batch)

    def _ungrouped(self, x: Tensor, batch: int) -> Tensor:
        size = x.shape[0]
        return x.reshape(size, self.groups, batch).transpose(0, 1).reshape(self.groups * size, batch)

    def terms(self, log_w: Tensor) -> Terms:
        """Compute F_k = v_k / M and F_kk = (v_k - v_k^2) / M with v normalised inside the group, shape (K, B)."""
        batch = log_w.shape[1]
        inner = Iwae().terms(self._grouped(log_w))
        first = self._ungrouped(inner.path, batch) / self.groups
        second = -self._ungrouped(inner.dscore, batch) / self.groups
        return terms_of_function(log_w, inner.value.reshape(self.groups, batch).mean(dim=0), first, second)

    def dscore_by_partner(self, log_w: Tensor) -> Tensor:
        """Compute v_k v_k' / M, or 0 for a pair in two groups."""
        batch = log_w.shape[1]
        v = self._ungrouped(normalised(self._grouped(log_w)), batch)
        group = torch.arange(len(v), device=v.device) // (len(v) // self.groups)
        together = (group == of_partners(group)).unsqueeze(1)
        return torch.where(together, v * of_partners(v) / self.groups, 0.0)

    def replaced(self, log_w: Tensor, replacement: Tensor) -> Tensor:
        """Replace each weight in turn; only the sample's own group changes."""
        batch = log_w.shape[1]
        own = self._ungrouped(Iwae().replaced(self._grouped(log_w), self._grouped(replacement)), batch)
        bounds = log_mean_exp(self._grouped(log_w)).reshape(self.groups, batch)
        others = leave_one_out_sum(bounds).repeat_interleave(log_w.shape[0] // self.groups, dim=0)
        return (own + others) / self.groups
