import zlib

import numpy as np
import pytest

from dregcli.data.formats.images import decode_image, grey_levels
from dregcli.errors import DataCorrupt
from tests.support.data_images import chunk, png_bytes

BITS = np.random.RandomState(1).randint(0, 2, (5, 9))


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
