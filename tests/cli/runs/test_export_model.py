"""``dreg runs export RUN --model FOLDER``: a model that anybody with torch can load."""

import importlib
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import dregcli
from dregcli.app.runs import model_export
from dregcli.app.runs.model_card import bound_of
from dregcli.engine.models.vae import Vae
from tests.support.bibtex_parser import parse
from tests.support.cli import SMALL, run

KINDS = {
    "vae": SMALL,
    "structured": (*SMALL, "--task", "structured"),
    "levels": (*SMALL, "--binarisation", "none", "--likelihood", "discretised-logistic"),
    "gaussian": (*SMALL, "--binarisation", "none", "--likelihood", "gaussian"),
    "linear": (
        *(*SMALL[:6], *SMALL[8:]),
        *("--binarisation", "none", "--likelihood", "gaussian", "--model", "linear-gaussian"),
    ),
}


def _check(name: str, told: dict[str, torch.Tensor]) -> None:
    """What the files of an export compute is what the model computes."""
    found = runpy.run_path(f"{name}/load.py")
    programs = [torch.export.load(path).module() for path in sorted(Path(name).glob("*.pt2"))]
    encode, decode = (found[each] for each in ("encode", "decode"))
    decoder, encoder = programs or (decode, encode)
    given = (told["z"], told["x"]) if name == "structured" else (told["z"],)
    for each in (encode, encoder):
        for a, b in zip(each(told["x"]), (told["mean"], told["scale"]), strict=True):
            torch.testing.assert_close(a, b)
    for each in (decode, decoder):
        torch.testing.assert_close(each(*given), told["images"])


def _hide_dregcli(patch: pytest.MonkeyPatch) -> None:
    """Make every import of the package fail."""
    for module in list(sys.modules):
        if module.partition(".")[0] == "dregcli":
            patch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError):
        importlib.import_module("dregcli.errors")


def _exported(capsys, name: str, *options: object) -> dict:
    outcome = run(capsys, "runs", "export", name, "--model", name, "--json", *options)
    assert outcome.code == 0, outcome.err
    return outcome.json


