import io
import stat
import struct
import warnings
import zipfile

import pytest

from dregcli.data.formats.archives import ZipLimits, zip_members
from dregcli.errors import DataCorrupt
from tests.support.data_images import zip_bytes

LIMITS = ZipLimits(count=5, member_bytes=1000, total_bytes=2000)


def members(content: bytes, limits: ZipLimits = LIMITS):
    return list(zip_members(content, where="file", limits=limits, wanted=lambda path: path.endswith(".png")))


def with_info(name: str, content: bytes = b"x", **attributes) -> bytes:
    info = zipfile.ZipInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, content)
    return out.getvalue()


def doubled(name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(name, b"1")
        archive.writestr(name, b"2")
    return out.getvalue()


def lying(said: int, content: bytes) -> bytes:
    """An archive whose directory and header say another size than the member has."""
    packed = bytearray(zip_bytes({"a.png": content}))
    at = packed.index(b"PK\1\2")
    struct.pack_into("<I", packed, at + 24, said)
    struct.pack_into("<I", packed, 22, said)
    return bytes(packed)


def encrypted() -> bytes:
    packed = bytearray(zip_bytes({"a.png": b"secret"}))
    packed[packed.index(b"PK\1\2") + 8] |= 1
    packed[6] |= 1
    return bytes(packed)


class TestZip:
    def test_wanted_members_in_the_order_of_their_paths(self):
        content = zip_bytes({"z/b.png": b"2", "z/": b"", "a/c.png": b"1", "readme": b"no", "z/a.png": b"3"})
        assert members(content) == [("a/c.png", b"1"), ("z/a.png", b"3"), ("z/b.png", b"2")]

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_from_a_file(self, tmp_path, method):
        path = tmp_path / "file.zip"
        path.write_bytes(zip_bytes({"a.png": b"1"}, method))
        assert list(zip_members(path, where="file", limits=LIMITS, wanted=lambda _: True)) == [("a.png", b"1")]

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "not a zip file"),
            (b"<html></html>", "not a zip file"),
            (zip_bytes({"a.png": bytes(500)})[:-10], "not a zip file|cannot be read"),
            (zip_bytes({"a.png": bytes(1001)}), "promises 1,001 bytes for 'a.png', more than 1,000"),
            (zip_bytes({f"{n}.png": bytes(999) for n in range(3)}), "promises 2,997 bytes in all"),
            (zip_bytes({f"{n}.png": b"" for n in range(6)}), "holds 6 such files, more than 5"),
            (zip_bytes({"../a.png": b"1"}), "path outside the archive: '../a.png'"),
            (zip_bytes({"x/../../a.txt": b"1"}), "path outside the archive"),
            (zip_bytes({"/etc/a.png": b"1"}), "path outside the archive: '/etc/a.png'"),
            (zip_bytes({"C:/a.png": b"1"}), "path outside the archive"),
            (zip_bytes({"..\\a.png": b"1"}), "path outside the archive"),
            (
                with_info("a.png", external_attr=(stat.S_IFLNK | 0o777) << 16),
                "a link or another special file as a member: 'a.png'",
            ),
            (encrypted(), "is encrypted: 'a.png'"),
            (doubled("a.png"), "a member twice: 'a.png'"),
            (doubled("readme"), "a member twice"),
            (zip_bytes({"a.png": b"1"}, zipfile.ZIP_LZMA), "neither stored nor deflated: 'a.png'"),
            (zip_bytes({"a.png": b"1"}, zipfile.ZIP_BZIP2), "neither stored nor deflated"),
            (lying(10, bytes(5_000_000)), "CRC"),
            (lying(500, b"x"), "does not unpack to the 500 bytes|cannot be read"),
        ],
    )
    def test_refuses_with_the_reason(self, content, reason):
        with pytest.raises(DataCorrupt, match=reason) as caught:
            members(content)
        assert caught.value.where == "file"

    def test_nothing_is_unpacked_before_every_member_has_been_looked_at(self):
        content = zip_bytes({"a.png": b"1", "../b.png": b"2"})
        with pytest.raises(DataCorrupt, match="outside"):
            next(zip_members(content, where="file", limits=LIMITS, wanted=lambda _: True))

    def test_a_wrong_byte_is_refused(self):
        content = bytearray(zip_bytes({"a.png": b"abcdefgh"}, zipfile.ZIP_STORED))
        content[content.index(b"abcdefgh")] ^= 1
        with pytest.raises(DataCorrupt, match="CRC"):
            members(bytes(content))
