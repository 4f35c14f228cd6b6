"""Columns of a text that are labels or row numbers never become values in silence, and can be named."""

import shlex

import numpy as np
import pytest

from dregcli.data.cache import read_cache
from dregcli.data.importing.columns import ColumnWords
from dregcli.data.importing.labels import LABELS, ROW_NUMBERS, judge
from dregcli.errors import SpecError
from dregcli.names import Split
from tests.support.data_import import assert_holds, bring, refuse, seeded

RANDOM = np.random.RandomState(4)
N = 60
GREY = RANDOM.randint(0, 256, (N, 36)) * (RANDOM.rand(36) > 0.2)
BITS = RANDOM.randint(0, 2, (N, 36))
CLASSES = RANDOM.permutation(np.arange(N) % 10)
COUNT = np.arange(N)
PIXELS = [f"pixel{i}" for i in range(36)]
REAL = RANDOM.standard_normal((N, 4))


def beside(*columns):
    return np.column_stack(columns)


def text(values, names=None, form="%g"):
    rows = [",".join(form % value for value in row) for row in values]
    return "\n".join([*([",".join(names)] if names else []), *rows]) + "\n"


def found(values, names=(), **options):
    """By place, what a column is taken for and whether that is certain."""
    return {each.column: (each.role, each.certain) for each in judge(values, names, **options)}


SURE, UNSURE = (LABELS, True), (LABELS, False)
ROWS, PERHAPS_ROWS = (ROW_NUMBERS, True), (ROW_NUMBERS, False)
ABC = ["a", "b", "c", "d"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_what_columns_are(dtype):
    """By names and values; real data whose columns look alike are left alone, and what is in between is said."""
    shuffled = RANDOM.permutation(N)
    cases = [
        *(
            (beside(CLASSES, GREY), [name, *PIXELS], {0: SURE})
            for name in ("label", "Labels", "y", "class_id", "target")
        ),
        *((beside(GREY, CLASSES), [*PIXELS, name], {36: SURE}) for name in ("class", "digit", "species", "CLASS")),
        *((beside(COUNT, GREY), [name, *PIXELS], {0: ROWS}) for name in ("", "Unnamed: 0", "id", "Index", "odd")),
        (beside(COUNT * 7 % 61 * 3, GREY), ["id", *PIXELS], {0: ROWS}),
        (beside(COUNT + 1, CLASSES, GREY), ["", "label", *PIXELS], {0: ROWS, 1: SURE}),
        # Without names.
        (beside(CLASSES, GREY), (), {0: SURE}),
        (beside(GREY, CLASSES + 1), (), {36: SURE}),
        (beside(BITS, CLASSES), (), {36: SURE}),
        (beside(GREY, CLASSES % 2 * 2 - 1), (), {36: SURE}),
        (beside(COUNT, GREY), (), {0: ROWS}),
        (beside(COUNT + 1, CLASSES, GREY), (), {0: ROWS, 1: SURE}),
        (beside(shuffled, GREY), (), {0: PERHAPS_ROWS}),
        (beside(COUNT, GREY)[:5], (), {0: PERHAPS_ROWS}),
        (beside(GREY[:, :21], CLASSES), (), {21: UNSURE}),
        (beside(COUNT[12:0:-1] % 10, GREY[:12]), (), {0: UNSURE}),
        (beside(GREY, CLASSES + 2), (), {36: UNSURE}),
        # As they are.
        (GREY, (), {}),
        (GREY, PIXELS, {}),
        (beside(GREY, GREY[:, 0]), (), {}),
        (RANDOM.poisson(RANDOM.rand(37) * 30, (N, 37)), (), {}),
        (RANDOM.randint(0, 40, (N, 2)), ["x", "y"], {}),
        (COUNT[:, None], ["id"], {}),
    ]
    for values, names, expected in cases:
        assert found(values.astype(dtype), names) == expected, names or values[:2]
    assert found(beside(GREY[:, :35], CLASSES).astype(dtype), shape=(5, 7)) == {35: SURE}
    assert found(beside(GREY[:, :35], CLASSES).astype(dtype), shape=(6, 6)) == {}
    assert found(beside(REAL, CLASSES % 3)) == {4: UNSURE}
    assert found(beside(REAL, CLASSES % 2), [*ABC, "y"]) == {4: SURE}
    assert found(beside(REAL, REAL[:, 0]), [*ABC, "label"]) == {4: UNSURE}
    assert found(beside(REAL, REAL[:, 0]), [*ABC, "y"]) == {4: UNSURE}
    assert found(beside(REAL, REAL[:, 0]), ["x", *ABC[1:], "y"]) == {}


def test_they_are_left_out_and_it_is_kept_with_the_data(tmp_path):
    """Also where a column of the middle goes, so that the rest does not lie together."""
    (tmp_path / "a.csv").write_text(text(beside(COUNT, GREY[:, :20], CLASSES, GREY[:, 20:]),
                                         ["", *PIXELS[:20], "label", *PIXELS[20:]]))  # fmt: skip
    imported = bring(tmp_path / "a.csv", tmp_path / "data")
    assert_holds(imported.dataset, seeded(GREY.astype(np.uint8)))
    assert (imported.dataset.height, imported.dataset.width) == (6, 6)
    kept = read_cache("mine", tmp_path / "data").provenance
    assert [(each["columns"], each["as"]) for each in kept["left_out"]] == [("1", "row numbers"), ("22", "labels")]
    assert any("left out: column 22 ('label'), as labels" in note for note in imported.notes)
    assert imported.warnings == ()
    all_of_them = bring(tmp_path / "a.csv", tmp_path / "data", columns=ColumnWords(keep=("1-38",)))
    assert all_of_them.dataset.width == 38
    # What says nothing of itself is kept, with what to type.
    (tmp_path / "a.csv").write_text(text(beside(REAL, CLASSES % 3), form="%.3f"))
    (warning,) = bring(tmp_path / "a.csv", tmp_path / "data").warnings
    assert "column 5 may be labels" in warning
    assert "--labels 5 leaves it out, and --columns 1-5 confirms that it is a value" in warning
    # Text under the name of labels or of row numbers can be no value.
    rows = [f'"car {i}",{i % 7},{i % 5},{"ab"[i % 2]}' for i in range(N)]
    (tmp_path / "a.csv").write_text("\n".join(['"","v","w","species"', *rows]))
    assert_holds(bring(tmp_path / "a.csv", tmp_path / "data").dataset, seeded(beside(COUNT % 7, COUNT % 5)))


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ({"drop": ("b",)}, [0, 2, 3, 4]),
        ({"drop": ("2,4-",)}, [0, 2]),
        ({"drop": ("a-c",), "labels": ("5",)}, [3]),
        ({"keep": ("e,x", "2")}, [1, 4]),
        ({"labels": ("e,x",)}, [0, 1, 2, 3]),
    ],
)
def test_columns_that_are_named(words, kept, tmp_path):
    (tmp_path / "a.csv").write_text(text(GREY[:, :5], ["a", "b", "c", "d", '"e,x"']))
    imported = bring(tmp_path / "a.csv", tmp_path / "data", columns=ColumnWords(**words))
    assert_holds(imported.dataset, seeded(GREY[:, :5][:, kept]))
    left = [at for each in imported.left_out for at in each.columns]
    assert sorted([*left, *kept]) == [0, 1, 2, 3, 4]
    assert any(each.role == LABELS for each in imported.left_out) == ("labels" in words)