def test_every_built_in_model_is_loaded_by_torch_alone(capsys, ready, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    export = model_export.exported_programs
    for name, words in KINDS.items():
        ready(*words, name=name)
        # Exporting programs takes a second or more: two are enough, of a model with and one without a context.
        programs = name in ("vae", "structured")
        monkeypatch.setattr(model_export, "exported_programs", export if programs else lambda _model: {})
        found = _exported(capsys, name)
        assert found["not_exported"] is None
        names = {Path(each["file"]).name for each in found["files"]}
        assert names - {"encoder.pt2", "decoder.pt2"} == {
            *("README.md", "config.json", "data.safetensors", "load.py", "model.safetensors"),
        }
        assert ("decoder.pt2" in names) is programs
        assert len(Path(name, "load.py").read_text().splitlines()) <= 15
        model = dregcli.load_run(name).model
        x = (torch.rand(5, 1, 8, 8) > 0.5).float()
        q, z = model.encode(x), torch.randn(5, model.latent_dim)
        images = model.decode(z, x).flatten(1)
        told = {"x": x.flatten(1), "z": z, "mean": q.mean, "scale": q.scale, "images": images}
        weights = load_file(f"{name}/model.safetensors")
        assert all(torch.equal(weights[key], value) for key, value in model.network.state_dict().items())
        with monkeypatch.context() as patch:
            _hide_dregcli(patch)
            _check(name, told)


def test_the_card_and_the_description(capsys, ready, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_export, "exported_programs", lambda _model: {})
    kept = ready(*SMALL, name="t")
    summary = kept.info().summary["bounds"]["test"]
    _exported(capsys, "t")
    card = Path("t/README.md").read_text()
    assert f"K = 4: **{summary['value']:.2f} ± {summary['stderr']:.2f} nats per example**" in card
    assert "k-hat of the weights is not known" in card
    assert Path("t/load.py").read_text() in card
    bibtex = card.partition("```bibtex\n")[2].partition("```")[0]
    assert {"dreg", "tucker2019dreg", "burda2016iwae", "kingma2014vae"} <= parse(bibtex).keys()
    config = json.loads(Path("t/config.json").read_text())
    assert config["data"] == {"shape": [1, 8, 8], "kind": "binary", "levels": 1}
    assert (config["model"], config["hidden"], config["latent_dim"]) == ("vae", [16, 8], 4)
    assert (config["run"], config["step"]) == ("t/v001", 20)
    assert set(load_file("t/data.safetensors")) == {"mean", "spread"}
    assert run(capsys, "eval", "t", "--k", 40, "--n", 30).code == 0
    bound = bound_of(kept, 20)
    assert bound is not None
    assert (bound.k, bound.n) == (40, 30)
    assert bound_of(kept, 10) is None
    outcome = run(capsys, "runs", "export", "t", "--model", "again", "--checkpoint", "best")
    assert outcome.code == 0, outcome.err
    assert "loads it with torch and safetensors alone" in outcome.out
    card = Path("again/README.md").read_text()
    assert bound.in_words() in card
    assert f"k-hat of the weights: median {bound.khat['median']:.2f}" in card


def test_the_bound_in_the_card_is_that_of_the_exported_weights(capsys, ready, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_export, "exported_programs", lambda _model: {})
    # The rate is so large that a later checkpoint than the best one is there.
    kept = ready(*SMALL, "--lr", 0.5, "--eval-every", 4, "--patience", 1, "--ema", 0.5, name="t")
    summary = kept.info().summary
    last, best = summary["step"], summary["final_step"]
    assert best < last
    for name, step in (("a", "last"), ("b", last)):
        outcome = run(capsys, "runs", "export", "t", "--model", name, "--checkpoint", step)
        assert outcome.code == 0, outcome.err
    bound = f"**{summary['bound']['test']:.2f} "
    of_best, of_last = (Path(f"{name}/README.md").read_text() for name in ("a", "b"))
    assert f"weights of step {best} of t/v001, as the moving average of the weights (--ema 0.5)." in of_best
    assert bound in of_best
    assert bound not in of_last
    assert "These weights were not evaluated" in of_last


def test_what_torch_cannot_export_is_said(capsys, ready, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)

    def refused(*_arguments) -> None:
        message = "this loop depends on data\nsecond line"
        raise RuntimeError(message)

    monkeypatch.setattr(Vae, "mean_pixels", refused)
    ready(*SMALL, name="t")
    found = _exported(capsys, "t")
    assert "this loop depends on data" in found["not_exported"]
    assert "second line" not in Path("t/README.md").read_text()
    assert "this loop depends on data" in Path("t/README.md").read_text()
    monkeypatch.setattr(model_export, "loader_code", lambda *_: None)
    outcome = run(capsys, "runs", "export", "t", "--model", "other")
    assert outcome.code == 2
    assert "torch cannot export it" in outcome.err
    assert not Path("other").exists()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("t", "--model", "full"), "new or empty folder"),
        (("t", "--model", "file"), "not a folder"),
        (("t", "file.zip", "--model", "m"), "give one RUN"),
        (("t", "--model", "m", "--force"), "give one RUN"),
        (("t", "--model", "m", "--checkpoint", "newest"), "must be last, best or a step"),
        (("t", "t.zip", "--checkpoint", "best"), "--checkpoint only applies to --model"),
    ],
)
def test_wrong_words_write_nothing(capsys, ready, tmp_path: Path, monkeypatch, words, what: str) -> None:
    monkeypatch.chdir(tmp_path)
    ready(*SMALL, name="t")
    Path("full").mkdir()
    Path("full/mine").touch()
    Path("file").touch()
    outcome = run(capsys, "runs", "export", *words)
    assert outcome.code == 2
    assert what in outcome.err
    assert not Path("m").exists()
