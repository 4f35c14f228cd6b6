"""Splits the examples: as the source gives them, or by a seed."""

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
        part: the array that holds the examples; None for the array that was not given as a split.
        order: indices of the examples in the array; None for all of them in the array's order.
    """

    part: Split | None
    order: NDArray[np.int64] | None


@dataclass(frozen=True)
class Plan:
    """The plan by which a source is split.

    Attributes:
        portions: the examples of each split.
        convention: name of this way to split.
        note: description of the split, in words.
        provenance: description of the split, as plain JSON values.
    """

    portions: Mapping[Split, Portion]
    convention: str
    note: str
    provenance: Mapping[str, Any]


def plan_splits(
    counts: Mapping[Split | None, int], *, valid: Amount | None, test: Amount | None, seed: int | None
) -> Plan:
    """Decide the split of every example.

    The seeded permutation is NumPy's ``RandomState(seed).permutation``, whose stream never changes (NEP 19). Its
    first examples are for training, its last ones for testing.

    Args:
        counts: number of examples of each array; a single array has the key None or "train".
        valid: size of the validation split where the source has none; a tenth by default.
        test: size of the test split where the source has none; a tenth by default.
        seed: seed of the permutation; 0 by default.

    Raises:
        SpecError: a size or the seed is given for splits that the source gives itself.
        UsageError: the sizes leave no training examples.
    """
    whole = None if None in counts else Split.TRAIN
    total, asked = counts[whole], {Split.VALID: valid, Split.TEST: test}
    given = [split for split in asked if split in counts]
    missing = [split for split in asked if split not in counts]
    faults = [
        Fault(f"--{split}", f"the source gives the {split} split itself, with {counts[split]:,} examples")
        for split in given
        if asked[split] is not None
    ]
    if seed is not None and not missing:
        faults.append(Fault("--split-seed", "the source gives all three splits: there is nothing to draw"))
    if faults:
        raise SpecError(faults, hint="leave these out, or take one array with --key KEY")
    portions = {split: Portion(split, None) for split in Split}
    if not missing:
        shown = ", ".join(f"{split} {counts[split]:,}" for split in Split)
        return Plan(portions, "given", f"the splits are the source's: {shown}", {"made": "given"})
    if total < len(missing) + 1:
        what = f"{total} example{'s' if total != 1 else ''} cannot make {len(missing) + 1} splits"
        raise UsageError(what, hint="a data set needs at least 3 examples, and many more to learn anything")
    amounts = {split: asked[split] or _SHARE for split in missing}
    sizes = {split: each if isinstance(each, int) else max(1, round(each * total)) for split, each in amounts.items()}
    end = total - sum(sizes.values())
    if end < 1:
        shown = " and ".join(f"{size:,} for {split}" for split, size in sizes.items())
        what = f"of {total:,} examples, {shown} leave {end:,} for training; each split needs at least 1"
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
