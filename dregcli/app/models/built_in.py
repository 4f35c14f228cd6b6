"""The built-in models that are classes like a user's own: a word, and where its class is."""

from typing import Final

PROGRAMS: Final[dict[str, str]] = {}
"""``module:Class`` by the word for ``--model``. Such a model takes its options by ``--model-option``, and its code is
part of dreg, so that a run keeps no copy and no digest of it."""
