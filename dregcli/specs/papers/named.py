"""The names of the published experiments that dreg brings along. Standard library only."""

from pathlib import Path
from typing import Final

from dregcli.commands import command
from dregcli.errors import UsageError
from dregcli.names import unknown

SUFFIX: Final = ".toml"
_FOLDER: Final = Path(__file__).parent


def paper_names() -> list[str]:
    """Return the names of the experiments, in alphabetical order."""
    return sorted(path.stem for path in _FOLDER.glob(f"*{SUFFIX}"))


def paper_path(word: str) -> Path:
    """Return the file of an experiment by its name, or a user's own file by its path, which ends with ``.toml``.

    Raises:
        UsageError: there is no experiment of this name.
    """
    if word in paper_names():
        return _FOLDER / f"{word}{SUFFIX}"
    if word.endswith(SUFFIX):
        return Path(word)
    what = f"{unknown('paper', word, paper_names())} A file of your own ends with {SUFFIX}."
    raise UsageError(
        what, hint=f"all experiments: {command('paper', 'list')}; to write your own: dreg paper show --help"
    )
