"""Parse numbers of samples as the user types them: ``5000`` or ``1,100,5000``."""

from typing import Final

from dregcli.errors import Fault

MOST_SAMPLES: Final = 2**20
"""A larger number is a typing error: the log-weights of one evaluation batch would take more than a gibibyte."""


def parse_ks(text: str) -> tuple[tuple[int, ...], list[Fault]]:
    """Return the whole numbers of a list with commas, in ascending order, and every fault of the list.

    Words that are not such numbers are left out of the result, so that the other words are checked, too.
    """
    words = [word.strip() for word in text.split(",")]
    bad = [word for word in words if not (word.isascii() and word.isdecimal() and 1 <= int(word) <= MOST_SAMPLES)]
    found = [int(word) for word in words if word not in bad]
    faults: list[Fault] = []
    if bad:
        shown = ", ".join(f"'{word}'" for word in bad)
        most = f"{MOST_SAMPLES:,}"
        faults.append(Fault("k", f"must be whole numbers from 1 to {most}, such as 5000 or 1,100,5000; got {shown}."))
    if twice := sorted({k for k in found if found.count(k) > 1}):
        faults.append(Fault("k", f"{', '.join(map(str, twice))} is given twice."))
    return tuple(sorted(set(found))), faults
