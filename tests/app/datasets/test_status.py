"""The list of data sets, their verification and removal: a damaged data set does not hide the others."""

import dataclasses
import errno
import fcntl
import os
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from dregcli.app.datasets.import_ import ImportWords, import_dataset
from dregcli.app.datasets.remove import plan_removal, remove_data
from dregcli.app.datasets.show import show_data
from dregcli.app.datasets.status import DataStatus, list_data, verify_data
from dregcli.app.planning.load_data import data_of, load_asked
from dregcli.data import cache_writer
from dregcli.data.cache import read_cache
from dregcli.data.catalogue import DATASETS
from dregcli.data.folders import cache_path
from dregcli.errors import DataCorrupt, DatasetMissing, SpecError, StoreWriteError, UsageError
from dregcli.names import DataKind, Split
from dregcli.specs.options import RunOptions
from tests.support.data_import import contents
from tests.support.listener import Recorder

REAL = np.random.RandomState(3).randn(60, 4, 5)


def bring(folder, name="mine", values=REAL, **options):
    folder.mkdir(exist_ok=True)
    np.save(folder.parent / f"{name}.npy", values)
    words = ImportWords(source=folder.parent / f"{name}.npy", name=name, **options)
    return import_dataset(words, folder, Recorder())


@pytest.fixture
def folder(tmp_path):
    bring(tmp_path / "data")
    bring(tmp_path / "data", "other", (REAL > 0))
    return tmp_path / "data"


def row(folder, name):
    (found,) = [each for each in list_data(folder) if each.name == name]
    return found


class TestNames:
    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("digits", "'digits' is a data set of the catalogue"),
            ("MNIST", "'mnist' is a data set of the catalogue"),
            ("mine", "'mine' exists already: choose another name, or give --replace"),
            ("Mine", "'Mine' differs from the data set 'mine' only in case"),
        ],
    )
    def test_that_are_taken(self, folder, name, reason):
        before = contents(folder)
        with pytest.raises(SpecError, match=reason):
            bring(folder, name)
        assert contents(folder) == before
        if name != "mine":
            with pytest.raises(SpecError, match=reason):
                bring(folder, name, replace=True)
            assert contents(folder) == before

    def test_replaced_by_what_is_whole(self, folder):
        bring(folder, values=REAL + 1.0, replace=True)
        order = np.random.RandomState(0).permutation(60)
        wanted = (REAL + 1.0).reshape(60, -1)[order[54:]].astype(np.float32)
        np.testing.assert_array_equal(read_cache("mine", folder).splits[Split.TEST], wanted)

    def test_not_replaced_by_what_is_not(self, folder):
        before = contents(folder)
        with pytest.raises(Exception, match="not finite"):
            bring(folder, values=np.where(REAL > 1, np.nan, REAL), replace=True)
        assert contents(folder) == before


