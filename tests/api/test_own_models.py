"""A run of a user's own model from Python: loaded, trusted and given away."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import dregcli
from dregcli.app.planning.load_data import data_of
from dregcli.engine.evaluation import SeenBatch
from dregcli.engine.randomness import Randomness
from dregcli.engine.sampling import seen_pixels
from dregcli.names import Split
from tests.support.cli import SMALL, run
from tests.support.own_models import write_model

OWN = (*SMALL[:6], *SMALL[10:], "--model", "tiny.py:TinyVae", "--model-option", "latent_dim=3", "--name", "t")


@pytest.fixture(autouse=True)
def _trained(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path)
    trained = run(capsys, "train", *OWN)
    assert trained.code == 0, trained.err


def test_a_run_of_ones_own_model_is_loaded(capsys) -> None:
    loaded = dregcli.load_run("t")
    model = loaded.model
    assert model.latents == {"z": (3,)}
    x = (torch.rand(20, 64) > 0.5).float()
    batch = SeenBatch(model.network, 0, x, Split.TEST, Randomness(0))
    assert torch.equal(model.log_weights(x, k=40), batch.log_weights(k=40, k_chunk=16))
    assert run(capsys, "eval", "t", "--k", 40, "--n", 20, "--keep-weights").code == 0
    data = data_of(loaded.spec, Path())
    x = torch.cat(list(seen_pixels(data.examples(Split.TEST), data.pixels, split=Split.TEST, seed=0)))[:20]
    (evaluation,) = loaded.evaluations()
    np.testing.assert_array_equal(model.log_likelihood(x, k=40).bound.numpy(), evaluation.arrays()["bound"])
    np.testing.assert_array_equal(model.log_weights(x, k=40).numpy(), evaluation.log_weights())
    q = model.encode(x)
    assert model.decode(q.sample(5)).shape == (5, 20, 1, 8, 8)
    assert dregcli.open_store().frame()["spec.model"] == ["tiny.py:TinyVae"]
    assert "TinyVae" in loaded._repr_html_()


def test_code_that_came_with_a_run_needs_trust() -> None:
    x = torch.zeros(1, 64)
    expected = dregcli.load_run("t").model.encode(x).mean
    Path("tiny.py").rename("moved.py")
    with pytest.raises(dregcli.DregError, match=r"tiny\.py"):
        _ = dregcli.load_run("t").model
    assert dregcli.load_run("t").spec.model_options["latent_dim"] == 3, "all else needs no code"
    assert torch.equal(dregcli.load_run("t", trust_code=True).model.encode(x).mean, expected)
    with pytest.warns(UserWarning, match="is not the code that t/v001 was trained with"):
        other = dregcli.open_store().load("t", model="moved.py:TinyVae").model
    assert torch.equal(other.encode(x).mean, expected)


def test_the_decoder_is_given_away_for_torch_alone(capsys) -> None:
    exported = run(capsys, "runs", "export", "t", "--model", "given", "--json")
    assert exported.code == 0, exported.err
    assert exported.json["not_exported"] is None
    z = torch.randn(5, 3)
    decode = runpy.run_path("given/load.py")["decode"]
    torch.testing.assert_close(decode(z), dregcli.load_run("t").model.decode(z).flatten(1))
    card = Path("given/README.md").read_text()
    assert "TinyVae" in card
    Path("tiny.py").unlink()
    assert run(capsys, "runs", "export", "t", "--model", "again").code not in (0, 3)
    assert run(capsys, "runs", "export", "t", "--model", "again", "--trust-code").code == 0


def test_a_run_continues_from_python_with_trusted_and_with_other_code(capsys) -> None:
    steps = dregcli.load_run("t").spec.steps
    Path("tiny.py").rename("moved.py")
    with pytest.raises(dregcli.DregError, match="is not where it was"):
        dregcli.train({"steps": steps + 1}, resume="t/v001")
    assert list(dregcli.train({"steps": steps + 1}, resume="t/v001", trust_code=True))
    with pytest.warns(UserWarning, match="is not the code that t/v001 was trained with"):
        dregcli.train({"steps": steps + 2, "model": "moved.py:TinyVae"}, resume="t/v001")
    with pytest.raises(dregcli.DregError, match="it needs resume"):
        dregcli.train({"dataset": "digits"}, trust_code=True)
