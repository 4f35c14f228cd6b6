"""Chooses the arrays of a file that are the examples, and their splits."""

import re
from collections.abc import Sequence
from typing import Final

from dregcli.commands import quoted
from dregcli.data.importing.columns import listed
from dregcli.data.importing.contract import Named, Source, said
from dregcli.errors import DataCorrupt, UsageError
from dregcli.names import SPLIT_WORDS, Split, unknown

_LABEL_WORDS: Final = {"y", "label", "labels", "target", "targets", "class", "classes"}
_TOGETHER: Final = re.compile(rf"(x|y)?({'|'.join(SPLIT_WORDS)})(x|y)?")
_EACH: Final = "--key train=KEY --key test=KEY"
_PLAIN: Final = "write the file again, or save plain arrays of numbers, (N, pixels) or (N, H, W)"

Parts = dict[Split | None, Named]
"""The arrays by split; a single array has the key None and is split by seed."""


def split_named(name: str) -> Split | None:
    """Return the split that a name stands for, for example train, x_train or val/images."""
    found = {SPLIT_WORDS[word] for word in _words(name) if word in SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None


def _words(name: str) -> list[str]:
    """Return the words of a name: xTrain and x_train both give x and train."""
    words: list[str] = []
    for word in re.findall(r"[a-z]+|[0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()):
        together = _TOGETHER.fullmatch(word)
        words += [part for part in together.groups() if part] if together else [word]
    return words


def chosen(source: Source) -> Parts:
    """Choose the arrays to import, by split. The source receives notes on what was taken and left out.

    Raises:
        UsageError: a key does not exist, or the choice is not clear.
        DataCorrupt: the file has nothing that can be imported.
    """
    keys = source.request.keys
    parts = _asked(source, keys) if keys else _by_names(source)
    for each in parts.values():
        if each.refusal:
            good = [other for other in source.arrays if not other.refusal]
            hint = f"the file also has {_listed(good)}: name one with --key KEY" if good else _PLAIN
            raise DataCorrupt(what=f"{each if each.key else 'the file'} {each.refusal}", hint=hint)
    if None not in parts and Split.TRAIN not in parts:
        has = " and ".join(f"{split} ('{each.key}')" for split, each in parts.items())
        raise UsageError(
            what=f"there is {has}, but no training data", hint=f"{_EACH}, or --key KEY to split one by seed"
        )
    if len(source.arrays) > 1 and not source.is_images:
        for split, each in parts.items():
            source.note(f"array '{each.key}' is {split} data" if split else f"array '{each.key}' was taken")
    left = [each for each in source.arrays if each not in parts.values()]
    if left:
        names = (f"{each.key} (it {each.refusal})" if each.refusal else each.key for each in left)
        source.note(f"left out: {listed(names)}")
    if keys and None not in parts:
        for each in [each for each in left if _is_example(each) or source.is_images]:
            if (split := split_named(each.key)) and split not in parts:
                what = f"the {split} split was drawn from train although '{each.key}' is there"
                source.warnings.append(f"{what}: {quoted('--key', f'{split}={each.key}')} takes it")
    return parts


def _is_example(each: Named) -> bool:
    """Whether an array can be the examples, judging by its name and shape."""
    return not each.refusal and len(each.shape) >= 2 and not _LABEL_WORDS & set(_words(each.key))


def _asked(source: Source, keys: Sequence[str]) -> Parts:
    known = {each.key: each for each in source.arrays}
    parts: Parts = {}
    for word in keys:
        named, is_pair, key = word.partition("=")
        # A key may itself hold an equals sign.
        is_pair = is_pair and word not in known
        split = SPLIT_WORDS.get(named.strip().lower()) if is_pair else None
        if is_pair and not split:
            wrong = unknown("split", named, [each.value for each in Split])
            raise UsageError(
                what=f"--key {word}: {wrong}", hint="give --key SPLIT=KEY, where SPLIT is train, valid or test"
            )
        name = key if split else word
        if set(known) == {""}:
            raise UsageError(what="the file is one array without a key", hint="leave --key out")
        if name not in known:
            raise UsageError(unknown("array", name, known), hint="name one of them with --key KEY")
        if split and split in parts:
            raise UsageError(what=f"--key names the {split} split twice", hint=_EACH)
        if parts and (split is None or None in parts):
            hint = f"give SPLIT=KEY for each of several arrays: {_EACH}"
            raise UsageError(what="--key takes either one array, or SPLIT=KEY for each", hint=hint)
        parts[split] = known[name]
    return parts


def _by_names(source: Source) -> Parts:
    if len(source.arrays) == 1 and not split_named(source.arrays[0].key):
        return {None: source.arrays[0]}
    candidates = [each for each in source.arrays if source.is_images or _is_example(each)]
    named = [(split, each) for each in candidates if (split := split_named(each.key))]
    parts = dict(named)
    if Split.TRAIN in parts and len(parts) == len(named):
        return {split: parts[split] for split in Split if split in parts}
    if len(candidates) == 1 and not named:
        return {None: candidates[0]}
    if candidates:
        raise UsageError(
            what=f"it is not clear which of its arrays are the examples: {_listed(candidates)}",
            hint=f"name one with --key KEY, or several with {_EACH}",
        )
    raise DataCorrupt(
        what=f"the file has no examples with pixels: {_listed(source.arrays) or 'no arrays'}", hint=_PLAIN
    )


def _listed(arrays: Sequence[Named]) -> str:
    return listed(f"'{each.key}' ({each.refusal or said(each.shape) or each.dtype})" for each in arrays)
