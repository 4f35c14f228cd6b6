"""What a user asks of an import, all its faults found at once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from dregcli.commands import command
from dregcli.data.formats.images import MAX_PIXELS
from dregcli.data.importing.column_words import ColumnWords
from dregcli.data.importing.shapes import Size
from dregcli.data.importing.splits import Amount
from dregcli.data.scan import CHANNELS
from dregcli.errors import Fault, SpecError, UsageError
from dregcli.names import Channels, DataKind, Flip

NAME_LENGTH: Final = 64
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SIZE: Final = re.compile(r"([0-9]{1,6})[xX]([0-9]{1,6})")
_COLOURED: Final = re.compile(r"([0-9]{1,6})[xX]([0-9]{1,6})[xX]([0-9]{1,6})")
_SEEDS: Final = 1 << 32
FULL_LEVELS: Final = 255


@dataclass(frozen=True, kw_only=True)
class _Options:
    """What is taken as it is typed.

    Attributes:
        name: what the data set is to be called.
        keys: which arrays of the file: one key, or ``SPLIT=KEY`` each; empty to go by their names.
        kind: what the values are; None to find out.
        levels: the value of full intensity of whole numbers.
        transpose: whether the examples lie along the last axis.
        transpose_images: whether rows and columns of each image change places.
        flips: how each image is mirrored, after that.
        channels: what becomes of colours; None where the user does not say.
        invert: whether black and white change places.
        seed: draws the splits.
        replace: whether an imported data set of that name gives way.
        columns: what is said of the columns of a text.
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
        shape: ``HxW`` of an example that is stored as one row; with colours ``CxHxW`` or ``HxWxC``, as it is stored.
        resize: ``HxW`` to which images are brought.
        valid: examples for validation, where the source has no such split: a count, or a fraction with a point.
        test: the same for testing.
    """

    source: Path | str
    shape: str | None = None
    resize: str | None = None
    valid: str | None = None
    test: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImportRequest(_Options):
    """An import whose words make sense.

    Attributes:
        source: the absolute path.
        shape: height and width; or three numbers, of which the first or the last is the number of channels.
        resize: height and width.
        valid: a count or a fraction.
        test: the same.
    """

    source: Path
    shape: tuple[int, ...] | None = None
    resize: Size | None = None
    valid: Amount | None = None
    test: Amount | None = None

    @property
    def size(self) -> Size | None:
        """Height and width alone; None where nothing is said of the shape, or of the channels too."""
        return self.shape if self.shape is not None and len(self.shape) == 2 else None


def read_request(words: ImportWords, *, taken: Mapping[str, str]) -> ImportRequest:
    """Make a request of words from the command line.

    Args:
        words: what was typed.
        taken: names that cannot be had, in lower case, with the reason.

    Raises:
        UsageError: there is no such source.
        SpecError: with every fault of the options.
    """
    source = source_path(words.source)
    faults: list[Fault] = []
    if reason := name_fault(words.name) or taken.get(words.name.lower()):
        faults.append(Fault("--name", reason))
    shape, resize = _shape(words.shape, faults), _size("--resize", words.resize, faults)
    amounts = {"--valid": _amount("--valid", words.valid, faults), "--test": _amount("--test", words.test, faults)}
    fractions = [amount for amount in amounts.values() if isinstance(amount, float)]
    if sum(fractions) >= 1.0:
        faults.append(
            Fault("--valid, --test", f"fractions of {' and '.join(map(str, fractions))} leave no training data")
        )
    if words.seed is not None and not 0 <= words.seed < _SEEDS:
        faults.append(Fault("--split-seed", f"must be 0 to {_SEEDS - 1}, not {words.seed}"))
    if not 1 <= words.levels <= FULL_LEVELS:
        faults.append(Fault("--levels", f"must be 1 to {FULL_LEVELS}, not {words.levels}"))
    elif words.levels != FULL_LEVELS and words.kind in (DataKind.BINARY, DataKind.REAL):
        faults.append(Fault("--levels", f"only intensities have levels, and --kind is {words.kind}"))
    if words.invert and words.kind is DataKind.REAL:
        faults.append(Fault("--invert", "real values have neither black nor white"))
    if len(set(words.keys)) != len(words.keys):
        faults.append(Fault("--key", "one is given twice"))
    faults += [
        Fault(option, "a name or a number is empty")
        for option, typed in words.columns.given.items()
        if not all(word.strip() for word in typed)
    ]
    if len(set(words.flips)) != len(words.flips):
        faults.append(Fault("--flip", "the same is given twice, which would change nothing"))
    if faults:
        raise SpecError(faults, hint="change these and repeat; see: dreg data import --help")
    return ImportRequest(
        source=source,
        shape=shape,
        resize=resize,
        valid=amounts["--valid"],
        test=amounts["--test"],
        **{option.name: getattr(words, option.name) for option in fields(_Options)},
    )


def name_fault(name: str) -> str | None:
    """Why a data set cannot have this name, or None where it can."""
    if not _NAME.fullmatch(name):
        return f"'{name}' must be letters, digits, '.', '_' and '-', and begin with a letter or digit"
    if len(name) > NAME_LENGTH:
        return f"has at most {NAME_LENGTH} characters, not {len(name)}"
    return None


def _shape(text: str | None, faults: list[Fault]) -> tuple[int, ...] | None:
    """Two numbers, or three with channels."""
    if text is None or (found := _COLOURED.fullmatch(text.strip())) is None:
        return _size("--shape", text, faults)
    shape = tuple(int(number) for number in found.groups())
    if not ((shape[0] in CHANNELS or shape[2] in CHANNELS) and min(shape)):
        message = "three numbers are channels x height x width, or height x width x channels, such as 3x32x32, and "
        faults.append(Fault("--shape", message + f"there are 1, 3 or 4 channels: '{text}' has no such number"))
        return None
    return shape


def _size(field: str, text: str | None, faults: list[Fault]) -> Size | None:
    if text is None:
        return None
    found = _SIZE.fullmatch(text.strip())
    if found and (height := int(found[1])) and (width := int(found[2])):
        if field == "--resize" and height * width > MAX_PIXELS:
            faults.append(Fault(field, f"{height} x {width} is more than the {MAX_PIXELS:,} pixels of an image"))
        return height, width
    faults.append(Fault(field, f"must be height x width, such as 28x28, not '{text}'"))
    return None


def _amount(field: str, text: str | None, faults: list[Fault]) -> Amount | None:
    if text is None:
        return None
    try:
        amount: Amount = int(text) if re.fullmatch(r"\s*[+-]?[0-9]+\s*", text) else float(text)
    except ValueError:
        amount = -1
    if isinstance(amount, int) and amount >= 1:
        return amount
    if isinstance(amount, float) and 0.0 < amount < 1.0:
        return amount
    faults.append(Fault(field, f"must be a count of at least 1, or a fraction between 0 and 1, not '{text}'"))
    return None


def source_path(text: str | Path) -> Path:
    """The absolute path of a source.

    Raises:
        UsageError: there is no such file or folder.
    """
    hint = command("data", "import", "FILE", "--name", "NAME")
    try:
        # An empty name would mean the current folder, which nobody who types "$UNSET" wants.
        if not str(text):
            raise UsageError(what="no source is named", where="FILE", hint=hint)
        path = Path(text).expanduser().resolve()
        if path.exists():
            return path
    # RuntimeError: the home folder of ~somebody that does not exist.
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(what=f"the source cannot be found: {error}", where=str(text), hint=hint) from error
    raise UsageError(what="the source is not a file or folder of this machine", where=str(path), hint=hint)
