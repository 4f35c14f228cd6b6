"""The only way in which the program changes the disk: an interface that tests can replace, and safe ways to write."""

from dregcli.filesystem.asides import (
    discard,
    is_temporary,
    make_folders,
    move,
    remove_dead_asides,
    sweep,
    write_aside,
    write_exclusive,
    write_folder_aside,
    write_new,
    written_aside,
)
from dregcli.filesystem.locks import is_at, try_lock
from dregcli.filesystem.refusals import check_can_write, write_errors
from dregcli.filesystem.seam import LOCAL, FileSystem, LocalFileSystem

__all__ = [
    "LOCAL",
    "FileSystem",
    "LocalFileSystem",
    "check_can_write",
    "discard",
    "is_at",
    "is_temporary",
    "make_folders",
    "move",
    "remove_dead_asides",
    "sweep",
    "try_lock",
    "write_aside",
    "write_errors",
    "write_exclusive",
    "write_folder_aside",
    "write_new",
    "written_aside",
]
