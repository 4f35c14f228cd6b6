"""How gradients are estimated. A new estimator is one file and one entry here."""

from typing import Final

from dregcli.engine.estimators.base import Coefficients, Estimator, Expectation, Formula
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.estimators.dreg_alpha import DregAlpha
from dregcli.engine.estimators.dreg_cv import DregCv
from dregcli.engine.estimators.dreg_norm import DregNorm
from dregcli.engine.estimators.ovis import Ovis
from dregcli.engine.estimators.reinforce import Reinforce
from dregcli.engine.estimators.reparam import Reparam
from dregcli.engine.estimators.stl import Stl
from dregcli.engine.estimators.vimco import Vimco
from dregcli.engine.estimators.vimco_star import VimcoStar
from dregcli.names import EstimatorName

__all__ = ["ESTIMATORS", "Coefficients", "Estimator", "Expectation", "Formula"]

ESTIMATORS: Final[dict[EstimatorName, type[Estimator]]] = {
    EstimatorName.REPARAM: Reparam,
    EstimatorName.STL: Stl,
    EstimatorName.DREG: Dreg,
    EstimatorName.DREG_NORM: DregNorm,
    EstimatorName.DREG_ALPHA: DregAlpha,
    EstimatorName.DREG_CV: DregCv,
    EstimatorName.REINFORCE: Reinforce,
    EstimatorName.VIMCO: Vimco,
    EstimatorName.VIMCO_STAR: VimcoStar,
    EstimatorName.OVIS: Ovis,
}
