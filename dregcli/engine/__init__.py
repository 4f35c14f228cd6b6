"""The engine: torch only. Objectives and estimators on log-weights, models, gradients, training, evaluation."""

from dregcli.engine.estimators import ESTIMATORS
from dregcli.engine.loss import multi_sample_loss
from dregcli.engine.objectives import OBJECTIVES
from dregcli.engine.pairs import coefficients, promise

__all__ = ["ESTIMATORS", "OBJECTIVES", "coefficients", "multi_sample_loss", "promise"]
