"""Zip archives to import: what may be in them, in proportion to what they are."""

import zipfile

from dregcli.data.formats.archives import checked_members
from dregcli.data.importing.limits import check_promise
from dregcli.data.importing.plain import Plain


def checked_entries(archive: zipfile.ZipFile, plain: Plain) -> list[zipfile.ZipInfo]:
    """An archive's files, folders left out.

    Raises:
        DataCorrupt: a member is one that an honest archive has not, or more would come out than can be honest.
    """
    members = checked_members(archive, where=plain.where)
    total = 0
    for member in members:
        # Several members may share the same packed bytes, so it is the sum that is held against the whole file.
        total += member.file_size
        check_promise(member.file_size, member.compress_size, where=f"{plain.where}, {member.filename!r}")
        check_promise(total, plain.size, where=plain.where)
    return members
