import numpy as np
import pytest

from dregcli.data.formats.amat import parse_binary_amat
from dregcli.errors import DataCorrupt

BITS = np.random.RandomState(3).randint(0, 2, (5, 7))


def text(array: np.ndarray, between: str = " ", end: str = "\n") -> bytes:
    return "".join(between.join(str(value) for value in row) + end for row in array).encode()


@pytest.mark.parametrize(
    "content",
    [
        text(BITS),
        text(BITS)[:-1],
        text(BITS, end="\r\n"),
        text(BITS, between="\t"),
        text(BITS, between="  ", end=" \n\n"),
        text(BITS.astype(float)),
        b"\n" + text(BITS),
    ],
    ids=["published", "no-end", "dos", "tabs", "wide", "floats", "empty-line"],
)
def test_bits_in_every_layout(content):
    found = parse_binary_amat(content, columns=7, where="file")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, BITS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no numbers"),
        (b" \n\n", "no numbers"),
        (b"0 1 0\n0 1\n", "line 2 has 2 numbers, not 3"),
        (b"0 1 0\n\n0 1 0 1\n", "line 3 has 4 numbers, not 3"),
        (b"0 1 0\n0 one 0\n", "line 2 holds 'one', neither 0 nor 1"),
        (b"0 1 0\n0 1_0 0\n", "line 2 holds '1_0', neither 0 nor 1"),
        (b"0 1 0\n0 \xff\xfe 0\n", r"line 2 holds '\\xff\\xfe', neither 0 nor 1"),
        (b"<html>log in here</html>", "holds .<html>log., neither 0 nor 1"),
        (b"0 nan 0\n", "line 1 holds 'nan', neither 0 nor 1"),
        (b"0 inf 0\n", "line 1 holds 'inf', neither 0 nor 1"),
        (b"0 1e999 0\n", "line 1 holds '1e999', neither 0 nor 1"),
    ],
)
def test_refuses_with_the_reason(content, reason):
    with pytest.raises(DataCorrupt, match=reason) as caught:
        parse_binary_amat(content, columns=3, where="file")
    assert caught.value.where == "file"


@pytest.mark.parametrize("content", [b"0 1 2\n", b"0 1 0.5\n", b"0 1 -1\n", b"0 1 /\n", b"0 1,0\n"])
def test_bits_are_nothing_but_bits(content):
    with pytest.raises(DataCorrupt, match=r"neither 0 nor 1|2 numbers"):
        parse_binary_amat(content, columns=3, where="file")
