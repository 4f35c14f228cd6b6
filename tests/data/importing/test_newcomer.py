"""What a new user met: sources that were taken for something else without a word."""

import numpy as np
import pytest
from scipy import io as scipy_io

from dregcli.errors import DataCorrupt, UsageError
from dregcli.names import DataKind, Split
from tests.data.importing.test_pictures import encoded, place
from tests.support.data_import import assert_holds, bring, refuse, seeded

RANDOM = np.random.RandomState(3)
VALUES = RANDOM.randint(0, 256, (30, 6)).astype(np.uint8)
IMAGES = RANDOM.randint(0, 256, (24, 6, 5)).astype(np.uint8)


@pytest.fixture(params=[False, True], ids=["folder", "zip"])
def packed(request):
    return request.param


def npy(folder, values):
    np.save(folder / "a.npy", values)
    return folder / "a.npy"


def has(imported, text):
    return any(text in note for note in imported.notes)


class TestFolders:
    @pytest.mark.parametrize("top", ["", "set/"])
    @pytest.mark.parametrize("beside", ["other/", ""])
    @pytest.mark.parametrize("valid", [True, False])
    def test_splits_beside_others(self, top, beside, valid, packed, tmp_path):
        bounds = {"train": (0, 12), "val": (12, 15), "test": (15, 20)}
        if not valid:
            del bounds["val"]
        files = {
            f"{top}{split}/{i:02d}.png": encoded(IMAGES[i])
            for split, (first, last) in bounds.items()
            for i in range(first, last)
        }
        if top and not beside:
            files |= {f"{top}{i}.png": encoded(IMAGES[i]) for i in (20, 21)}
        else:
            files |= {f"{top}{beside}{i}.png": encoded(IMAGES[i]) for i in (20, 21)}
        imported = bring(place(files, tmp_path, packed), tmp_path / "data")
        np.testing.assert_array_equal(imported.dataset.splits[Split.TEST], IMAGES[15:20].reshape(5, -1))
        if valid:
            np.testing.assert_array_equal(imported.dataset.splits[Split.TRAIN], IMAGES[:12].reshape(12, -1))
            np.testing.assert_array_equal(imported.dataset.splits[Split.VALID], IMAGES[12:15].reshape(3, -1))
        assert ("left out: other/ (2 images)" if beside else "left out: 2 images in no folder") in imported.notes

    @pytest.mark.parametrize("beside", ["other/", ""])
    @pytest.mark.parametrize("split", ["train", "test"])
    def test_one_split_beside_others(self, split, beside, packed, tmp_path):
        files = {f"{split + '/' if i < 12 else beside}{i}.png": encoded(IMAGES[i]) for i in range(24)}
        reason = rf"like a split \({split}/\), but beside them there are others \({beside or 'loose images'}\)"
        error = refuse(place(files, tmp_path, packed), tmp_path / "data", reason, UsageError)
        assert "rename the folder" in str(error.hint)

    def test_splits_inside_each_class_are_reported(self, packed, tmp_path):
        files = {f"{'ab'[i % 2]}/{'train' if i < 12 else 'test'}/{i}.png": encoded(IMAGES[i]) for i in range(24)}
        imported = bring(place(files, tmp_path, packed), tmp_path / "data")
        assert has(imported, "all images were put together: deeper folders (test/, train/) were not taken as splits")


