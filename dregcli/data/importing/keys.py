"""Which arrays of a file are the examples, and of which split."""

import re
from collections.abc import Sequence
from typing import Final

from dregcli.commands import quoted
from dregcli.data.importing.offers import Found, Offer
from dregcli.errors import DataCorrupt, UsageError
from dregcli.names import SPLIT_WORDS, Split, unknown

_LABEL_WORDS: Final = {"y", "label", "labels", "target", "targets", "class", "classes"}
_TOGETHER: Final = re.compile(rf"(x|y)?({'|'.join(SPLIT_WORDS)})(x|y)?")
_SHOWN: Final = 12

Parts = dict[Split | None, Offer]
"""The arrays by split; one alone under None, to be split by seed."""


def split_named(name: str) -> Split | None:
    """The split that a name is made for, as train, x_train or val/images are."""
    found = {SPLIT_WORDS[word] for word in _words(name) if word in SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None


def _words(name: str) -> list[str]:
    """The words of a name: xTrain and x_train are x and train."""
    words: list[str] = []
    for word in re.findall(r"[a-z]+|[0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()):
        together = _TOGETHER.fullmatch(word)
        words += [part for part in together.groups() if part] if together else [word]
    return words


def choose(found: Found, keys: Sequence[str]) -> tuple[Parts, list[str]]:
    """Pick the arrays to import.

    Args:
        found: what the file offers.
        keys: what the user asked for: one key, or ``SPLIT=KEY`` several times; empty to go by the names.

    Returns:
        The arrays by split, and remarks on what was taken and what not.

    Raises:
        UsageError: there is no such key, or the choice is not clear.
        DataCorrupt: there is nothing in the file that can be taken.
    """
    parts = _asked(found, keys) if keys else _by_names(found)
    for offer in parts.values():
        if offer.refusal:
            named = f"the array '{offer.key}'" if offer.key else "it"
            raise DataCorrupt(what=f"{named} {offer.refusal}", where=found.where, hint=_others_hint(found))
    if None not in parts and Split.TRAIN not in parts:
        has = " and ".join(f"{split} ('{offer.key}')" for split, offer in parts.items())
        raise UsageError(
            what=f"there is {has}, and nothing to train on",
            where=found.where,
            hint="name the array: --key train=KEY --key test=KEY, or --key KEY to split one by seed",
        )
    taken = {offer.key for offer in parts.values()}
    remarks = [
        f"array '{offer.key}' is {split} data" if split else f"array '{offer.key}' was taken"
        for split, offer in parts.items()
        if offer.key and len(found.offers) > 1 and not found.is_images
    ]
    left = [
        f"{offer.key} (it {offer.refusal})" if offer.refusal else offer.key
        for offer in found.offers
        if offer.key not in taken
    ]
    if left:
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        remarks.append(f"left out: {', '.join(left[:_SHOWN])}{more}")
    return parts, remarks


def passed_over(found: Found, keys: Sequence[str], parts: Parts) -> list[str]:
    """Warnings about splits that are drawn from the training data although the file seems to have them.

    Args:
        found: what the file offers.
        keys: what the user asked for; without keys nothing was passed over.
        parts: what was taken.
    """
    if not keys or Split.TRAIN not in parts:
        return []
    taken = {offer.key for offer in parts.values()}
    return [
        f"the {split} split was drawn from train although '{offer.key}' is there: "
        f"{quoted('--key', f'{split}={offer.key}')} takes it"
        for split in Split
        if split not in parts
        for offer in _examples(found)
        if offer.key not in taken and split_named(offer.key) is split
    ]


def _examples(found: Found) -> list[Offer]:
    """The arrays that can be examples, by their names and shapes."""
    if found.is_images:
        return found.offers
    return [
        offer
        for offer in found.offers
        if not offer.refusal and len(offer.shape) >= 2 and not _LABEL_WORDS & set(_words(offer.key))
    ]


def _asked(found: Found, keys: Sequence[str]) -> Parts:
    known = {offer.key: offer for offer in found.offers}
    parts: Parts = {}
    for word in keys:
        named, is_pair, key = word.partition("=")
        # A key may itself hold an equals sign.
        split = SPLIT_WORDS.get(named.strip().lower()) if is_pair and word not in known else None
        if is_pair and not split and word not in known:
            raise UsageError(
                what=f"--key {word}: {unknown('split', named, [each.value for each in Split])}",
                where=found.where,
                hint="give --key SPLIT=KEY, where SPLIT is train, valid or test",
            )
        name = key if split else word
        if name not in known:
            if set(known) == {""}:
                raise UsageError(
                    what="the file is one array without a key", where=found.where, hint="leave --key out"
                )
            raise UsageError(unknown("array", name, known), where=found.where, hint="name one of them with --key KEY")
        if split in parts:
            if split is None:
                raise UsageError(
                    what="several arrays are named, and not which split each of them is",
                    where=found.where,
                    hint="give SPLIT=KEY for each of several arrays: --key train=KEY --key test=KEY",
                )
            raise UsageError(
                what=f"--key names the {split} split twice",
                where=found.where,
                hint="--key train=KEY --key test=KEY",
            )
        parts[split] = known[name]
    if None in parts and len(parts) > 1:
        raise UsageError(
            what="--key is either one array, or SPLIT=KEY for each",
            where=found.where,
            hint="--key train=KEY --key test=KEY",
        )
    return parts


def _by_names(found: Found) -> Parts:
    if len(found.offers) == 1 and not split_named(found.offers[0].key):
        return {None: found.offers[0]}
    candidates = _examples(found)
    named = [(split, offer) for offer in candidates if (split := split_named(offer.key))]
    if named and Split.TRAIN in dict(named):
        parts = dict(named)
        if len(parts) == len(named):
            return {split: parts[split] for split in Split if split in parts}
    elif len(candidates) == 1 and not named:
        return {None: candidates[0]}
    if candidates:
        raise UsageError(
            what=f"it is not clear which of its arrays are the examples: {_listed(candidates)}",
            where=found.where,
            hint="name one with --key KEY, or several with --key train=KEY --key test=KEY",
        )
    refusals = [f"'{offer.key}' {offer.refusal}" for offer in found.offers if offer.refusal]
    what = f"nothing in it can be imported: {'; '.join(refusals[:_SHOWN])}" if refusals else "it holds no examples"
    if not refusals and found.offers:
        what = f"nothing in it has examples and pixels: {_listed(found.offers)}"
    raise DataCorrupt(what=what, where=found.where, hint="save plain arrays of numbers, (N, pixels) or (N, H, W)")


def _listed(offers: Sequence[Offer]) -> str:
    more = f" and {len(offers) - _SHOWN} more" if len(offers) > _SHOWN else ""
    return ", ".join(f"'{offer.key}' {_shape(offer)}" for offer in offers[:_SHOWN]) + more


def _shape(offer: Offer) -> str:
    return f"({' x '.join(str(size) for size in offer.shape)})" if offer.shape else f"({offer.dtype})"


def _others_hint(found: Found) -> str:
    good = [offer for offer in found.offers if not offer.refusal]
    if good:
        return f"the file also has {_listed(good)}: name one with --key KEY"
    return "save plain arrays of numbers, (N, pixels) or (N, H, W)"
