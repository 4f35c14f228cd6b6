"""The engine: torch only. Objectives and estimators on log-weights, models, gradients, training, evaluation."""

from dregcli.engine.diagnostics.gradient_report import gradient_report
from dregcli.engine.diagnostics.own_model import check_bias
from dregcli.engine.estimators import ESTIMATORS
from dregcli.engine.objectives import OBJECTIVES
from dregcli.engine.own.loss import multi_sample_loss
from dregcli.engine.pairs import coefficients, promise

__all__ = [
    "ESTIMATORS",
    "OBJECTIVES",
    "check_bias",
    "coefficients",
    "gradient_report",
    "multi_sample_loss",
    "promise",
]
