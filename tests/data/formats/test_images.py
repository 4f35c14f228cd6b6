import io
import stat
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pytest

from dregcli.data.formats.images import ZipLimits, decode_image, grey_levels, zip_members
from dregcli.errors import DataCorrupt
from tests.support.data_images import chunk, png_bytes, zip_bytes

BITS = np.random.RandomState(1).randint(0, 2, (5, 9))
LIMITS = ZipLimits(count=5, member_bytes=1000, total_bytes=2000)


def levels(content: bytes, **options):
    return grey_levels(decode_image(content, where="file", **options), where="file")


class TestImage:
    def test_one_bit(self):
        np.testing.assert_array_equal(levels(png_bytes(BITS)), BITS * 255)

    def test_eight_bits(self):
        grey = np.arange(45).reshape(5, 9) * 5
        found = levels(png_bytes(grey, 8))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, grey)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "not a PNG image"),
            (b"<html></html>", "not a PNG image"),
            (b"GIF89a\1\0\1\0\0\0\0;", "not a PNG image"),
            (png_bytes(BITS)[:-30], "cannot be decoded"),
            (png_bytes(BITS)[:55], "cannot be decoded"),
            (png_bytes(BITS, size=(200_000, 200_000)), "too large|more than 16,777,216"),
            (png_bytes(BITS, size=(5_000, 5_000)), "promises 5000 x 5000 pixels, more than 16,777,216"),
            (png_bytes(np.zeros((2, 2, 3)), 8, colour=2), "mode RGB, not grey"),
            (png_bytes(np.zeros((2, 2, 2)), 8, colour=4), "mode LA, not grey"),
        ],
        ids=["empty", "html", "gif", "cut", "cut-early", "bomb", "large", "colour", "alpha"],
    )
    def test_refuses_with_the_reason(self, content, reason):
        with pytest.raises(DataCorrupt, match=reason) as caught:
            levels(content)
        assert caught.value.where == "file"

    def test_the_size_is_looked_at_before_a_pixel_is_decoded(self, monkeypatch):
        from PIL import ImageFile

        monkeypatch.setattr(ImageFile.ImageFile, "load", None)
        with pytest.raises(DataCorrupt, match="more than 44"):
            levels(png_bytes(BITS), max_pixels=44)

    def test_text_that_unpacks_to_far_more(self):
        bomb = chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(80_000_000)))
        content = png_bytes(BITS)
        with pytest.raises(DataCorrupt, match=r"cannot be decoded|not a PNG"):
            levels(content[:33] + bomb + content[33:])

    def test_damage_raises_nothing_else(self):
        content, random = png_bytes(np.arange(45).reshape(5, 9), 8), np.random.RandomState(7)
        refused = 0
        for _ in range(300):
            altered = bytearray(content)
            altered[random.randint(8, len(content))] = random.randint(256)
            try:
                levels(bytes(altered))
            except DataCorrupt:
                refused += 1
        assert refused > 200


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
            (zip_bytes({"../a.png": b"1"}), "outside itself: '../a.png'"),
            (zip_bytes({"x/../../a.txt": b"1"}), "outside itself"),
            (zip_bytes({"/etc/a.png": b"1"}), "outside itself: '/etc/a.png'"),
            (zip_bytes({"C:/a.png": b"1"}), "outside itself"),
            (zip_bytes({"..\\a.png": b"1"}), "outside itself"),
            (with_info("a.png", external_attr=(stat.S_IFLNK | 0o777) << 16), "a link as a member: 'a.png'"),
            (encrypted(), "is encrypted: 'a.png'"),
            (doubled("a.png"), "a member twice: 'a.png'"),
            (doubled("readme"), "a member twice"),
            (zip_bytes({"a.png": b"1"}, zipfile.ZIP_LZMA), "neither stored nor deflated: 'a.png'"),
            (zip_bytes({"a.png": b"1"}, zipfile.ZIP_BZIP2), "neither stored nor deflated"),
            (lying(10, bytes(5_000_000)), "CRC"),
            (lying(500, b"x"), "another size than the 500 bytes|cannot be read"),
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