@pytest.mark.parametrize(
    ("header", "bad", "left"),
    [
        (",0,1,2,3,4,5,6,7", "70,1,,3,,5,6,7,8", [2, 4]),
        ("# a,b,c,d,5-6,f,g,h,i", "70,1,2,3,,,6,7,8", [4, 5]),
        (f"a,{'n' * 90},c,d,e,f,g,h,i", "70,,2,3,4,5,6,7,8", [1]),
    ],
    ids=["numbers from 0, as pandas names columns", "a range in a comment", "a name that is cut"],
)
def test_a_hint_means_the_columns_that_it_says(header, bad, left, tmp_path):
    """A name comes before a number, so a number that is the name of another column must be written otherwise."""
    values = beside(COUNT + 5, GREY[:, :8])
    (tmp_path / "a.csv").write_text(f"{header}\n{text(values)}{bad}\n{text(values)}")
    hint = str(refuse(tmp_path / "a.csv", tmp_path / "data", f"line 62, column {left[0] + 1} .* is empty").hint)
    _, given, *_ = shlex.split(hint[hint.index("--drop-columns") :])
    imported = bring(tmp_path / "a.csv", tmp_path / "data", columns=ColumnWords(drop=(given,)))
    assert [at for each in imported.left_out if each.role == "dropped" for at in each.columns] == left


def test_many_columns_that_are_left_out(tmp_path):
    """What the data file keeps of them has little room."""
    values = RANDOM.randint(0, 9, (12, 14_001))
    np.savetxt(tmp_path / "a.csv", values, "%d", ",")
    every_second = ",".join(map(str, range(1, 14_002, 2)))
    imported = bring(tmp_path / "a.csv", tmp_path / "data", columns=ColumnWords(keep=(every_second,)))
    assert_holds(imported.dataset, seeded(values[:, ::2]))
    (left,) = imported.left_out
    assert left.as_json()["columns"] == ",".join(map(str, range(2, 14_001, 2)))
    (kept,) = read_cache("mine", tmp_path / "data").provenance["left_out"]
    assert (kept["columns"], kept["count"]) == ("2,4,6,8,10,12,14,16,18,20,22,24 and 6,988 more", 7_000)