class TestTargets:
    @pytest.mark.parametrize("replace", [False, True])
    @pytest.mark.parametrize("content", ["foreign", "cut", "text", "folder", "pipe", "dangling"])
    def test_what_is_not_a_data_set_is_never_replaced(self, folder, content, replace):
        path = cache_path("theirs", folder)
        if content == "folder":
            path.mkdir()
        elif content == "pipe":
            os.mkfifo(path)
        elif content == "dangling":
            path.symlink_to("nowhere")
        elif content == "foreign":
            with h5py.File(path, "w") as file:
                file["train"] = REAL
        elif content == "text":
            path.write_text("heights of 5 people\n")
        else:
            path.write_bytes(cache_path("mine", folder).read_bytes()[:100])
        before = contents(folder)
        reason = "may not be a data set of dreg" if content in ("cut", "text") else "and does not replace it"
        with pytest.raises(UsageError, match=reason) as caught:
            bring(folder, "theirs", replace=replace)
        assert ("dreg data rm theirs --force" in str(caught.value.hint)) == (content in ("cut", "text"))
        assert contents(folder) == before
        assert path.exists() or path.is_symlink()
        # What may have been a data set of dreg is missed; nothing else is.
        assert ("theirs" in [each.name for each in list_data(folder)]) == (content == "cut")

    def test_the_source_is_never_its_own_target(self, folder):
        before = contents(folder)
        (folder.parent / "link.h5").symlink_to(cache_path("mine", folder))
        for source in (cache_path("mine", folder), folder.parent / "link.h5"):
            words = ImportWords(source=source, name="mine", keys=("train",), replace=True)
            with pytest.raises(UsageError, match="the source is the file that the import would write"):
                import_dataset(words, folder, Recorder())
        assert contents(folder) == before

    @pytest.mark.parametrize("replace", [False, True])
    @pytest.mark.parametrize("late", [False, True])
    def test_of_two_imports_at_once_the_second_does_not_win_unasked(self, folder, replace, late, monkeypatch):
        """The first is done when the second begins to write, or after the second has looked for the last time."""

        class Meanwhile(Recorder):
            def begin(self, task, total, unit):
                super().begin(task, total, unit)
                if task == "write" and not late:
                    bring(folder, "new", REAL + 1)

        def described(*given):
            nonlocal left
            if left:
                left = False
                bring(folder, "new", REAL + 1)
            describe(*given)

        def no_lock(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        left, describe = late, cache_writer._describe
        monkeypatch.setattr(cache_writer, "_describe", described)
        monkeypatch.setattr(fcntl, "flock", no_lock)
        np.save(folder.parent / "late.npy", REAL)
        words = ImportWords(source=folder.parent / "late.npy", name="new", replace=replace)
        if replace:
            import_dataset(words, folder, Meanwhile())
            assert "late.npy" in str(row(folder, "new").source)
            return
        with pytest.raises(UsageError, match="there is a data set 'new' in the data folder already"):
            import_dataset(words, folder, Meanwhile())
        assert "new.npy" in str(row(folder, "new").source)
        assert sorted(path.name for path in folder.glob("*.h5")) == ["mine.h5", "new.h5", "other.h5"]


class TestList:
    def test_everything_there_is(self, folder):
        rows = list_data(folder)
        assert [each.name for each in rows] == [*DATASETS, "mine", "other"]
        assert [each.imported for each in rows] == [False] * len(DATASETS) + [True, True]

    def test_embedded_missing_and_imported(self, folder):
        digits = row(folder, "digits")
        assert (digits.status, digits.kind, digits.height, digits.width) == ("embedded", DataKind.INTENSITY, 8, 8)
        assert digits.splits == {Split.TRAIN: 1297, Split.VALID: 250, Split.TEST: 250}
        assert (digits.path, digits.nbytes) == (None, None)
        mnist = row(folder, "mnist")
        assert (mnist.status, mnist.kind, mnist.height, mnist.checksum) == ("not downloaded", "intensity", 28, None)
        assert mnist.splits == {Split.TRAIN: 50_000, Split.VALID: 10_000, Split.TEST: 10_000}
        assert "dreg" in mnist.conventions
        mine = row(folder, "mine")
        assert (mine.status, mine.kind, mine.height, mine.width) == ("cached", DataKind.REAL, 4, 5)
        assert mine.splits == {Split.TRAIN: 48, Split.VALID: 6, Split.TEST: 6}
        assert mine.conventions == ("seed-0",)
        assert mine.nbytes == cache_path("mine", folder).stat().st_size
        assert mine.checksum == read_cache("mine", folder).checksum
        assert "mine.npy" in str(mine.source)

    def test_damage_is_reported_and_the_rest_is_listed(self, folder):
        _damage(folder, "mine")
        cache_path("mnist", folder).write_bytes(b"")
        for name in ("mine", "mnist"):
            assert row(folder, name).status is DataStatus.DAMAGED
            assert "damaged" in str(row(folder, name).problem)
        assert row(folder, "other").status is DataStatus.CACHED

    @pytest.mark.parametrize("left", [0, 3, 100, -1000])
    def test_a_truncated_one_does_not_vanish(self, folder, left):
        """dreg's mark lies at the end of the file, which is what a truncation takes."""
        path = cache_path("mine", folder)
        path.write_bytes(path.read_bytes()[:left])
        assert b"dreg-dataset" not in path.read_bytes()
        self._is_missed(folder, DataCorrupt, "the cached data set 'mine' is damaged")
        assert "dreg data rm mine --force" in str(row(folder, "mine").removal)

    def test_one_that_the_system_refuses_to_read_does_not_vanish(self, folder, monkeypatch):
        def denied(path, *_, **__):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

        monkeypatch.setattr(h5py, "File", denied)
        monkeypatch.setattr("pathlib.Path.open", denied)
        self._is_missed(folder, DatasetMissing, "the data set 'mine' cannot be read: Permission denied")
        # It may be whole, so nobody is told to remove it.
        assert row(folder, "mine").removal is None

    def _is_missed(self, folder, kind, problem):
        """Every command knows the name, and says what is wrong with the file."""
        assert row(folder, "mine").status is DataStatus.DAMAGED
        (verified,) = verify_data(["mine"], folder, Recorder())
        assert [each.name for each in verify_data([], folder, Recorder()) if each.problem][:1] == ["mine"]
        assert (str(verified.problem)[: len(problem)], verified.removal) == (problem, row(folder, "mine").removal)
        options, spec = RunOptions(dataset="mine"), SimpleNamespace(dataset="mine", split_convention="seed-0")
        _, error, faults = load_asked(options, folder)
        assert (type(error), faults) == (kind, [])
        with pytest.raises(kind, match=problem):
            data_of(spec, folder)

    def test_a_folder_where_a_file_should_be(self, folder):
        cache_path("mnist", folder).mkdir()
        assert row(folder, "mnist").status is DataStatus.DAMAGED
        assert "Is a directory" in str(row(folder, "mnist").problem)

    def test_a_pipe_is_not_waited_for(self, folder):
        for name in ("mnist", "mine2"):
            os.mkfifo(cache_path(name, folder))
        assert row(folder, "mnist").problem == "the data set 'mnist' cannot be read: it is not a file"
        assert "mine2" not in [each.name for each in list_data(folder)]

    def test_values_are_not_read(self, folder):
        """An altered value is `verify`'s to find: `list` stays fast."""
        _alter(folder, "mine")
        assert row(folder, "mine").status is DataStatus.CACHED

    def test_no_folder_at_all(self, tmp_path):
        assert len(list_data(tmp_path / "nowhere")) == len(DATASETS)
        assert not (tmp_path / "nowhere").exists()


def _damage(folder, name):
    """Damage a file so that it cannot be opened, but still has the mark of dreg."""
    path = cache_path(name, folder)
    path.write_bytes(b"x" + path.read_bytes()[1:])


def _alter(folder, name):
    with h5py.File(cache_path(name, folder), "a") as file:
        file["train"][0, 0] += 1


class TestVerify:
    def test_reads_every_value(self, folder):
        _alter(folder, "mine")
        watch = Recorder()
        found = {each.name: each.problem for each in verify_data([], folder, watch)}
        assert found.keys() == {"digits", "linear-gaussian", "mine", "other"}
        assert "checksum" in str(found.pop("mine"))
        assert set(found.values()) == {None}
        assert watch.open_tasks == 0

    def test_what_comes_with_other_packages(self, folder, monkeypatch):
        digits, other = DATASETS["digits"], DATASETS["linear-gaussian"].load()
        monkeypatch.setitem(DATASETS, "digits", dataclasses.replace(digits, load=lambda: other))
        (found,) = verify_data(["digits"], folder, Recorder())
        assert "the data set 'digits' has the checksum a15d74312608cd63, not 4ab55d37ecc83f97" in str(found.problem)
        assert (found.checksum, found.removal) == (None, None)

    def test_some(self, folder):
        (found,) = verify_data(["other", "other"], folder, Recorder())
        assert found.checksum == read_cache("other", folder).checksum

    def test_what_is_not_there(self, folder):
        with pytest.raises(DatasetMissing, match="'mnist' is not on this machine"):
            verify_data(["mine", "mnist"], folder, Recorder())
        with pytest.raises(UsageError, match="Did you mean 'mine'"):
            verify_data(["mien"], folder, Recorder())


class TestRemove:
    def test_only_what_is_named(self, folder):
        (removal,) = plan_removal(["mine", "mine"], folder)
        assert (removal.imported, removal.nbytes) == (True, cache_path("mine", folder).stat().st_size)
        assert cache_path("mine", folder).exists()
        remove_data([removal])
        assert sorted(path.name for path in folder.rglob("*.*")) == ["other-train.png", "other.h5"]

    def test_one_that_the_system_does_not_let_go(self, folder, monkeypatch):
        def denied(path):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("dregcli.app.datasets.remove.LOCAL.remove", denied)
        with pytest.raises(StoreWriteError, match="No permission") as caught:
            remove_data(plan_removal(["mine"], folder))
        # Another data folder would not remove this file.
        assert caught.value.hint == "get permission to change the folder of this file, and run the command again"
        assert cache_path("mine", folder).exists()

    def test_a_damaged_one(self, folder, monkeypatch):
        monkeypatch.delenv("DREG_DATA_DIR")
        with h5py.File(cache_path("mine", folder), "a") as file:
            del file["train"]
        assert row(folder, "mine").removal == f"dreg data rm mine --data-dir {folder}"
        remove_data(plan_removal(["mine"], folder))
        assert not cache_path("mine", folder).exists()

    def test_one_that_cannot_be_read_only_by_force(self, folder, monkeypatch):
        monkeypatch.delenv("DREG_DATA_DIR")
        _damage(folder, "mine")
        cache_path("other", folder).write_bytes(cache_path("other", folder).read_bytes()[:100])
        cache_path("mnist", folder).write_bytes(b"<html>")
        for name in ("mine", "other"):
            with pytest.raises(UsageError, match="it may not be a data set of dreg") as caught:
                plan_removal([name], folder)
            assert caught.value.hint == f"dreg data rm {name} --force --data-dir {folder}"
            assert row(folder, name).removal == caught.value.hint
        # What has a name of the catalogue can be downloaded again.
        assert row(folder, "mnist").removal == f"dreg data rm mnist --data-dir {folder}"
        removals = plan_removal(["mnist", "mine", "other"], folder, force=True)
        assert [removal.unreadable for removal in removals] == [False, True, True]
        remove_data(removals)
        assert list(folder.rglob("*.*")) == []

    @pytest.mark.parametrize("name", ["theirs", "mnist"])
    @pytest.mark.parametrize("force", [False, True])
    def test_never_what_dreg_did_not_make(self, folder, name, force):
        with h5py.File(cache_path(name, folder), "w") as file:
            file["train"] = REAL
        before = contents(folder)
        with pytest.raises(UsageError, match=f"'{name}.h5' is not a file of dreg: nothing was removed"):
            plan_removal(["mine", name], folder, force=force)
        assert contents(folder) == before
        if name == "mnist":
            assert row(folder, name).status is DataStatus.DAMAGED
            assert row(folder, name).removal is None
            (verified,) = verify_data([name], folder, Recorder())
            assert (verified.problem is None, verified.removal) == (False, None)
        else:
            assert name not in [each.name for each in list_data(folder)]
            assert name not in [each.name for each in verify_data([], folder, Recorder())]

    def test_its_figures_go_with_it_and_no_others(self, folder):
        bring(folder, "mine-given")
        wanted = ["mine-train.png", "mine-seed-0-test.png", "mine-seed-12-valid.png", "mine-given-test.png"]
        kept = ["mine-given-train.png", "other-train.png", "mine-notes.png", "mine-train.png.bak", "mnist-test.png"]
        for each in [*wanted, *kept]:
            (folder / "figures" / each).write_bytes(b"png")
        # It could be of either; it stays.
        wanted.remove("mine-given-test.png")
        kept.append("mine-given-test.png")
        (removal,) = plan_removal(["mine"], folder)
        remove_data([removal])
        assert sorted(path.name for path in removal.figures) == sorted(wanted)
        assert sorted(path.name for path in (folder / "figures").iterdir()) == sorted(kept)

    @pytest.mark.parametrize(
        ("name", "kind", "reason"),
        [
            ("digits", UsageError, "is part of the program"),
            ("mnist", DatasetMissing, "not on this machine"),
            ("others", UsageError, "Did you mean 'other'"),
            ("../mine", UsageError, "no data set is called"),
        ],
    )
    def test_all_or_nothing(self, folder, name, kind, reason):
        before = contents(folder)
        with pytest.raises(kind, match=reason):
            plan_removal(["mine", name], folder)
        assert contents(folder) == before


class TestShow:
    def test_by_default_beside_the_data(self, folder):
        for _ in range(2):
            shown = show_data("mine", folder, split=Split.VALID, convention=None, out=None, listener=Recorder())
            assert shown.path == folder / "figures" / "mine-valid.png"
            assert shown.path.read_bytes().startswith(b"\x89PNG")

    def test_never_over_another_file(self, folder, tmp_path):
        (tmp_path / "there.png").write_bytes(b"precious")
        (tmp_path / "link.png").symlink_to("nowhere")
        for name in ("there.png", "link.png"):
            with pytest.raises(UsageError, match="the file exists already"):
                show_data(
                    "mine", folder, split=Split.TRAIN, convention=None, out=tmp_path / name, listener=Recorder()
                )
        assert (tmp_path / "there.png").read_bytes() == b"precious"
        with pytest.raises(UsageError, match="the folder does not exist"):
            show_data(
                "mine", folder, split=Split.TRAIN, convention=None, out=tmp_path / "no/x.png", listener=Recorder()
            )

    def test_the_numbers_in_the_figure_are_those_of_the_data(self, folder, monkeypatch):
        seen = []
        monkeypatch.setattr("dregcli.app.datasets.show.data_figure", lambda picture: seen.append(picture) or b"png")
        for name in ("mine", "other", "digits"):
            show_data(name, folder, split=Split.TRAIN, convention=None, out=None, listener=Recorder())
        for picture, dataset, unit in zip(
            seen,
            (read_cache("mine", folder), read_cache("other", folder), DATASETS["digits"].load()),
            (1, 1, 16),
            strict=True,
        ):
            values = np.asarray(dataset.splits[Split.TRAIN], np.float64) / unit
            np.testing.assert_allclose(picture.mean.ravel(), values.mean(axis=0), rtol=1e-6)
            np.testing.assert_array_equal(picture.images.reshape(len(picture.images), -1), values[:64])
            np.testing.assert_array_equal(picture.histogram, np.histogram(values, bins=picture.edges)[0])
            assert picture.histogram.sum() == values.size
            assert (picture.low, picture.high) == pytest.approx((values.min(), values.max()))
