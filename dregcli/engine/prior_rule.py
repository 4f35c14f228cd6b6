"""The rule by which the gradient of a learned prior is made from row weights.

The prior's part of theta's gradient is sum_k model_k d log p(z_k) / d theta, the score. It can also go along samples
of the prior: with e = T^-1(z; theta) held fixed, zhat = T(e; theta) has the numbers of z and moves with theta. Then

    E[sum_k model_k d log p_l(z_k) / d theta] = E[sum_k (model_k A_k - square_k g_k) d zhat_k / d theta],

where g = d log w / d z, A is the part of d log p(x, z) / d z that does not come from the priors of such latents, and
square = model - d model / d log w (arXiv 2101.11046). Its variance is small where q is close to the prior, and large
where q is much narrower.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dregcli.errors import Fault
from dregcli.names import PriorGradient, unknown


@dataclass(frozen=True)
class PriorRule:
    """How the prior's gradient goes along its samples.

    Attributes:
        joint: whether samples of all latents move together, so that a lower latent's prior follows the upper
            latents' samples. If not, each latent's samples move alone, with the upper latents held fixed.
        blended: whether only a share c of the gradient goes along the samples, for each dimension of each latent, and
            the rest is the score; c = min(1, variance of q / variance of the prior). There is no bias, since c does
            not depend on the latent's own sample, and no other sample moves.

    Raises:
        ValueError: a blend is joint. It would be biased: the shares depend on samples that move.
    """

    joint: bool
    blended: bool

    def __post_init__(self) -> None:
        """Refuse what is biased."""
        if self.joint and self.blended:
            message = "a blend's shares depend on the other latents' samples, which must not move"
            raise ValueError(message)


RULES: Final[Mapping[PriorGradient, PriorRule | None]] = {
    PriorGradient.SCORE: None,
    PriorGradient.GDREG: PriorRule(joint=True, blended=False),
    PriorGradient.BLEND: PriorRule(joint=False, blended=True),
}
"""The rules; none for the score."""


FIXED_PRIOR: Final = "the model's prior has no parameters to learn."
"""Why theta's gradient cannot go along samples of a fixed prior."""


def kind_faults(words: Iterable[str]) -> list[Fault]:
    """Return a fault for each word that names no kind of a prior's gradient."""
    wrong = [word for word in dict.fromkeys(words) if word not in RULES]
    return [Fault("prior-gradient", unknown("gradient of a prior", word, RULES)) for word in wrong]