def test_every_fault_of_the_options_at_once(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(text(GREY[:, :6], ["a", "b", "c", "d", "e", "e"]))
    words = ColumnWords(keep=("9", "B"), drop=("e", "3-2", "a"), labels=("1", "0"))
    error = refuse(path, tmp_path / "data", "--columns: 9: the columns are 1 to 6", SpecError, columns=words)
    told = str(error)
    for fault in (
        "--columns: no column is called 'B'",
        "--drop-columns: several columns are called 'e': give one of the numbers 5-6",
        "--drop-columns: 3-2: a range must go up, within 1 to 6",
        "--labels: 0: the columns are 1 to 6",
        "--drop-columns, --labels: both give column 1 ('a')",
    ):
        assert fault in told
    refuse(path, tmp_path / "data", "these options leave out all 6 columns", columns=ColumnWords(drop=("1-",)))
    np.save(tmp_path / "a.npy", GREY)
    error = refuse(tmp_path / "a.npy", tmp_path / "data", "--labels: only applies to text", SpecError, columns=words)
    assert "--columns: only applies to text" in str(error)
    assert "--drop-columns: only applies to text" in str(error)


@pytest.mark.parametrize("values", [beside(CLASSES, GREY), beside(GREY, CLASSES), beside(COUNT, GREY)])
def test_an_array_is_warned_of(values, tmp_path):
    at = 36 if (values[:, 36] == CLASSES).all() else 0
    np.savez(tmp_path / "a.npz", train=values.astype(np.float32), test=values[:9].astype(np.float32))
    warnings = bring(tmp_path / "a.npz", tmp_path / "data").warnings
    assert any(f"column {at + 1} seems to be" in each for each in warnings)
    np.save(tmp_path / "a.npy", np.delete(values, at, axis=1))
    assert bring(tmp_path / "a.npy", tmp_path / "data").warnings == ()


ROWS_OF_TEXT = GREY[:, :4]
PLAIN = text(ROWS_OF_TEXT)


@pytest.mark.parametrize(
    "content",
    [
        "".join(",".join(f'"{value}"' for value in row) + "\n" for row in ROWS_OF_TEXT),
        "".join(";".join(f"'{value}'" for value in row) + "\r\n" for row in ROWS_OF_TEXT),
        "# a comment\n% another\n" + PLAIN.replace("\n", "\n# here too\n", 3),
        b"\xff\xfe" + ("a,b,c,d\n" + PLAIN).encode("utf-16-le"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.replace("\n", "\r\n").replace(",", "\t").encode("utf-16-le"),
        "\ufeff" + PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", "|"),
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace(",", "\t").replace("\n", "\t\n"),
        "a b c d\n" + PLAIN.replace(",", "  "),
        "n,0,1,2\n" + PLAIN,
        PLAIN.replace(",", ";").replace(";", ",0;"),
        "# a,b,c,d\n" + PLAIN,
    ],
)
def test_how_a_text_may_be_written(content, tmp_path):
    (tmp_path / "a.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_holds(bring(tmp_path / "a.csv", tmp_path / "data").dataset, seeded(ROWS_OF_TEXT))


def test_decimal_commas_that_come_late(tmp_path):
    values = np.where(np.arange(N)[:, None] < 50, ROWS_OF_TEXT, ROWS_OF_TEXT + 0.5)
    (tmp_path / "a.csv").write_text(text(values).replace(",", ";").replace(".", ","))
    dataset = bring(tmp_path / "a.csv", tmp_path / "data").dataset
    np.testing.assert_array_equal(dataset.splits[Split.TRAIN], seeded(values)[Split.TRAIN])


@pytest.mark.parametrize(
    ("line", "reason", "hint"),
    [
        (
            "1,?,3",
            r"line 62, column 2 \('b c'\) holds '\?', which is not a number",
            "--drop-columns 'b c'",
        ),
        ("1,2,", "line 62, column 3 .* is empty", "--drop-columns d"),
        ("1,2,NA", "line 62, column 3 .* holds 'NA', which is not a number", "--drop-columns d"),
        ("nan,2,3", "line 62, column 1 .* not finite", "--drop-columns a"),
        ("x,2,y", "line 62, column 1 .* holds 'x', which is not a number", "--drop-columns 1,3"),
        ("1,2", "line 62 has 2 numbers, not 3", "line 62"),
        ('1,"' + "2" * 200_000 + 'z",3', "line 62, column 2 .* holds '\"22222", "--drop-columns 'b c'"),
        ("1,2\0,3", r"line 62, column 2 .* holds '2\\x00'", "--drop-columns 'b c'"),
        ("1,2_0,3", "line 62, column 2 .* holds '2_0'", "--labels 'b c'"),
    ],
)
def test_the_first_bad_cell_is_named(line, reason, hint, tmp_path):
    (tmp_path / "a.csv").write_text(text(GREY[:, :3], ["a", "b c", "d"]) + line + "\n")
    assert hint in str(refuse(tmp_path / "a.csv", tmp_path / "data", reason).hint)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("1.5;2\n2,5;1\n", "line 2, column 1 holds '2,5', where a number with a decimal point is expected"),
        (
            "1,5;2\n" * 50 + "1.500;1\n",
            "line 51, column 1 holds '1.500', where a number with a decimal comma is expected",
        ),
        ("1,5;2\ninf;1\n", "line 2, column 1 holds 'inf', which is not finite"),
    ],
)
def test_decimal_points_and_commas_together(lines, reason, tmp_path):
    (tmp_path / "a.csv").write_text(lines + "1;2\n" * 9)
    refuse(tmp_path / "a.csv", tmp_path / "data", reason)