class TestAxes:
    def test_images_along_the_last_axis(self, tmp_path):
        values = RANDOM.randint(0, 256, (4, 4, 30)).astype(np.uint8)
        scipy_io.savemat(tmp_path / "a.mat", {"X": values})
        told = "4 x 4 x 30 was taken as 4 examples of 4 x 30; if the last axis is the examples, give --transpose"
        assert told in bring(tmp_path / "a.mat", tmp_path / "data").notes
        turned = bring(tmp_path / "a.mat", tmp_path / "data", transpose=True)
        assert not has(turned, "give --transpose")
        assert_holds(turned.dataset, seeded(np.moveaxis(values, 2, 0)))

    @pytest.mark.parametrize("shape", [(30, 4, 4), (30, 4, 6), (30, 30, 4), (10, 10, 10)])
    def test_others_get_no_hint(self, shape, tmp_path):
        imported = bring(npy(tmp_path, RANDOM.randint(0, 256, shape).astype(np.uint8)), tmp_path / "data")
        assert not has(imported, "--transpose")

    def test_images_from_files_get_no_hint(self, packed, tmp_path):
        values = RANDOM.randint(0, 256, (6, 6, 9)).astype(np.uint8)
        source = place({f"{i}.png": encoded(image) for i, image in enumerate(values)}, tmp_path, packed)
        assert not has(bring(source, tmp_path / "data"), "--transpose")

    @pytest.mark.parametrize("shape", [(12, 30), (3, 4, 30)])
    def test_a_shape_of_the_other_axis(self, shape, tmp_path):
        source = npy(tmp_path, RANDOM.rand(*shape))
        error = refuse(source, tmp_path / "data", "--shape 3x4 is 12 pixels", UsageError, shape="3x4")
        assert str(error.hint).endswith(", or --transpose")
        source = npy(tmp_path, np.moveaxis(RANDOM.rand(*shape), -1, 0))
        error = refuse(source, tmp_path / "data", "--shape 3x4", UsageError, shape="3x4", transpose=True)
        assert str(error.hint).endswith(", or leave --transpose out")
        error = refuse(source, tmp_path / "data", "--shape 5x5 is 25", UsageError, shape="5x5")
        assert "transpose" not in str(error.hint)


class TestScales:
    def test_splits_on_different_scales(self, tmp_path):
        np.savez(tmp_path / "a.npz", x_train=VALUES.astype(float), x_test=VALUES[:9] / 255 + 1e-3)
        (warning, *_) = bring(tmp_path / "a.npz", tmp_path / "data").warnings
        assert "different scales: train has 0 to 255, test has 0.0" in warning

    def test_splits_on_one_scale(self, tmp_path):
        np.savez(tmp_path / "a.npz", x_train=VALUES, x_test=VALUES[:9] // 2)
        assert not any("scales" in warning for warning in bring(tmp_path / "a.npz", tmp_path / "data").warnings)


class TestText:
    @pytest.mark.parametrize(
        "header", [b"", b"label,a b,x,y,z,w\n", b'\xef\xbb\xbf"l","a","b","c","d","e"\r\n', b"\n"]
    )
    @pytest.mark.parametrize("mark", [b",", b";", b"\t", b", "])
    def test_separated(self, mark, header, tmp_path):
        header = header.replace(b",", mark)
        rows = b"".join(mark.join(b"%d" % value for value in row) + b"\n" for row in VALUES)
        (tmp_path / "a.csv").write_bytes(header + rows)
        imported = bring(tmp_path / "a.csv", tmp_path / "data")
        assert_holds(imported.dataset, seeded(VALUES[:, 1:] if b"label" in header else VALUES))
        assert has(imported, "the first line was left out, as names: l") == (len(header) > 2)
        assert has(imported, "separated by") == (mark != b"\t")

    @pytest.mark.parametrize(
        ("shape", "name", "comments"),
        [((20, 785), "pixel", ""), ((20, 785), "p" * 350, ""), ((20, 785), "p" * 350, "# "), ((6, 90_000), "", "")],
        ids=["long", "names longer than a head", "in a comment", "numbers longer than a head"],
    )
    def test_long_lines(self, shape, name, comments, tmp_path):
        values = RANDOM.randint(0, 256, shape)
        header = ",".join(f"{name}{i}" for i in range(shape[1])) if name else ""
        np.savetxt(tmp_path / "a.csv", values, "%d", ",", header=header, comments=comments)
        imported = bring(tmp_path / "a.csv", tmp_path / "data")
        assert_holds(imported.dataset, seeded(values))
        assert has(imported, f"{f'{name}11'[:80]} and 773 more") == bool(name)

    def test_numbered_columns(self, tmp_path):
        np.savetxt(tmp_path / "a.csv", VALUES, "%d", ",", header="0,1,2,3,4,5", comments="")
        assert has(
            bring(tmp_path / "a.csv", tmp_path / "data"), "the first line is 0 to 5, and was taken as an example"
        )

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"1,2,3\n4,,6\n", "line 2, column 2 is empty"),
            (b"a,b,c\n1,2,3\n4,5\n", "line 3 has 2 numbers, not 3"),
            (b"a,b\n1,2,3\n", "the first line has 2 names, but the next line has 3 numbers"),
            (b"a,1,2\n1,2,3\n", "line 1, column 1 holds 'a', which is not a number"),
            (b",a,b\n1,2\n", "the first line has 3 names"),
            (b"a,b\n", "its format is not known"),
            (b"Dear reader,\nthis is prose\n", "its format is not known"),
            (b"a,b\n\n \n", "its format is not known"),
        ],
    )
    def test_refused(self, content, reason, tmp_path):
        (tmp_path / "a.csv").write_bytes(content)
        refuse(tmp_path / "a.csv", tmp_path / "data", reason, DataCorrupt)


