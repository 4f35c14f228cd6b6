"""Which code may build the model of a run: the code where the user has it, if it is still the code of the run."""

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from dregcli.app.models import words
from dregcli.app.models.captured import captured
from dregcli.app.models.code import Code
from dregcli.app.models.find import asked_code, find_code, with_code
from dregcli.app.models.request import AS_TRAINED, CodeRequest
from dregcli.app.models.trust import code_of_run
from dregcli.errors import CodeRefused, SpecError, StoreCorrupt
from dregcli.names import RunStatus
from dregcli.specs.options import RunOptions
from dregcli.specs.run import RunSpec, as_json
from dregcli.store.archive import import_run
from dregcli.store.archive_writer import export_run
from dregcli.store.code import CapturedCode
from dregcli.store.runs import Run, RunStore
from tests.support.listener import Recorder
from tests.support.own_models import MODEL, write_model

TRUST = CodeRequest(trust=True)
SPEC: dict[str, Any] = {"dataset": "digits", "data_checksum": "4ab5", "split_convention": "dreg", "steps": 3}
BOOM = MODEL + '\nraise RuntimeError("this code was run")\n'


def _spec(code: Code, **options: Any) -> RunSpec:
    fields = {"model": code.word, "model_digest": code.digest, "model_options": options}
    return RunSpec.model_validate(SPEC | fields)


def _run(root: Path, word: str, spec: RunSpec | None = None, kept: CapturedCode | None = None) -> tuple[Run, RunSpec]:
    """A run whose code was captured, without importing it."""
    code = find_code(word)
    spec = spec or _spec(code, latent_dim=2, scale=1.0)
    writer = RunStore(root).claim("own", spec=as_json(spec), environment={}, code=kept or captured(code))
    writer.finish(RunStatus.INTERRUPTED, {})
    return writer.run, spec


def _imported(run: Run, root: Path) -> Run:
    export_run(run.fs, run, root / "run.zip")
    return import_run(RunStore(root / "imported"), root / "run.zip").run


def test_the_code_is_run_where_it_was_if_it_has_not_changed(tmp_path) -> None:
    path = write_model(tmp_path / "code", BOOM)
    run, spec = _run(tmp_path / "runs", f"{path}:TinyVae")
    found, code = code_of_run(run, spec, AS_TRAINED)
    assert code == find_code(f"{path}:TinyVae")
    assert found is spec


def test_code_that_changed_is_refused_with_a_difference_and_both_ways_out(tmp_path) -> None:
    path = write_model(tmp_path / "code", "import helpers\n" + BOOM)
    write_model(tmp_path / "code", "width = 3\n", "helpers.py")
    run, spec = _run(tmp_path / "runs", f"{path}:TinyVae")
    write_model(tmp_path / "code", "width = 4\n", "helpers.py")
    with pytest.raises(CodeRefused) as caught:
        code_of_run(run, spec, AS_TRAINED)
    error = caught.value
    assert error.exit_code == 23
    assert error.what == (
        "The code of own/v001 has changed since the run was trained.\n"
        "--- helpers.py in the run\n+++ helpers.py now\n@@ -1 +1 @@\n-width = 3\n+width = 4"
    )
    assert error.where == f"{path}:TinyVae"
    assert error.hint == (
        f"use the code as it is now: --model {path}:TinyVae; or use the copy that the run keeps: --trust-code"
    )
    write_model(tmp_path / "code", "\n".join(f"a{i} = {i}" for i in range(50)), "helpers.py")
    with pytest.raises(CodeRefused, match=r"\.\.\. and [0-9]+ more lines"):
        code_of_run(run, spec, AS_TRAINED)
    path.unlink()
    with pytest.raises(CodeRefused, match="is not where it was: there is no file") as caught:
        code_of_run(run, spec, AS_TRAINED)
    assert "name it where it is now: --model FOLDER/tiny.py:TinyVae" in str(caught.value.hint)


def test_the_copy_is_run_only_when_it_is_trusted(tmp_path) -> None:
    path = write_model(tmp_path / "code")
    run, spec = _run(tmp_path / "runs", f"{path}:TinyVae")
    write_model(tmp_path / "code", BOOM)
    found, code = code_of_run(run, spec, TRUST)
    assert code is not None
    assert found is spec
    assert (code.digest, code.folder, code.place) == (spec.model_digest, run.path / "model", None)
    assert with_code(spec, code) is spec


