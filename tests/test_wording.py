"""Numbers and texts as people read them, and what text from anywhere may not do."""

import math
import shlex
import shutil
import subprocess

import pytest

from dregcli.wording import (
    counted,
    difference,
    duration,
    interval,
    listed,
    printable,
    shell_command,
    slugs,
    some_of,
    with_error,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ± θ 漢\nline", "plain ± θ 漢\nline"),
        ("\x1b[31mred\x1b]0;pwned\x07", r"\x1b[31mred\x1b]0;pwned\x07"),
        ("a\rb\tc\x00", r"a\rb\tc\x00"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("caf\udce9", r"caf\udce9"),
        ("safe \u202egnp.exe\u2069", r"safe \u202egnp.exe\u2069"),
        ("\u05d0\u05d1\u200f 1", "\u05d0\u05d1\u200f 1"),
    ],
)
def test_text_from_anywhere_moves_no_cursor_and_turns_nothing(text: str, shown: str) -> None:
    assert printable(text) == shown


WORDS = ["dreg", "it's", '"$HOME" `id` \\ !x', "", "a b", "*", "<script>", "θ", "--lr=1e-3", "#x", "~"]
UNSEEN = ["\ta\nb", "\x1b[31m'\\", "\u202ex", "\u200f1", "\xa0", "caf\udce9f", "\ud800", "\U000e0041"]


def test_a_command_line_is_what_was_typed() -> None:
    assert shlex.split(shell_command(WORDS)) == WORDS
    assert shell_command(["dreg", "train", "--lr", "0.1"]) == "dreg train --lr 0.1"
    assert shell_command(UNSEEN).isprintable()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_shell_reads_the_same_words() -> None:
    words = [*WORDS, *UNSEEN]
    line = f"printf '%s\\0' {shell_command(words)}"
    told = subprocess.run(["bash", "-c", line], check=True, capture_output=True).stdout.split(b"\0")[:-1]
    wanted = [word.encode("utf-8", "surrogatepass" if word == "\ud800" else "surrogateescape") for word in words]
    assert told == wanted
    plain = f"printf '%s\\0' {' '.join(words)}".replace("\0", "")
    wrong = subprocess.run(["bash", "-c", plain.encode("utf-8", "replace")], check=False, capture_output=True).stdout
    assert wrong.split(b"\0")[:-1] != wanted


def test_durations_have_the_largest_unit_that_fits() -> None:
    shown = [duration(seconds) for seconds in (0.4, 59.4, 59.6, 3599, 12_000, 187_200)]
    assert shown == ["0 s", "59 s", "1 min", "1 h 0 min", "3 h 20 min", "2 d 4 h"]


def test_an_error_is_never_shown_as_zero_and_a_number_keeps_what_it_resolves() -> None:
    pairs = [
        (-27.48, 0.5),
        (-27.48, 0.0051),
        (-27.4849, 0.004),
        (-27.48494, 0.0007),
        (1.0, 9.6e-5),
        (2.0, 0.0),
        (3.0, None),
        (-12345.67, 0.52),
        (-123456.789, 0.002),
        (-12345.67, None),
        (2.5e8, 3.25),
        (2.5e9, 2.5e7),
        (2.5e7, None),
        (-math.inf, None),
    ]
    assert [with_error(*pair) for pair in pairs] == [
        "-27.48 ± 0.50",
        "-27.48 ± 0.01",
        "-27.485 ± 0.004",
        "-27.4849 ± 0.0007",
        "1.00000 ± 0.00010",
        "2.00 ± 0.00",
        "3.00",
        "-12345.67 ± 0.52",
        "-123456.789 ± 0.002",
        "-12345.67",
        "250000000.00 ± 3.25",
        "2.5e+09 ± 2.5e+07",
        "2.5e+07",
        "-inf",
    ]


def test_a_difference_keeps_the_digits_that_its_error_resolves() -> None:
    pairs = [(0.5, 0.1), (0.5, None), (2e-5, 3e-6), (-2e-5, 5e-5), (0.0, 0.0)]
    assert [difference(*pair) for pair in pairs] == [
        "+0.5000 ± 0.1000",
        "+0.5000",
        "+0.000020 ± 0.000003",
        "-0.0000 ± 0.0001",
        "+0.0000 ± 0.0000",
    ]
    ends = (1.1e-5, 2.9e-5)
    assert [interval(ends, error) for error in (3e-6, None)] == ["[+0.000011, +0.000029]", "[+0.0000, +0.0000]"]


def test_counting() -> None:
    assert some_of(["a", "b", "c"], 3) == "a, b, c"
    assert some_of(["a", "b", "c", "d", "e"], 3) == "a, b, c and 2 more"
    assert [counted(n, "seed") for n in (0, 1, 2, 1000)] == ["0 seeds", "1 seed", "2 seeds", "1,000 seeds"]


def test_parts_of_a_list() -> None:
    assert [listed(parts) for parts in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_words_for_addresses_differ() -> None:
    texts = ["mnist, structured", "mnist", "MNIST", "mnist-2", "Ziffern ä", "ä"]
    assert slugs(texts) == ["mnist-structured", "mnist", "mnist-2", "mnist-2-2", "ziffern", "part"]
