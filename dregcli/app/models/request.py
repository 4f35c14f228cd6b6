"""What a user says about the code of a run's model."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class CodeRequest:
    """What the user says about the code of a run's model.

    Attributes:
        model: the word of ``--model``, which names the code to use; None means the code of the run.
        trust: whether the copy that the run keeps may be run (``--trust-code``).
    """

    model: str | None = None
    trust: bool = False


AS_TRAINED: Final = CodeRequest()
"""The code of the run, if it is still where it was."""
