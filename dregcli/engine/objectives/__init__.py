"""The objectives: functions that training maximises.

A new objective is one file and one entry here.
Then generate the table of all pairs again: ``python -m dregcli.app.diagnosis.computed``.
"""

from typing import Final

from dregcli.engine.objectives.base import FunctionObjective, Objective, ObjectiveFormula, Terms
from dregcli.engine.objectives.ciwae import Ciwae
from dregcli.engine.objectives.elbo import Elbo
from dregcli.engine.objectives.iwae import Iwae
from dregcli.engine.objectives.jvi import Jvi
from dregcli.engine.objectives.miwae import Miwae
from dregcli.engine.objectives.piwae import Piwae
from dregcli.engine.objectives.rws import Rws
from dregcli.engine.objectives.scheduled import ScheduledObjective
from dregcli.engine.objectives.tvo import Tvo
from dregcli.engine.objectives.vr_iwae import VrIwae

__all__ = ["OBJECTIVES", "FunctionObjective", "Objective", "ObjectiveFormula", "ScheduledObjective", "Terms"]

OBJECTIVES: Final[dict[str, type[Objective]]] = {
    "elbo": Elbo,
    "iwae": Iwae,
    "rws": Rws,
    "jvi": Jvi,
    "vr-iwae": VrIwae,
    "miwae": Miwae,
    "piwae": Piwae,
    "ciwae": Ciwae,
    "tvo": Tvo,
}