def test_a_test_split_that_is_passed_over(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=VALUES, x_test=VALUES[:9] // 2, y_test=VALUES)
    warnings = bring(tmp_path / "a.npz", tmp_path / "data", keys=["train=x_train"]).warnings
    assert warnings == ("the test split was drawn from train although 'x_test' is there: --key test=x_test takes it",)
    for keys in ([], ["x_train"], ["train=x_train", "test=x_test"]):
        warnings = bring(tmp_path / "a.npz", tmp_path / "data", keys=keys).warnings
        assert not any("although" in warning for warning in warnings)


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-1.0, 1.0), (2.5, 3.5), (0.0, 0.3)])
def test_two_values(low, high, tmp_path):
    imported = bring(npy(tmp_path, np.where(VALUES > 99, high, low)), tmp_path / "data")
    assert imported.dataset.kind is DataKind.REAL
    assert has(
        imported, f"6 of 6 values of the examples take only two values (the first is value 0: {low:g} and {high:g})"
    )
    assert has(imported, "as real values their gaussian bound means nothing")


@pytest.mark.parametrize("values", [VALUES - 7.5, VALUES % 3 - 1.0, VALUES % 2])
def test_more_or_plain_values(values, tmp_path):
    assert not has(bring(npy(tmp_path, values), tmp_path / "data"), "gaussian")


@pytest.mark.parametrize("count", [30, 60_000])
def test_columns_of_two_values(count, tmp_path):
    """Columns of two values are found in several pieces with different values, and in every type and format."""
    values = np.random.RandomState(0).randint(-900, 900, (count, 9)) / 4
    values[:, 4] = np.where(np.arange(count) < count // 2, -1, 1)
    values[:, 5] = np.arange(count) // (count // 3)
    values[:, 6] = 0.5
    shown = "1 of 9 values of the examples take only two values (the first is value 4: -1 and 1)"
    types = (np.float64, np.float32, np.float16) if count == 30 else (np.float32,)
    for dtype in types:
        assert has(bring(npy(tmp_path, values.astype(dtype)), tmp_path / "data"), shown), dtype
    if count == 30:
        np.savetxt(tmp_path / "a.csv", values, "%g", ",")
        assert has(bring(tmp_path / "a.csv", tmp_path / "data"), shown)
        for dtype in (np.int8, np.int16, np.int64, np.float16):
            whole = (values % 50).astype(dtype)
            whole[:, 4] = values[:, 4]
            assert has(bring(npy(tmp_path, whole), tmp_path / "data"), shown), dtype
