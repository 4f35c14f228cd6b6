"""Which examples go where: as the source says, or by a seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing.request import Amount
from dregcli.errors import Fault, SpecError, UsageError
from dregcli.names import Split

_SHARE: Final = 0.1


@dataclass(frozen=True)
class Portion:
    """The examples of one split.

    Attributes:
        part: the array they are from; None is the one that was not given as a split.
        order: their numbers in it; None is all of them as they lie.
    """

    part: Split | None
    order: NDArray[np.int64] | None


@dataclass(frozen=True)
class Plan:
    """How a source is split.

    Attributes:
        portions: by split.
        convention: its name.
        note: the same in words.
        provenance: plain JSON values.
    """

    portions: Mapping[Split, Portion]
    convention: str
    note: str
    provenance: Mapping[str, Any]


def plan_splits(
    counts: Mapping[Split | None, int], *, valid: Amount | None, test: Amount | None, seed: int | None
) -> Plan:
    """Decide which examples go where.

    The seeded permutation is NumPy's ``RandomState(seed).permutation``, whose stream never changes (NEP 19); the
    first examples of it train, the last ones test.

    Args:
        counts: examples of each array; a single one is under None or "train".
        valid: what the user wants for validation, where it is not given; a tenth by default.
        test: the same for testing.
        seed: of the permutation; 0 by default.

    Raises:
        UsageError: sizes are asked of splits that are given, or leave nothing.
    """
    whole = None if None in counts else Split.TRAIN
    total, asked = counts[whole], {Split.VALID: valid, Split.TEST: test}
    given = [split for split in asked if split in counts]
    missing = [split for split in asked if split not in counts]
    faults = [
        Fault(f"--{split}", f"the source gives the {split} split itself, {counts[split]:,} examples")
        for split in given
        if asked[split] is not None
    ]
    if seed is not None and not missing:
        faults.append(Fault("--split-seed", "the source gives all three splits: there is nothing to draw"))
    if faults:
        raise SpecError(faults, hint="leave these out, or take one array with --key KEY")
    portions = {split: Portion(split, None) for split in Split}
    if not missing:
        told = ", ".join(f"{split} {counts[split]:,}" for split in Split)
        return Plan(portions, "given", f"the splits are the source's: {told}", {"made": "given"})
    if total < len(missing) + 1:
        what = f"{total} example{'s' if total != 1 else ''} cannot make {len(missing) + 1} splits"
        raise UsageError(what, hint="a data set needs at least 3 examples; many more to learn anything")
    sizes = {split: _size(asked[split], total) for split in missing}
    end = total - sum(sizes.values())
    if end < 1:
        told = " and ".join(f"{size:,} for {split}" for split, size in sizes.items())
        what = f"of {total:,} examples, {told} leave {end:,} to train on; each needs at least 1"
        raise UsageError(what, hint="give smaller --valid and --test, as counts or fractions")
    # RandomState and not Generator: NumPy promises that its stream never changes (NEP 19).
    order = np.random.RandomState(seed or 0).permutation(total)
    portions[Split.TRAIN] = Portion(whole, order[:end])
    for split in missing:
        portions[split] = Portion(whole, order[end : end + sizes[split]])
        end += sizes[split]
    drawn = " and ".join(f"{split} {sizes[split]:,}" for split in missing)
    rest = f", {' and '.join(given)} as the source has it" if given else ""
    return Plan(
        portions,
        f"seed-{seed or 0}",
        f"{drawn} of {total:,} examples were drawn with --split-seed {seed or 0}{rest}",
        {
            "made": "seed",
            "seed": seed or 0,
            "permutation": "numpy.random.RandomState(seed).permutation(total): train, then valid, then test",
            "total": total,
            "given": [split.value for split in given],
            "drawn": {split.value: sizes[split] for split in missing},
        },
    )


def _size(amount: Amount | None, total: int) -> int:
    return amount if isinstance(amount, int) else max(1, round((_SHARE if amount is None else amount) * total))
