"""What an attack on the import found: files beside files, values that would be lost, and images of every make."""

import contextlib
import io
import os
import random
import zipfile
from contextlib import ExitStack

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy import io as scipy_io

from dregcli.data.formats.archives import checked_members, member_content, open_archive
from dregcli.data.importing.contract import Scratch, Source
from dregcli.data.importing.images import Stage
from dregcli.errors import DataCorrupt, DregError, SpecError, UsageError
from dregcli.names import DataKind, Split
from tests.support.data_import import assert_holds, bring, refuse, request_of, seeded
from tests.support.listener import Recorder

VALUES = np.random.RandomState(2).randint(0, 256, (50, 36)).astype(np.uint8)


def npy(folder, values):
    np.save(folder / "a.npy", values)
    return folder / "a.npy"


def picture(values, kind="PNG", **options):
    buffer = io.BytesIO()
    (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(buffer, kind, **options)
    return buffer.getvalue()


class TestArchives:
    @pytest.mark.parametrize(("name", "method"), [("x.npy", zipfile.ZIP_BZIP2), ("x.png", zipfile.ZIP_LZMA)])
    def test_methods_without_a_bound(self, method, name, tmp_path, frugal):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive, archive.open(name, "w") as out:
            for _ in range(80):
                out.write(bytes(1_000_000))
        refuse(tmp_path / "a.zip", tmp_path / "data", "neither stored nor deflated", DataCorrupt)

    def test_one_bomb_in_a_large_honest_archive(self, tmp_path, frugal):
        """Against the whole file its promise is small; against its own packed bytes it is not."""
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("x.npy", os.urandom(1 << 20))
            archive.writestr("bomb.npy", bytes(80_000_000), zipfile.ZIP_DEFLATED)
        refuse(tmp_path / "a.npz", tmp_path / "data", "archive bomb", DataCorrupt)

    def test_no_more_comes_out_than_is_promised(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("x", bytes(5_000_000), zipfile.ZIP_DEFLATED)
        with open_archive(tmp_path / "a.zip", where="here") as archive:
            (member,) = checked_members(archive, where="here")
            stream = archive.open(member)
            archive.open = lambda _: stream
            member.file_size = 1 << 20
            pieces = member_content(archive, member, where="here")
            came = len(next(pieces))
            with pytest.raises(DataCorrupt, match="does not unpack"):
                next(pieces)
            assert came <= member.file_size

    def test_silhouettes_pack_far(self, tmp_path):
        values = np.zeros((4000, 64, 64))
        values[:, 20:40, 20:40] = 1
        values[np.arange(4000), 30, np.arange(4000) % 64] = 0
        np.savez_compressed(tmp_path / "a.npz", x=values)
        assert values.nbytes > 200 * (tmp_path / "a.npz").stat().st_size
        assert bring(tmp_path / "a.npz", tmp_path / "data").dataset.kind is DataKind.BINARY


@pytest.mark.parametrize("keys", [[], ["x"]])
@pytest.mark.parametrize("kind", ["npz", "h5", "mat"])
def test_one_bad_array_does_not_spoil_the_others(kind, keys, tmp_path):
    path = tmp_path / f"a.{kind}"
    bad = {"empty": np.zeros((0, 36)), "text": np.array(["a", "b"])}
    if kind == "npz":
        np.savez(path, x=VALUES, scalar=3.0, **bad)
    elif kind == "mat":
        scipy_io.savemat(path, {"x": VALUES, **bad})
    else:
        with h5py.File(path, "w") as file:
            file["x"], file["scalar"], file["empty"] = VALUES, 3.0, bad["empty"]
            file.create_dataset("huge", (1 << 30, 1 << 10), "f8", chunks=(1 << 20, 1 << 10), compression="gzip")
    imported = bring(path, tmp_path / "data", keys=keys)
    assert_holds(imported.dataset, seeded(VALUES))
    assert "empty (it " in str(imported.notes)
    refuse(path, tmp_path / "data", "empty", DataCorrupt, keys=["empty"])


class TestValues:
    def test_all_below_half_a_level_are_not_made_zero(self, tmp_path):
        values = np.random.RandomState(0).rand(40, 9) * 9e-7
        dataset = bring(npy(tmp_path, values), tmp_path / "data").dataset
        assert dataset.kind is DataKind.REAL
        assert_holds(dataset, seeded(values.astype(np.float32)))
        dataset = bring(npy(tmp_path, values), tmp_path / "data", kind=DataKind.INTENSITY).dataset
        assert_holds(dataset, seeded(values.astype(np.float32)))

    def test_values_that_would_fall_together(self, tmp_path):
        values = (1.7e9 + np.arange(28_800)).reshape(-1, 9)
        error = refuse(
            npy(tmp_path, values), tmp_path / "data", "would change value 0 of the examples by", DataCorrupt
        )
        assert "from 1700000000 to 1700028791" in error.what
        assert "subtract 1700014395.5 " in str(error.hint)
        assert bring(npy(tmp_path, values - 1700014395.5), tmp_path / "data").dataset.kind is DataKind.REAL

    def test_one_column_that_would_fall_together_is_named(self, tmp_path):
        random = np.random.RandomState(0)
        values = np.stack(
            [random.standard_normal(200), 1.7e9 + random.standard_normal(200), np.full(200, 1e9 + 0.1)], 1
        )
        error = refuse(npy(tmp_path, values), tmp_path / "data", "would change value 1 of the examples", DataCorrupt)
        assert "too much for values from 1699999997" in error.what

    def test_values_far_from_zero_that_stay_apart_are_kept(self, tmp_path):
        """Temperatures in kelvin, and a column that never varies and is moved a little."""
        random = np.random.RandomState(0)
        values = np.stack([290 + 10 * random.standard_normal(200), np.full(200, 1e9 + 0.1)], 1)
        dataset = bring(npy(tmp_path, values), tmp_path / "data").dataset
        assert_holds(dataset, seeded(values.astype(np.float32)))

    def test_tiny_values_of_which_nothing_is_left(self, tmp_path):
        values = np.random.RandomState(0).rand(40, 9) * 1e-46
        refuse(npy(tmp_path, values), tmp_path / "data", "would change value 0 of the examples", DataCorrupt)

    @pytest.mark.parametrize("values", [VALUES, VALUES / 255])
    def test_levels_that_the_values_exceed_are_not_ignored(self, values, tmp_path):
        refuse(npy(tmp_path, values), tmp_path / "data", "--levels 100: such values are", UsageError, levels=100)

    def test_of_one_level_says_nothing_of_levels(self, tmp_path):
        values = np.random.RandomState(0).rand(40, 9)
        dataset = bring(npy(tmp_path, values), tmp_path / "data", kind=DataKind.INTENSITY).dataset
        assert dataset.levels == 1
        assert "levels" not in dataset.source

    @pytest.mark.parametrize("shape", ["(True, 36)", f"({'1, ' * 70})"])
    def test_shapes_that_no_array_has(self, shape, tmp_path):
        text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(500) + "\n"
        content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(36)
        (tmp_path / "a.npy").write_bytes(content)
        refuse(tmp_path / "a.npy", tmp_path / "data", "an impossible shape", DataCorrupt)

    def test_written_to_at_the_same_size_while_it_was_read(self, tmp_path):
        path = npy(tmp_path, VALUES)

        class Writer(Recorder):
            def begin(self, task, total, unit):
                super().begin(task, total, unit)
                if task == "look":
                    os.utime(path, ns=(1, 1))

        with pytest.raises(DataCorrupt, match="changed the source while dreg read it"):
            bring(path, tmp_path / "data", Writer())


class TestPictures:
    def folder(self, tmp_path, content, name="x.png"):
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        for i in range(3):
            (folder / f"{i}.png").write_bytes(picture(VALUES[i].reshape(6, 6)))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return folder

    @pytest.mark.parametrize("name", [".git/x.png", "__MACOSX/x.png", "sub/.hidden/x.png", "._x.png"])
    def test_what_is_no_image_of_the_user(self, name, tmp_path):
        folder = self.folder(tmp_path, picture(VALUES), name)
        imported = bring(folder, tmp_path / "data")
        assert sum(len(rows) for rows in imported.dataset.splits.values()) == 3
        assert "1 other file left out" in imported.notes

    @pytest.mark.parametrize("size", ["999999x999999", "30000x30000"])
    def test_a_size_beyond_every_image(self, size, tmp_path):
        folder = self.folder(tmp_path, picture(VALUES[3].reshape(6, 6)))
        refuse(folder, tmp_path / "data", "is more than the 16,777,216 pixels", SpecError, resize=size)

    def test_colours_that_have_no_grey(self, tmp_path):
        folder = self.folder(tmp_path, picture(Image.new("LAB", (6, 6), 3), "TIFF"), "x.tif")
        refuse(folder, tmp_path / "data", "the image cannot be decoded: .*LAB", DataCorrupt)

    def test_16_bits_are_rounded(self, tmp_path):
        grey = np.array([[0, 128, 129, 385, 386, 65407], [65406, 65535, 257, 300, 400, 514]] * 3, np.uint16)
        dataset = bring(self.folder(tmp_path, picture(grey)), tmp_path / "data").dataset
        rows = np.concatenate([np.asarray(dataset.splits[split]) for split in Split])
        expected = np.rint(grey.reshape(-1) / 257).astype(np.uint8)
        assert any((row == expected).all() for row in rows)

    @pytest.mark.parametrize("orientation", [1, 3, 6, 8])
    def test_are_turned_upright(self, orientation, tmp_path):
        values = VALUES[5].reshape(6, 6)
        exif = Image.Exif()
        exif[0x0112] = orientation
        imported = bring(self.folder(tmp_path, picture(values, exif=exif)), tmp_path / "data")
        turned = {1: values, 3: values[::-1, ::-1], 6: np.rot90(values, -1), 8: np.rot90(values)}[orientation]
        rows = np.concatenate([np.asarray(imported.dataset.splits[split]) for split in Split])
        assert any((row == turned.reshape(-1)).all() for row in rows)
        assert any("upright" in note for note in imported.notes) == (orientation != 1)

    def test_mutated_tiffs_end_in_a_reason(self, tmp_path):
        draw = random.Random(5)
        good = [
            picture(Image.fromarray(VALUES[:6]), "TIFF", compression=compression)
            for compression in (None, "tiff_lzw", "tiff_adobe_deflate")
        ]
        source = Source(request_of(tmp_path, "mine", {}), Scratch(tmp_path, ExitStack()), Recorder(), io.BytesIO(), 0)
        for i in range(1000):
            bad = bytearray(good[i % 3])
            for _ in range(draw.choice((1, 2, 8))):
                # The directory is what Pillow reads on demand; the pixels can be anything.
                bad[draw.choice((draw.randrange(len(bad)), len(bad) - 1 - draw.randrange(200)))] = draw.randrange(256)
            # Any other error fails the test.
            with contextlib.suppress(DregError):
                Stage(source).decoded("x.tif", bytes(bad))


def test_a_key_that_names_two_splits(tmp_path):
    """`train_test` is of neither, so that nothing is taken for the one and not the other."""
    np.savez(tmp_path / "a.npz", train_test=VALUES)
    assert_holds(bring(tmp_path / "a.npz", tmp_path / "data").dataset, seeded(VALUES))
    np.savez(tmp_path / "b.npz", train_test=VALUES, other=VALUES)
    refuse(tmp_path / "b.npz", tmp_path / "data", "not clear which of its arrays", UsageError)
