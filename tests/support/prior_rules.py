"""Every treatment of the prior, by name; each latent's samples moving alone is no option of the program."""

from dregcli.engine.prior_rule import PriorRule

RULES: dict[str, PriorRule | None] = {
    "score": None,
    "joint": PriorRule(joint=True, blended=False),
    "layer": PriorRule(joint=False, blended=False),
    "blend": PriorRule(joint=False, blended=True),
}
