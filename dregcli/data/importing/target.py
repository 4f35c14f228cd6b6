"""Checks the file that an import will write: its name is free, or it is a data set of dreg that may be replaced."""

from pathlib import Path

from dregcli.data.folders import cache_path, data_command
from dregcli.data.importing.request import ImportRequest
from dregcli.data.owner import Owner, owner_of
from dregcli.errors import UsageError


def check_target(request: ImportRequest, data_dir: Path) -> None:
    """Refuse an import that would overwrite a file that it must not.

    Raises:
        UsageError: the target is the source itself, exists and may not be replaced, or was not written by dreg.
    """
    path, name = cache_path(request.name, data_dir), request.name
    owner = owner_of(path)
    if owner is None:
        return
    what, instead = f"there is a data set '{name}' in the data folder already", "give --replace"
    if path.exists() and path.samefile(request.source):
        what, instead = "the source is the file that the import would write", "copy the source elsewhere first"
    elif owner is Owner.OTHER:
        what = f"dreg did not write '{path.name}' in the data folder, and does not replace it"
        instead = "move that file away"
    elif owner is not Owner.DREG:
        what = (
            f"'{path.name}' in the data folder cannot be read. It may not be a data set of dreg, so dreg does not "
            "replace it"
        )
        instead = data_command("data", "rm", name, "--force", data_dir=data_dir)
    elif request.replace:
        return
    raise UsageError(what, where=str(path), hint=f"take another --name, or {instead}")
