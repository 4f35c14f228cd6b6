"""The estimators: rules by which gradients are estimated.

A new estimator is one file and one entry here.
Then generate the table of all pairs again: ``python -m dregcli.app.diagnosis.computed``.
"""

from typing import Final

from dregcli.engine.estimators.base import Coefficients, Estimator, Expectation, Formula
from dregcli.engine.estimators.covariance import Covariance
from dregcli.engine.estimators.double import Double
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.estimators.dreg_alpha import DregAlpha
from dregcli.engine.estimators.dreg_cv import DregCv
from dregcli.engine.estimators.dreg_norm import DregNorm
from dregcli.engine.estimators.ovis import Ovis
from dregcli.engine.estimators.ovis_mc import OvisMc
from dregcli.engine.estimators.reinforce import Reinforce
from dregcli.engine.estimators.reparam import Reparam
from dregcli.engine.estimators.stl import Stl
from dregcli.engine.estimators.vimco import Vimco
from dregcli.engine.estimators.vimco_star import VimcoStar

__all__ = ["ESTIMATORS", "Coefficients", "Estimator", "Expectation", "Formula"]

ESTIMATORS: Final[dict[str, type[Estimator]]] = {
    "reparam": Reparam,
    "stl": Stl,
    "dreg": Dreg,
    "dreg-norm": DregNorm,
    "dreg-alpha": DregAlpha,
    "dreg-cv": DregCv,
    "reinforce": Reinforce,
    "vimco": Vimco,
    "vimco-star": VimcoStar,
    "ovis": Ovis,
    "ovis-mc": OvisMc,
    "covariance": Covariance,
    "double": Double,
}
