"""Antithetic samples: pairs of a Gaussian's samples from noise eps and -eps.

Samples 0 and 1 are a pair, then 2 and 3, and so on. So a pair never leaves a block of noise or a chunk of samples,
and the first K samples are whole pairs for every even K.

The two samples of a pair are z = mu + sigma eps and z' = mu - sigma eps = 2 mu - z. Let s_k be a score weight, s_kk
its derivative by log w_k, and s_kk' its derivative by the partner's log w_k'. As a function of z at fixed mu, s_k
depends on z through its own log-weight and, with the sign -1, through the partner's. So integration by parts gives
two weights of the path, one for mu and one for sigma; with g = d log w / d z,

    E[sum_k s_k d log q(z_k) / d mu]    = E[sum_k (s_kk - s_kk') g_k]
    E[sum_k s_k d log q(z_k) / d sigma] = E[sum_k (s_kk + s_kk') g_k eps_k].

With independent samples both weights are s_kk. The derivative of a value at fixed noise (reparam) needs no such rule.
"""

from torch import Tensor


def with_partners(noise: Tensor) -> Tensor:
    """Replace in place the noise of every second sample by minus the noise before it; (K, ...), from a pair on."""
    noise[1::2] = -noise[: len(noise) // 2 * 2 : 2]
    return noise


def of_partners(values: Tensor) -> Tensor:
    """Return the values of each sample's partner, (K, ...) with an even K."""
    return values.reshape(-1, 2, *values.shape[1:]).flip(1).reshape(values.shape)
