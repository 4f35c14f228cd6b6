import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from dregcli.data.formats.idx import parse_idx, parse_idx_values
from dregcli.data.formats.unpack import unpack
from dregcli.errors import DataCorrupt
from tests.support.data_idx import idx_bytes

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def parse(content: bytes) -> np.ndarray:
    return parse_idx(content, ndim=3, where="file")


def test_reads_what_the_format_says():
    array = parse(idx_bytes(IMAGES))
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, IMAGES)
    assert not array.flags.writeable


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x08", "not an IDX file"),
        (b"<html>not here</html>", "not an IDX file"),
        (b"\x00\x00\x07\x03" + bytes(36), "not an IDX file"),
        (idx_bytes(IMAGES.astype(">i4"), kind=0x0C), "holds int32"),
        (idx_bytes(IMAGES[0]), "has 2 dimensions, not 3"),
        (idx_bytes(IMAGES)[:13], "ends inside its header"),
        (idx_bytes(IMAGES)[:-1], "promises 2 x 3 x 4 = 24 bytes, but 23 follow"),
        (idx_bytes(IMAGES) + b"\x00", "promises 2 x 3 x 4 = 24 bytes, but 25 follow"),
        (idx_bytes(IMAGES[:0]), "empty"),
        # 2^96 pixels: a product that wraps around in any machine integer.
        (struct.pack(">I3I", 0x803, *[2**32 - 1] * 3) + bytes(24), "but 24 follow"),
        # 2^64 pixels wrap around to the 0 bytes that are there.
        (struct.pack(">I3I", 0x803, 2**31, 2**31, 4), "but 0 follow"),
    ],
)
def test_refuses_with_the_reason(content: bytes, reason: str):
    with pytest.raises(DataCorrupt, match=reason) as caught:
        parse(content)
    assert caught.value.where == "file"


class TestUnpack:
    content = idx_bytes(IMAGES)

    def unpack(self, raw: bytes, limit: int | None = None) -> bytes:
        return unpack(raw, limit=len(self.content) if limit is None else limit, where="file")

    @pytest.mark.parametrize("level", [0, 1, 9])
    def test_gzip_of_any_level_and_plain(self, level: int):
        assert self.unpack(gzip.compress(self.content, level)) == self.content
        assert self.unpack(self.content) == self.content

    def test_every_truncation_is_refused(self):
        packed = gzip.compress(self.content)
        for length in range(2, len(packed)):
            with pytest.raises(DataCorrupt, match="truncated"):
                self.unpack(packed[:length])

    def test_a_wrong_crc_is_refused(self):
        packed = bytearray(gzip.compress(self.content))
        packed[-5] ^= 1
        with pytest.raises(DataCorrupt, match="damaged"):
            self.unpack(bytes(packed))

    def test_a_damaged_stream_is_refused(self):
        packed = bytearray(gzip.compress(self.content))
        packed[10] = 0xFF
        with pytest.raises(DataCorrupt, match="damaged"):
            self.unpack(bytes(packed))

    def test_rubbish_after_the_stream_is_refused(self):
        with pytest.raises(DataCorrupt, match="damaged"):
            self.unpack(gzip.compress(self.content) + b"rubbish")

    def test_a_second_member_counts_towards_the_limit(self):
        with pytest.raises(DataCorrupt, match="exceeds"):
            self.unpack(gzip.compress(self.content) * 2)

    def test_a_plain_file_above_the_limit_is_refused(self):
        with pytest.raises(DataCorrupt, match="exceeds"):
            self.unpack(self.content, limit=len(self.content) - 1)

    def test_a_bomb_never_gets_its_memory(self):
        bomb = gzip.compress(bytes(100_000_000), 1)
        tracemalloc.start()
        try:
            with pytest.raises(DataCorrupt, match="exceeds the 1,000 bytes"):
                self.unpack(bomb, limit=1000)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()


class TestAnyType:
    @pytest.mark.parametrize(
        ("kind", "dtype"),
        [(0x08, ">u1"), (0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")],
    )
    def test_reads_what_the_format_says(self, kind: int, dtype: str):
        values = IMAGES.astype(dtype)
        found = parse_idx_values(idx_bytes(values, kind=kind), where="file")
        np.testing.assert_array_equal(found, values)
        assert found.dtype == np.dtype(dtype)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (idx_bytes(IMAGES.astype(">f8"), kind=0x0E)[:-1], "2 x 3 x 4 x 8 = 192 bytes, but 191 follow"),
            (bytes([0, 0, 8, 0]), "has 0 dimensions, not 1 to 8"),
            (bytes([0, 0, 8, 200]) + bytes(800), "has 200 dimensions, not 1 to 8"),
        ],
    )
    def test_refuses_with_the_reason(self, content: bytes, reason: str):
        with pytest.raises(DataCorrupt, match=reason):
            parse_idx_values(content, where="file")
