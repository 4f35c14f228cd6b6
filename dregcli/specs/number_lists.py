"""Lists of numbers as they are typed: seeds such as ``0-4`` or ``0,2,5-7``, samples such as ``1,100,5000``."""

import re
from collections import Counter
from typing import Final

from dregcli.errors import Fault

MOST_SEEDS: Final = 10_000
"""More seeds than this are probably a typing error: with runs of one second each, such a study takes hours."""

_LARGEST: Final = 2**63 - 1
"""The largest seed; ``RunSpec.seed`` has the same limit."""

_WORD: Final = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,19}))?", re.ASCII)

MOST_SAMPLES: Final = 2**20
"""A larger number is a typing error: the log-weights of one evaluation batch would take more than a gibibyte."""


def parse_seeds(text: str) -> tuple[tuple[int, ...], list[Fault]]:
    """Read seeds and ranges of seeds, separated by commas, and find all faults of the list.

    Args:
        text: the text as typed.

    Returns:
        The seeds in the given order, empty if there is a fault, and the faults.
    """
    bad: list[str] = []
    ranges: list[range] = []
    faults: list[Fault] = []
    for word in (each.strip() for each in text.split(",")):
        found = _WORD.fullmatch(word)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, _LARGEST + 1)
        if max(first, last) > _LARGEST:
            bad.append(word)
        elif last < first:
            faults.append(Fault("seeds", f"'{word}' ends before it begins: write {last}-{first}."))
        else:
            ranges.append(range(first, last + 1))
    if bad:
        words = ", ".join(f"'{word}'" for word in bad)
        message = f"must be whole numbers from 0 to 2^63 - 1, or ranges, such as 0-4 or 0,2,5-7; got {words}."
        faults.append(Fault("seeds", message))
    # Not len(range), which fails for lengths that do not fit into a machine word.
    if (count := sum(each.stop - each.start for each in ranges)) > MOST_SEEDS:
        return (), [*faults, Fault("seeds", f"must be at most {MOST_SEEDS:,} seeds at once, got {count:,}.")]
    seeds = [seed for each in ranges for seed in each]
    if twice := sorted(seed for seed, times in Counter(seeds).items() if times > 1):
        more = f" and {len(twice) - 5} more are" if len(twice) > 5 else " is" if len(twice) == 1 else " are"
        faults.append(Fault("seeds", f"{', '.join(map(str, twice[:5]))}{more} given twice."))
    return (() if faults else tuple(seeds)), faults


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
