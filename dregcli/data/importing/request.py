"""The user's request for an import; all faults in it are reported at once."""

import contextlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from dregcli.commands import command
from dregcli.data.formats.images import MAX_PIXELS
from dregcli.data.importing.columns import ColumnWords
from dregcli.data.scan import CHANNELS
from dregcli.errors import Fault, SpecError, UsageError
from dregcli.names import Channels, DataKind, Flip

FULL_LEVELS: Final = 255
_SEEDS: Final = 1 << 32

Amount = int | float
"""A count of examples, or a fraction of them."""


@dataclass(frozen=True, kw_only=True)
class _Options:
    """The options that are used exactly as typed.

    Attributes:
        name: the new data set's name.
        keys: the arrays of the file to import: one key, or ``SPLIT=KEY`` for each; empty to choose by their names.
        kind: kind of the values; None to recognise it from the values.
        levels: the whole number that means intensity 1.
        transpose: whether the examples lie along the last axis.
        transpose_images: whether to exchange rows and columns of each image.
        flips: directions in which to mirror each image, after ``transpose_images``.
        channels: treatment of colours; None where the user does not say.
        invert: whether to exchange black and white.
        seed: random seed of the splits.
        replace: whether to replace an imported data set with that name.
        columns: the options for the columns of a text.
    """

    name: str
    keys: tuple[str, ...] = ()
    kind: DataKind | None = None
    levels: int = FULL_LEVELS
    transpose: bool = False
    transpose_images: bool = False
    flips: tuple[Flip, ...] = ()
    channels: Channels | None = None
    invert: bool = False
    seed: int | None = None
    replace: bool = False
    columns: ColumnWords = field(default_factory=ColumnWords)


@dataclass(frozen=True, kw_only=True)
class ImportWords(_Options):
    """An import as it is typed.

    Attributes:
        source: a file, or a folder of images.
        shape: ``HxW`` for examples that are stored as one row; with colours ``CxHxW`` or ``HxWxC``, as stored.
        resize: ``HxW``, the size that all images get.
        valid: validation examples, where the source has no validation split: a count, or a fraction with a point.
        test: test examples, where the source has no test split: a count, or a fraction with a point.
    """

    source: Path | str
    shape: str | None = None
    resize: str | None = None
    valid: str | None = None
    test: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImportRequest(_Options):
    """An import whose options have been checked.

    Attributes:
        source: absolute path of the source.
        shape: height and width; or three numbers, of which the first or the last is the number of channels.
        resize: height and width.
        valid: validation examples, a count or a fraction.
        test: test examples, a count or a fraction.
    """

    source: Path
    shape: tuple[int, ...] | None = None
    resize: tuple[int, ...] | None = None
    valid: Amount | None = None
    test: Amount | None = None


def read_request(words: ImportWords, *, taken: Mapping[str, str]) -> ImportRequest:
    """Check the words from the command line and make a request of them.

    Args:
        words: the words that the user typed.
        taken: names that cannot be used, in lower case, with the reason.

    Raises:
        UsageError: the source does not exist.
        SpecError: the options have faults; it lists all of them.
    """
    source, faults, reason = _source_path(words.source), list[Fault](), taken.get(words.name.lower())
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", words.name):
        reason = f"'{words.name}' must be 1 to 64 letters, digits, '.', '_' and '-', and begin with a letter or digit"
    faults += [Fault("--name", reason)] if reason else []
    shape, resize = _shape("--shape", words.shape, faults), _shape("--resize", words.resize, faults)
    valid, test = _amount("--valid", words.valid, faults), _amount("--test", words.test, faults)
    fractions = [each for each in (valid, test) if isinstance(each, float)]
    kind, levels, seed, repeated = words.kind, words.levels, words.seed, "the same value is given twice"
    checks = {
        ("--valid, --test", f"fractions of {valid} and {test} leave no training data"): sum(fractions) >= 1.0,
        ("--split-seed", f"must be 0 to {_SEEDS - 1}, not {seed}"): not 0 <= (seed or 0) < _SEEDS,
        ("--levels", f"must be 1 to {FULL_LEVELS}, not {levels}"): not 1 <= levels <= FULL_LEVELS,
        ("--levels", f"only intensities have levels, but --kind is {kind}"): levels < FULL_LEVELS
        and kind is not None
        and not kind.has_levels,
        ("--invert", "real values have neither black nor white"): words.invert and kind is DataKind.REAL,
        ("--key", repeated): len(set(words.keys)) != len(words.keys),
        ("--flip", f"{repeated}, which would change nothing"): len(set(words.flips)) != len(words.flips),
    }
    faults += [Fault(*fault) for fault, is_wrong in checks.items() if is_wrong]
    if faults:
        raise SpecError(faults, hint="change these and repeat; see: dreg data import --help")
    options = {each.name: getattr(words, each.name) for each in fields(_Options)}
    return ImportRequest(source=source, shape=shape, resize=resize, valid=valid, test=test, **options)


def _shape(field: str, text: str | None, faults: list[Fault]) -> tuple[int, ...] | None:
    """Read height and width; ``--shape`` also takes three numbers, with channels."""
    if text is None:
        return None
    is_shape = re.fullmatch(r"\s*[0-9]{1,6}([xX][0-9]{1,6}){1,2}\s*", text)
    shape: tuple[int, ...] = tuple(map(int, re.split("[xX]", text))) if is_shape else (0,)
    if not all(shape) or len(shape) > (3 if field == "--shape" else 2):
        faults.append(Fault(field, f"must be height x width, such as 28x28, not '{text}'"))
    elif len(shape) == 3 and not (shape[0] in CHANNELS or shape[2] in CHANNELS):
        message = "three numbers are channels x height x width, or height x width x channels, such as 3x32x32, and "
        faults.append(Fault(field, message + f"there are 1, 3 or 4 channels: '{text}' has no such number"))
    elif field == "--resize" and math.prod(shape) > MAX_PIXELS:
        faults.append(Fault(field, f"{text} is more than the {MAX_PIXELS:,} pixels that an image may have"))
    return shape


def _amount(field: str, text: str | None, faults: list[Fault]) -> Amount | None:
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        amount: Amount = int(text) if re.fullmatch(r"\s*[+-]?[0-9]+\s*", text) else float(text)
        if amount >= 1 if isinstance(amount, int) else 0.0 < amount < 1.0:
            return amount
    faults.append(Fault(field, f"must be a count of at least 1, or a fraction between 0 and 1, not '{text}'"))
    return None


def _source_path(text: str | Path) -> Path:
    """Return the absolute path of a source, after checking that it exists."""
    hint = command("data", "import", "FILE", "--name", "NAME")
    try:
        # An empty name would mean the current folder, which a user who types "$UNSET" does not want.
        if not str(text):
            raise UsageError(what="no source is named", where="FILE", hint=hint)
        path = Path(text).expanduser().resolve()
        if path.exists():
            return path
    # RuntimeError: the home folder of an unknown ~user.
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(what=f"the source cannot be found: {error}", where=str(text), hint=hint) from error
    raise UsageError(what="the source is not a file or folder on this machine", where=str(path), hint=hint)
