"""What can be maximised. A new objective is one file and one entry here."""

from typing import Final

from dregcli.engine.objectives.base import Objective, Terms
from dregcli.engine.objectives.elbo import Elbo
from dregcli.engine.objectives.iwae import Iwae
from dregcli.names import ObjectiveName

__all__ = ["OBJECTIVES", "Objective", "Terms"]

OBJECTIVES: Final[dict[ObjectiveName, type[Objective]]] = {
    ObjectiveName.ELBO: Elbo,
    ObjectiveName.IWAE: Iwae,
}