def test_code_that_the_user_names_is_used_and_the_listener_hears_that_it_is_other_code(tmp_path) -> None:
    path = write_model(tmp_path / "code")
    run, spec = _run(tmp_path / "runs", f"{path}:TinyVae")
    same = write_model(tmp_path / "moved")
    notes = Recorder()
    found, code = code_of_run(run, spec, CodeRequest(f"{same}:TinyVae"), notes)
    assert (found, code and code.place, notes.warnings) == (spec, f"{same}:TinyVae", [])
    deeper = MODEL.replace("scale: float = 1.0", "scale: float = 1.0, depth: int = 4").replace("TinyVae", "Other")
    other = write_model(tmp_path / "other", deeper, "other.py")
    found, code = code_of_run(run, spec, CodeRequest(f"{other}:Other"), notes)
    assert code is not None
    assert (found.model, found.model_digest) == ("other.py:Other", code.digest)
    assert found.model_options == {"latent_dim": 2, "scale": 1.0, "depth": 4}
    assert notes.warnings == [f"{other}:Other is not the code that own/v001 was trained with."]
    write_model(tmp_path / "other", MODEL.replace("scale: float", "size: float").replace("scale", "size"), "other.py")
    with pytest.raises(SpecError, match="TinyVae has no option 'scale'"):
        code_of_run(run, spec, CodeRequest(f"{other}:TinyVae"), notes)


def test_an_imported_run_runs_no_code_until_it_is_trusted(tmp_path) -> None:
    """Also if the code lies where it was when the run was exported, since an archive can say anything."""
    path = write_model(tmp_path / "code")
    run, spec = _run(tmp_path / "runs", f"{path}:TinyVae")
    imported = _imported(run, tmp_path)
    with pytest.raises(CodeRefused) as caught:
        code_of_run(imported, spec, AS_TRAINED)
    assert str(caught.value).splitlines() == [
        "The code of own/v001 came with the run, and code that came from elsewhere is not run by itself.",
        f"where: {imported.path / 'model/tiny.py'}",
        "next: read it, and run it with --trust-code; or name your own copy: --model FOLDER/tiny.py:TinyVae",
    ]
    _, code = code_of_run(imported, spec, TRUST)
    assert code is not None
    assert code.files == {"tiny.py": MODEL.encode()}
    _, code = code_of_run(imported, spec, CodeRequest(f"{path}:TinyVae"))
    assert code is not None
    assert code.folder == path.parent


def test_a_place_inside_a_run_is_not_trusted(tmp_path) -> None:
    """A store that somebody sent says that its code lies in one of its own runs."""
    path = write_model(tmp_path / "code")
    other, _ = _run(tmp_path / "runs", f"{path}:TinyVae")
    inside = f"{other.path / 'model/tiny.py'}:TinyVae"
    kept = captured(find_code(inside))
    run, spec = _run(tmp_path / "runs", inside, kept=kept)
    with pytest.raises(CodeRefused, match="came with the run"):
        code_of_run(run, spec, AS_TRAINED)


def test_a_relative_place_is_not_trusted(tmp_path, monkeypatch) -> None:
    """A store that somebody sent in a folder leads to a file that lies beside it in the folder."""
    kept = captured(find_code(f"{write_model(tmp_path, BOOM)}:TinyVae"))
    assert kept is not None
    relative = CapturedCode(kept.about, kept.files, "tiny.py:TinyVae")
    run, spec = _run(tmp_path / "runs", f"{tmp_path / 'tiny.py'}:TinyVae", kept=relative)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CodeRefused, match="came with the run"):
        code_of_run(run, spec, AS_TRAINED)


def test_a_run_without_its_code_and_one_with_other_code_than_its_spec_names(tmp_path) -> None:
    path = write_model(tmp_path / "code")
    code = find_code(f"{path}:TinyVae")
    writer = RunStore(tmp_path / "runs").claim("bare", spec=as_json(_spec(code)), environment={})
    with pytest.raises(CodeRefused, match=r"keeps no code of its model tiny\.py:TinyVae"):
        code_of_run(writer.run, _spec(code), TRUST)
    kept = captured(code)
    assert kept is not None
    for about, files in (
        (kept.about, {"tiny.py": b"evil\n"}),
        ({**kept.about, "module": "other"}, kept.files),
        ({"word": "tiny.py:TinyVae", "kind": "file", "sha256": code.digest}, kept.files),
        ({**kept.about, "kind": "module", "digests": {}}, {}),
        ({**kept.about, "distribution": None}, kept.files),
    ):
        run, spec = _run(tmp_path / "runs", f"{path}:TinyVae", kept=CapturedCode(about, files, kept.place))
        for asked in (AS_TRAINED, TRUST):
            with pytest.raises(StoreCorrupt, match="is not the code that its spec names"):
                code_of_run(run, spec, asked)


