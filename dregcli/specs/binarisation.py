"""Words that say how intensities become pixels: ``dynamic``, ``static-seed:3``, ``threshold:0.5`` or ``none``."""

import math
import re
from dataclasses import dataclass
from typing import Final

from dregcli.names import Binarisation, nearest

WORDS: Final = "dynamic, static-seed:N, threshold:T or none"
_FORM: Final = re.compile(r"(?P<name>[a-z-]+)(?:[ :=] *(?P<value>\S+))?")


@dataclass(frozen=True)
class BinarisationRule:
    """A parsed word.

    Attributes:
        name: name of the rule.
        seed: seed of ``static-seed``; 0 for other rules.
        threshold: threshold of ``threshold``; 0 for other rules.
    """

    name: Binarisation
    seed: int = 0
    threshold: float = 0.0

    @property
    def word(self) -> str:
        """The one spelling that a spec keeps."""
        match self.name:
            case Binarisation.STATIC_SEED:
                return f"{self.name}:{self.seed}"
            case Binarisation.THRESHOLD:
                return f"{self.name}:{self.threshold:g}" if self._is_short else f"{self.name}:{self.threshold!r}"
            case _:
                return self.name.value

    @property
    def _is_short(self) -> bool:
        return float(f"{self.threshold:g}") == self.threshold


def parse_binarisation(word: str) -> BinarisationRule:
    """Read a word; ``static-seed 3`` and ``static-seed=3`` mean ``static-seed:3``.

    Raises:
        ValueError: the word is not valid; the message names the valid words.
    """
    found = _FORM.fullmatch(word.strip())
    name, value = (found["name"], found["value"]) if found else (word, None)
    if name not in list(Binarisation):
        near = nearest(name, Binarisation)
        meant = f" Did you mean '{near}'?" if near else ""
        message = f"must be {WORDS}, got '{word}'.{meant}"
        raise ValueError(message)
    kind = Binarisation(name)
    if kind is Binarisation.STATIC_SEED:
        return BinarisationRule(kind, seed=_seed(word, value))
    if kind is Binarisation.THRESHOLD:
        return BinarisationRule(kind, threshold=_threshold(word, value))
    if value is not None:
        message = f"'{name}' takes no value, got '{word}'."
        raise ValueError(message)
    return BinarisationRule(kind)


def _seed(word: str, value: str | None) -> int:
    if value is None or not value.isascii() or not value.isdigit() or int(value) >= 2**63:
        message = f"static-seed needs a seed from 0 to 2^63 - 1, as in static-seed:0, got '{word}'."
        raise ValueError(message)
    return int(value)


def _threshold(word: str, value: str | None) -> float:
    try:
        threshold = float(value or "")
    except ValueError:
        threshold = math.nan
    if not 0.0 <= threshold < 1.0:
        message = f"threshold needs an intensity from 0 to below 1, as in threshold:0.5, got '{word}'."
        raise ValueError(message)
    return threshold + 0.0  # turns -0 into 0, so that one setting has one spelling
