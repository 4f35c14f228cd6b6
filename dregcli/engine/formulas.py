"""The symbols of the formulas that ``dreg estimators`` shows."""

from typing import Final

SYMBOLS: Final[dict[str, str]] = {
    "K": "samples per example",
    "M": "groups",
    "v": "normalised importance weights, softmax of log w over the K samples",
    "v_m": "importance weights normalised inside the sample's group",
    "u": "softmax of (1 - alpha) log w",
    "L": "the IWAE bound, logsumexp(log w) - log K",
    "B": "logsumexp of log w over the other samples",
    "F": "the objective's value",
    "F_r": "the objective's value with w_k replaced by the mean of the other samples' weights",
    "g": "dF/dl_k, l = log w; for order 1: K v_k - (K-1)/K sum_{j!=k} v_k^(-j), v^(-j) without sample j",
    "h": "dF/dl_k - d2F/dl_k^2; for order 1: K v_k^2 - (K-1)/K sum_{j!=k} (v_k^(-j))^2",
}
