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
    "g": "dF/dl_k, l = log w; jvi of order 1: K v_k - (K-1)/K sum_{j!=k} v_k^(-j), v^(-j) without sample j; "
    "tvo: sum_j D_j v^j_k (1 + b_j (l_k - m_j))",
    "h": "dF/dl_k - d2F/dl_k^2; jvi of order 1: K v_k^2 - (K-1)/K sum_{j!=k} (v_k^(-j))^2",
    "c": "sum_j D_j v^j_k ((1-b_j)(l_k - m_j) K/(K-1) - 1), of the points b_j of tvo and their widths D_j; "
    "v^j = softmax(b_j l), m_j = sum_k v^j_k l_k",
    "d": "sum_j D_j v^j_k (1 - 2 b_j + b_j (1-b_j)(l_k - m_j)), in the symbols of c",
    "v_n": "importance weights normalised over the first n = K - S samples, 0 for the S auxiliary samples",
    "L_n": "the IWAE bound of the first n samples, which is phi's target",
    "A": "mean over the auxiliary samples of L_n - v_n, with w_k replaced by the auxiliary sample's weight",
    "I_n": "1 for the first n samples, 0 for the others",
}