def test_a_package_is_used_as_it_is_installed_if_its_files_are_the_same(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write_model(tmp_path, "", "trustpack/__init__.py")
    write_model(tmp_path, "from trustpack import more\n" + MODEL, "trustpack/vae.py")
    write_model(tmp_path, "x = 1\n", "trustpack/more.py")
    run, spec = _run(tmp_path / "runs", "trustpack.vae:TinyVae")
    kept = run.code()
    assert kept is not None
    assert kept.files == {}
    assert set(kept.about["digests"]) == {"trustpack/__init__.py", "trustpack/vae.py", "trustpack/more.py"}
    assert code_of_run(run, spec, AS_TRAINED)[1] == find_code("trustpack.vae:TinyVae")
    imported = _imported(run, tmp_path)
    with pytest.raises(CodeRefused, match=r"is trustpack.vae:TinyVae of an installed package, but the run came from"):
        code_of_run(imported, spec, AS_TRAINED)
    assert code_of_run(imported, spec, TRUST)[1] is not None
    write_model(tmp_path, "x = 2\n", "trustpack/more.py")
    for asked in (AS_TRAINED, TRUST):
        with pytest.raises(CodeRefused, match=r"changed files: trustpack/more\.py"):
            code_of_run(run, spec, asked)
    assert "trustpack" not in sys.modules


def test_a_run_of_an_entry_point_keeps_the_entry_points_word(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write_model(tmp_path, MODEL, "trustpoint.py")
    point = EntryPoint("flow", "trustpoint:TinyVae", words.GROUP)
    monkeypatch.setattr(words, "_entry_points", lambda: [point])
    run, spec = _run(tmp_path / "runs", "flow")
    code = code_of_run(run, spec, AS_TRAINED)[1]
    kept = captured(code)
    assert kept is not None
    manifest = (run.path / "model/manifest.json").read_bytes()
    assert kept.manifest() == manifest, "else each resume would put equal code aside"


def test_code_in_a_run_is_not_run_because_a_file_of_options_names_it(tmp_path, monkeypatch) -> None:
    run, spec = _run(tmp_path / "runs", f"{write_model(tmp_path / 'code', BOOM)}:TinyVae")
    imported = _imported(run, tmp_path)
    # A hostile archive can name its own file in its spec; `--config` reads this spec.
    inside = RunOptions(
        dataset="digits", model=f"{imported.path / 'model/tiny.py'}:TinyVae", model_digest=spec.model_digest
    )
    code, (fault,) = asked_code(inside)
    assert code is None
    assert "lies in a run, and code that may have come with a run is not run by itself" in fault.message
    monkeypatch.chdir(imported.path / "model")
    code, faults = asked_code(RunOptions(dataset="digits", model="tiny.py:TinyVae"))
    assert (code, len(faults)) == (None, 1)


def test_code_with_another_digest_than_a_spec_has_is_not_run(tmp_path) -> None:
    path = write_model(tmp_path, BOOM)
    options = RunOptions(dataset="digits", model=f"{path}:TinyVae", model_digest="0" * 64)
    code, (fault,) = asked_code(options)
    assert (code, fault.field) == (None, "model-digest")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (CodeRequest("a.py:A", trust=True), "give --model or --trust-code, not both."),
        (CodeRequest("vae"), "the run was made with tiny.py:TinyVae, got 'vae'."),
    ],
)
def test_options_that_contradict_the_run(tmp_path, asked: CodeRequest, message: str) -> None:
    run, spec = _run(tmp_path / "runs", f"{write_model(tmp_path)}:TinyVae")
    with pytest.raises(SpecError, match=re.escape(message)):
        code_of_run(run, spec, asked)


def test_a_built_in_model_needs_no_code(tmp_path) -> None:
    spec = RunSpec.model_validate(SPEC)
    run = RunStore(tmp_path).claim("vae", spec=as_json(spec), environment={}).run
    for asked in (AS_TRAINED, TRUST, CodeRequest("vae")):
        assert code_of_run(run, spec, asked) == (spec, None)
    with pytest.raises(SpecError, match=r"the run has the built-in model vae, got 'a\.py:A'"):
        code_of_run(run, spec, CodeRequest("a.py:A"))
