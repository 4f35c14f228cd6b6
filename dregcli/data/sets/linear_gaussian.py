"""A synthetic data set whose exact log-likelihood is known: z ~ N(0, I), x given z ~ N(W z + b, 0.5^2 I).

The bias of every estimator and the gap of every bound can be compared with the truth. The columns of W are orthogonal
and have different lengths, so the true posterior is a diagonal Gaussian, and a linear encoder can be exact.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.dataset import SPLIT_CONVENTION, Dataset
from dregcli.data.entries import Embedded
from dregcli.names import DataKind, Split

_HEIGHT: Final = 4
_WIDTH: Final = 5
_NOISE: Final = 0.5
_COLUMN_SCALES: Final = (0.75, 0.5, 0.375, 0.25, 0.125)
_SIZES: Final = {Split.TRAIN: 5_000, Split.VALID: 1_000, Split.TEST: 1_000}
_SEED: Final = 181004152
_GRID: Final = 2.0**16
_PALEY_PRIME: Final = 19


@dataclass(frozen=True)
class Truth:
    """The model that the data were drawn from.

    Attributes:
        weight: W, of shape (20, 5); its columns are orthogonal.
        bias: b, of shape (20,).
        noise: the standard deviation of every pixel given z.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    noise: float

    @property
    def _column_squares(self) -> NDArray[np.float64]:
        return (self.weight**2).sum(axis=0)

    def _projected(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return W^T (x - b), (N, 5), summed without BLAS, whose order of addition differs between machines."""
        centred = np.asarray(x, np.float64) - self.bias
        return np.stack([(centred * column).sum(axis=1) for column in self.weight.T], axis=1)

    def log_marginal(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the exact log p(x).

        Args:
            x: examples, (N, 20).

        Returns:
            (N,), in nats per example.
        """
        # The covariance is s^2 I + sum_j w_j w_j^T with orthogonal w_j, so each direction can be treated separately.
        variance, squares = self.noise**2, self._column_squares
        dimensions, latents = self.weight.shape
        centred = np.asarray(x, np.float64) - self.bias
        distance = (centred**2).sum(axis=1) - (self._projected(x) ** 2 / (variance + squares)).sum(axis=1)
        log_determinant = (dimensions - latents) * np.log(variance) + np.log(variance + squares).sum()
        return -0.5 * (distance / variance + log_determinant + dimensions * np.log(2.0 * np.pi))

    def posterior(self, x: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the exact posterior of z, a diagonal Gaussian.

        Args:
            x: examples, (N, 20).

        Returns:
            The mean, (N, 5), and the standard deviation, (5,), which is the same for every x.
        """
        total = self.noise**2 + self._column_squares
        return self._projected(x) / total, self.noise / np.sqrt(total)


def truth() -> Truth:
    """Return the model that the data set was drawn from."""
    signs = _hadamard()[:, 1 : 1 + len(_COLUMN_SCALES)]
    # Sixteenths are exact in binary.
    bias = np.arange(1 - _HEIGHT * _WIDTH, _HEIGHT * _WIDTH, 2, dtype=np.float64) / 16.0
    return Truth(weight=signs * np.array(_COLUMN_SCALES), bias=bias, noise=_NOISE)


def load_linear_gaussian() -> Dataset:
    """Draw the data set, with the same values on every machine.

    Returns:
        5,000 / 1,000 / 1,000 examples of 20 real numbers, shown as 4x5.
    """
    model = truth()
    latents = model.weight.shape[1]
    # RandomState and not Generator: NumPy promises that its stream never changes (NEP 19).
    noise = np.random.RandomState(_SEED).standard_normal((sum(_SIZES.values()), latents + _HEIGHT * _WIDTH))
    x = model.bias + model.noise * noise[:, latents:]
    # Column by column and not with a matrix product, whose order of addition differs between machines.
    for j in range(latents):
        x = x + noise[:, j : j + 1] * model.weight[:, j]
    # Rounding removes a difference in the last bit of a logarithm between machines; the grid is exact in float32.
    x = (np.rint(x * _GRID) / _GRID).astype(np.float32)
    splits: dict[Split, NDArray[np.float32]] = {}
    first = 0
    for split, count in _SIZES.items():
        splits[split] = x[first : first + count]
        first += count
    means = {split.value: round(float(model.log_marginal(rows).mean()), 6) for split, rows in splits.items()}
    return Dataset.build(
        name="linear-gaussian",
        kind=DataKind.REAL,
        height=_HEIGHT,
        width=_WIDTH,
        levels=1,
        splits=splits,
        split_convention=SPLIT_CONVENTION,
        source="dreg, dregcli.data.sets.linear_gaussian: drawn from a known linear Gaussian model",
        provenance={
            "model": "z ~ N(0, I_5), x given z ~ N(W z + b, 0.5^2 I_20), W with orthogonal columns",
            "seed": _SEED,
            "mean_log_marginal_nats": means,
        },
    )


def _hadamard() -> NDArray[np.float64]:
    """Return Paley's 20 x 20 matrix of 1 and -1 with orthogonal columns, computed in whole numbers."""
    size = _PALEY_PRIME
    squares = {k * k % size for k in range(1, size)}
    jacobsthal = np.array(
        [[0 if i == j else (1 if (i - j) % size in squares else -1) for j in range(size)] for i in range(size)]
    )
    skew = np.zeros((size + 1, size + 1), np.int64)
    skew[0, 1:], skew[1:, 0], skew[1:, 1:] = 1, -1, jacobsthal
    return (skew + np.eye(size + 1, dtype=np.int64)).astype(np.float64)


LINEAR_GAUSSIAN: Final = Embedded(
    name="linear-gaussian",
    cites=("tipping1999ppca",),
    kind=DataKind.REAL,
    height=_HEIGHT,
    width=_WIDTH,
    convention=SPLIT_CONVENTION,
    load=load_linear_gaussian,
    checksum="a15d74312608cd63ccf6ad635cd4b81dfbc63026f78a327b536bd492f8c0493e",
    log_density=lambda x: truth().log_marginal(x),
)
