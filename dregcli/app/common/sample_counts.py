"""Numbers of samples as they are typed: ``5000`` or ``1,100,5000``."""

from typing import Final

from dregcli.errors import Fault

MOST_SAMPLES: Final = 2**20
"""More is a slip of the hand: the log-weights of one evaluation batch alone would take more than a gibibyte."""


def parse_ks(text: str) -> tuple[tuple[int, ...], list[Fault]]:
    """Whole numbers with commas between, ascending, and everything that is wrong with the list.

    What is no such number is left out of the first, so that the rest can be looked at, too.
    """
    words = [word.strip() for word in text.split(",")]
    bad = [word for word in words if not (word.isascii() and word.isdecimal() and 1 <= int(word) <= MOST_SAMPLES)]
    found = [int(word) for word in words if word not in bad]
    faults: list[Fault] = []
    if bad:
        told = ", ".join(f"'{word}'" for word in bad)
        most = f"{MOST_SAMPLES:,}"
        faults.append(Fault("k", f"must be whole numbers from 1 to {most}, such as 5000 or 1,100,5000; got {told}."))
    if twice := sorted({k for k in found if found.count(k) > 1}):
        faults.append(Fault("k", f"{', '.join(map(str, twice))} is given twice."))
    return tuple(sorted(set(found))), faults
