"""What a worker of a study says to the study. Standard library only: a node of a cluster need not load torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Message = Mapping[str, Any]
"""What a worker says, with one key: ``started``, first, with a list of notes, and once more if it begins again on
another machine; ``note``, ``warn``, ``begin``, ``update`` and ``end`` as the methods of a ``Listener`` with a list of
their arguments; ``output`` for a line that it printed; and one of these as its last word:

- ``outcome``: an ``Outcome``;
- ``error``: an error of the study, with its class, ``what``, ``where`` and ``hint``;
- ``unexpected``: a traceback.
"""


@dataclass(frozen=True)
class Gone:
    """A worker's process has ended.

    Attributes:
        how: how it ended, in words, as in ``was killed by SIGKILL``.
        hint: what may help if it ended without a last word.
    """

    how: str
    hint: str = "if memory ran out, use a smaller --jobs or --k-chunk"
