"""How gradients are estimated. A new estimator is one file and one entry here."""

from typing import Final

from dregcli.engine.estimators.base import Coefficients, Estimator
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.estimators.reparam import Reparam
from dregcli.engine.estimators.stl import Stl
from dregcli.names import EstimatorName

__all__ = ["ESTIMATORS", "Coefficients", "Estimator"]

ESTIMATORS: Final[dict[EstimatorName, type[Estimator]]] = {
    EstimatorName.REPARAM: Reparam,
    EstimatorName.STL: Stl,
    EstimatorName.DREG: Dreg,
}
