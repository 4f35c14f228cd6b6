"""Batch means are plain averages of consecutive vectors, at any count and across a restart."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dregcli.engine.diagnostics.batch_means import MOST_MEANS, BatchMeans

MOST = 6
WIDTHS = {"early": 2, "late": 3}


def _vectors(n: int, late: int) -> dict[str, Tensor]:
    """Whole numbers, whose sums are exact in any order; ``late`` is all 0 before its first vector."""
    generator = torch.Generator().manual_seed(n)
    found = {name: torch.randint(-9, 10, (n, width), generator=generator).double() for name, width in WIDTHS.items()}
    found["late"][:late] = 0.0
    return found


def _add(means: BatchMeans, vectors: dict[str, Tensor], first: int, last: int, late: int) -> None:
    for i in range(first, last):
        means.add({name: rows[i] for name, rows in vectors.items() if name == "early" or i >= late})


def _expected(vectors: dict[str, Tensor], most: int, late: int) -> tuple[int, dict[str, Tensor]]:
    """The smallest size, a power of two, at which all vectors fit; and plain averages of that many."""
    n = len(vectors["early"])
    size = 1
    while n > most * size:
        size *= 2
    whole = n // size
    means = {
        name: rows[: whole * size].reshape(whole, size, rows.shape[1]).mean(dim=1) for name, rows in vectors.items()
    }
    if late >= n:
        del means["late"]
    return size, means if n else {}


def faults(kind: type[BatchMeans], n: int, late: int) -> list[str]:
    """In what the means of n vectors are not plain averages."""
    vectors = _vectors(n, late)
    means = kind(most=MOST)
    _add(means, vectors, 0, n, late)
    size, expected = _expected(vectors, MOST, late)
    found = means.means()
    wrong = [name for name in expected if name not in found or not torch.equal(found[name], expected[name])]
    if set(found) != set(expected):
        wrong.append("parts")
    if (means.size, means.count, means.whole) != (size, n, n // size):
        wrong.append("counts")
    return wrong


@settings(deadline=None)
@given(n=st.integers(0, 200), late=st.integers(0, 200))
def test_means_are_averages_of_consecutive_vectors(n: int, late: int) -> None:
    assert faults(BatchMeans, n, late) == []


def test_from_half_of_them_to_all_are_kept() -> None:
    means = BatchMeans()
    for i in range(5 * MOST_MEANS):
        means.add({"x": torch.tensor([float(i)])})
        if means.count > MOST_MEANS:
            assert MOST_MEANS // 2 <= means.whole <= MOST_MEANS
    assert means.size == 8
    assert means.means()["x"][:2, 0].tolist() == [3.5, 11.5]


class _NonNeighbours(BatchMeans):
    """The wrong twin: halves are merged with each other, so that means are not of consecutive vectors."""

    def _merge(self) -> None:
        half = self._most // 2
        for name, sums in self._sums.items():
            self._sums[name] = torch.cat([sums[:half] + sums[half:], torch.zeros_like(sums[half:])])
        self.size *= 2


class _Dropping(BatchMeans):
    """The wrong twin: every other mean is dropped instead of merged."""

    def _merge(self) -> None:
        for name, sums in self._sums.items():
            self._sums[name] = torch.cat([2.0 * sums[0::2], torch.zeros_like(sums[1::2])])
        self.size *= 2


class _PartsFromWhereTheyAppear(BatchMeans):
    """The wrong twin: a late part's first vector goes to the first row."""

    def add(self, parts) -> None:
        new = {name: values for name, values in parts.items() if name not in self._sums}
        super().add(parts)
        row = (self.count - 1) // self.size
        for name, values in new.items():
            self._sums[name][row] -= values
            self._sums[name][0] += values


class _Unfinished(BatchMeans):
    """The wrong twin: the last mean counts before it is complete."""

    @property
    def whole(self) -> int:
        return -(-self.count // self.size)


@pytest.mark.parametrize("twin", [_NonNeighbours, _Dropping, _PartsFromWhereTheyAppear, _Unfinished])
def test_wrong_twins_are_caught(twin: type[BatchMeans]) -> None:
    assert faults(twin, 2 * MOST + 1, late=MOST + 2)


@settings(deadline=None)
@given(n=st.integers(0, 60), stop=st.integers(0, 60), late=st.integers(0, 60))
def test_it_continues_bit_for_bit(n: int, stop: int, late: int) -> None:
    stop = min(stop, n)
    vectors = {name: rows / 7.0 for name, rows in _vectors(n, late).items()}
    straight, before, after = (BatchMeans(most=MOST) for _ in range(3))
    _add(straight, vectors, 0, n, late)
    _add(before, vectors, 0, stop, late)
    numbers, sums = before.state()
    after.load(numbers, sums)
    # Neither goes on in the other's memory.
    _add(after, vectors, stop, n, late)
    _add(before, vectors, stop, n, late)
    for means in (before, after):
        assert (means.size, means.count) == (straight.size, straight.count)
        expected = straight.means()
        assert {name: rows.tolist() for name, rows in means.means().items()} == {
            name: rows.tolist() for name, rows in expected.items()
        }


def test_what_was_loaded_goes_where_the_next_vector_is() -> None:
    """A file holds no device: a check on a GPU that goes on loads its sums on the CPU. meta stands in for one."""
    means = BatchMeans()
    means.load({"size": 1, "count": 2}, {"x": torch.zeros(96, 3)})
    means.add({"x": torch.zeros(3, device="meta")})
    assert means.means()["x"].device.type == "meta"
