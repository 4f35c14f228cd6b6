import numpy as np
import pytest

from dregcli.data.formats.amat import amat_rows, parse_amat, parse_binary_amat
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


def test_numbers():
    found = parse_amat(b"0.5 -1e-3\n 2 +.25 \n", where="file")
    np.testing.assert_array_equal(found, [[0.5, -0.001], [2.0, 0.25]])


def test_rows_of_an_open_file(tmp_path):
    path = tmp_path / "file.amat"
    path.write_bytes(text(BITS))
    with path.open("rb") as lines:
        np.testing.assert_array_equal(np.stack(list(amat_rows(lines, where="file"))), BITS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no numbers"),
        (b" \n\n", "no numbers"),
        (b"0 1 0\n0 1\n", "line 2 has 2 numbers, not 3"),
        (b"0 1 0\n\n0 1 0 1\n", "line 3 has 4 numbers, not 3"),
        (b"0 1 0\n0 one 0\n", "line 2 holds 'one', which is no number"),
        (b"0 1 0\n0 1_0 0\n", "line 2 holds '1_0', which is no number"),
        (b"0 1 0\n0 \xff\xfe 0\n", r"line 2 holds '\\xff\\xfe', which is no number"),
        (b"<html>log in here</html>", "holds .<html>log., which is no number"),
        (b"0 nan 0\n", "line 1 holds a number that is not finite"),
        (b"0 inf 0\n", "line 1 holds a number that is not finite"),
        (b"0 1e999 0\n", "line 1 holds a number that is not finite"),
    ],
)
def test_refuses_with_the_reason(content, reason):
    for parse in (parse_amat, parse_binary_amat):
        with pytest.raises(DataCorrupt, match=reason) as caught:
            parse(content, columns=3, where="file")
        assert caught.value.where == "file"


@pytest.mark.parametrize("content", [b"0 1 2\n", b"0 1 0.5\n", b"0 1 -1\n", b"0 1 /\n", b"0 1,0\n"])
def test_bits_are_nothing_but_bits(content):
    with pytest.raises(DataCorrupt, match=r"neither 0 nor 1|no number|2 numbers"):
        parse_binary_amat(content, columns=3, where="file")
