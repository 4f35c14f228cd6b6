"""The file that an import makes: free, or a data set of dreg's that may be replaced, up to the moment it is made."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dregcli.data.folders import WRITE_ELSEWHERE, cache_path, data_command
from dregcli.data.importing.request import ImportRequest
from dregcli.data.owner import Owner, owner_of
from dregcli.errors import UsageError
from dregcli.filesystem import folder_locked, write_errors


def check_target(request: ImportRequest, data_dir: Path) -> None:
    """Refuse an import that would destroy what it must not.

    Raises:
        UsageError: the target is the source itself, is there and may not be replaced, or is not dreg's.
    """
    path = cache_path(request.name, data_dir)
    owner = owner_of(path)
    if owner is None:
        return
    if path.exists() and path.samefile(request.source):
        raise UsageError(
            what="the source is the very file that the import would write",
            where=str(path),
            hint="take another --name, or copy the source elsewhere first",
        )
    if owner in (Owner.WAS_DREG, Owner.UNKNOWN):
        raise UsageError(
            what=f"'{path.name}' in the data folder cannot be read, so that nobody can tell whether it is a data set "
            "of dreg: it stays as it is",
            where=str(path),
            hint=f"take another --name, or: {data_command('data', 'rm', request.name, '--force', data_dir=data_dir)}",
        )
    if owner is Owner.OTHER:
        raise UsageError(
            what=f"'{path.name}' in the data folder is not a file of dreg: it stays as it is",
            where=str(path),
            hint="take another --name, or move that file away",
        )
    if not request.replace:
        raise UsageError(
            what=f"there is a data set '{request.name}' in the data folder already",
            where=str(path),
            hint="take another --name, or give --replace",
        )


@contextmanager
def last_check(request: ImportRequest, data_dir: Path) -> Generator[Callable[[], None]]:
    """The same just before the file gets its name.

    Yields:
        The check, to be called once. From then on until the block is left no other import gets past its own: of two
        imports of one name the second finds the file of the first.
    """
    with ExitStack() as stack:

        def check() -> None:
            with write_errors(data_dir, hint=WRITE_ELSEWHERE):
                # A lock on the folder itself, so that no file is left over.
                stack.enter_context(folder_locked(data_dir))
            check_target(request, data_dir)

        yield check
