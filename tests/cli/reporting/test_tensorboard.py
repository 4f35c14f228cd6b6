"""``dreg runs export --tensorboard``: TensorBoard itself reads back what was measured."""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dregcli.names import RunStatus
from dregcli.report.event_file import tag_of
from dregcli.store.run import Run
from tests.support.cli import Outcome, run
from tests.support.store_faults import flip
from tests.support.store_study import add_run

pytest.importorskip("tensorboard", reason="TensorBoard is optional: pip install -e '.[tensorboard]'")


def read(folder: Path) -> Any:
    """What TensorBoard's own reader makes of a folder, with every event that there is."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    found.Reload()
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = read(folder)
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def measured(of: Run) -> dict[str, list[tuple[int, float]]]:
    """What the store holds, as TensorBoard keeps it: float32."""
    return {
        tag_of(name, split): list(zip(columns["step"].tolist(), np.float32(column).tolist(), strict=True))
        for split, columns in of.all_metrics().items()
        for name, column in columns.items()
        if name != "step"
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def export(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    def call(*words: object) -> Outcome:
        return run(capsys, "runs", "export", *words, "--tensorboard", tmp_path / "logs")

    return call


TRACKED = {
    "stl.posterior_variance": np.geomspace(3.0, 1e-12, 20).tolist(),
    "stl.posterior_snr_window": np.linspace(0.1, 0.2, 20).tolist(),
}


def test_tensorboard_reads_back_the_steps_and_values(export, root: Path, tmp_path: Path) -> None:
    done = [add_run(root, name="x", seed=seed, extra=TRACKED, track_estimators=["stl"]) for seed in (0, 1)]
    outcome = export("x", "--json")
    assert outcome.code == 0, outcome.err
    assert [each["run"] for each in outcome.json["runs"]] == [str(each.path) for each in done]
    for each in done:
        folder = tmp_path / "logs" / "x" / each.path.name
        (file,) = folder.iterdir()
        assert "tfevents" in file.name
        final = {f"log_p_hat/{split}": value for split, value in each.info().summary["bound"].items()}
        expected = measured(each)
        expected["log_p_hat/test"] = [(1000, float(np.float32(final["log_p_hat/test"])))]
        assert scalars(folder) == expected
        assert len(expected["inference_grad_variance/stl"]) == 20


def test_final_bounds_are_at_the_step_of_their_weights(export, root: Path, tmp_path: Path) -> None:
    """With patience, these are the best weights, not the last."""
    add_run(root, name="x", summary={"final_step": 600})
    assert export("x").code == 0
    assert [step for step, _ in scalars(tmp_path / "logs/x/v001")["log_p_hat/test"]] == [600]


def test_the_comparison_is_exact(export, root: Path, tmp_path: Path) -> None:
    """Wrong twins: another run's values, and the store's own in float64."""
    first, second = (add_run(root, name="x", seed=seed) for seed in (0, 1))
    assert export("x").code == 0
    found = scalars(tmp_path / "logs" / "x" / "v001")
    assert found["log_p_hat/train"] == measured(first)["log_p_hat/train"] != measured(second)["log_p_hat/train"]
    exact = first.metrics("train")["bound"].tolist()
    assert [value for _, value in found["log_p_hat/train"]] != exact


def test_times_are_when_it_was_claimed_and_the_seconds_of_its_steps(export, root: Path, tmp_path: Path) -> None:
    done = add_run(root, name="x")
    assert export("x").code == 0
    found = read(tmp_path / "logs" / "x" / "v001")
    created = done.info().created.timestamp()
    times = np.array([each.wall_time for each in found.Scalars("log_p_hat/train")])
    assert times - created == pytest.approx(done.metrics("train")["seconds"], abs=1e-5)
    valid = found.Scalars("log_p_hat/valid")
    assert [each.wall_time - created for each in valid] == pytest.approx(
        [each.step / 50.0 for each in valid], abs=1e-5
    )


def test_nan_is_nan(export, root: Path, tmp_path: Path) -> None:
    done = add_run(root, name="x", extra={"bound": [-90.0] * 7 + [math.nan] + [-89.0] * 12})
    bound = done.metrics("train")["bound"].copy()
    assert export("x").code == 0
    found = scalars(tmp_path / "logs" / "x" / "v001")["log_p_hat/train"]
    assert len(found) == 20
    np.testing.assert_array_equal([value for _, value in found], bound.astype(np.float32))


def test_a_run_that_lives_as_far_as_it_is_written(export, root: Path, tmp_path: Path) -> None:
    done = add_run(root, name="x", status=RunStatus.RUNNING)
    assert list((done.path / "parts").iterdir())
    assert export("x").code == 0
    assert scalars(tmp_path / "logs" / "x" / "v001") == measured(done)


def test_spec_and_pictures(export, root: Path, tmp_path: Path) -> None:
    from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

    done = add_run(root, name="x")
    for shade in (0, 255):
        buffer = io.BytesIO()
        Image.new("RGB", (6, 4), (shade, 0, 0)).save(buffer, "PNG")
        done.add_file("figures", "samples", ".png", buffer.getvalue())
        for name in ("traversals-layer-z2", "reconstructions-layers", "variance", "samples-of-mine"):
            done.add_file("figures", name, ".png", buffer.getvalue())
    done.add_file("figures", "bias-check", ".png", buffer.getvalue())
    assert export("x").code == 0
    found = read(tmp_path / "logs" / "x" / "v001")
    assert found.Tags()["images"] == ["samples", "reconstructions-layers", "traversals-layer-z2"]
    (image,) = found.Images("samples")
    assert (image.width, image.height, image.step) == (6, 4, 1000)
    assert image.encoded_image_string == buffer.getvalue(), "the newest"
    (text,) = found.Tensors("spec")
    content = text.tensor_proto.string_val[0].decode().removeprefix("```json\n").removesuffix("\n```")
    assert done.spec().items() <= json.loads(content).items()
    metadata = found.SummaryMetadata("_hparams_/session_start_info").plugin_data
    assert metadata.plugin_name == "hparams"
    hparams = parse_session_start_info_plugin_data(metadata.content).hparams
    assert (hparams["k"].number_value, hparams["estimator"].string_value) == (64.0, "dreg")


def test_equal_runs_are_equal_bytes(capsys, root: Path, tmp_path: Path) -> None:
    add_run(root, name="x")
    for name in ("a", "b"):
        assert run(capsys, "runs", "export", "--tensorboard", tmp_path / name).code == 0
    first, second = (next((tmp_path / name / "x" / "v001").iterdir()) for name in ("a", "b"))
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_what_is_there_is_left_alone(export, root: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        add_run(root, name="x", seed=seed)
    taken = tmp_path / "logs" / "x" / "v002"
    taken.mkdir(parents=True)
    (tmp_path / "logs" / "x" / "v001").mkdir()  # an empty folder is as good as none
    (taken / "mine").write_text("x")
    outcome = export()
    assert outcome.code == 2
    assert f"where: {taken}" in outcome.err
    assert "name another DIR" in outcome.err
    assert [path.name for path in taken.iterdir()] == ["mine"]
    assert list((tmp_path / "logs" / "x" / "v001").iterdir()) == [], "nothing is written before all is looked at"
    assert export("x/v001").code == 0
    again = export("x/v001")
    assert again.code == 2


def test_a_damaged_run_is_left_out(export, root: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        add_run(root, name="x", seed=seed)
    flip(root / "x" / "v001" / "metrics.h5", 3000)
    outcome = export("x")
    assert outcome.code == 0
    assert f"left out: {root / 'x' / 'v001'}" in outcome.err
    assert [path.name for path in (tmp_path / "logs" / "x").iterdir()] == ["v002"]
    only = export("x/v001")
    assert only.code == 13
    assert "dreg runs verify " in only.err


def test_options_that_do_not_go_together(capsys, export, root: Path, tmp_path: Path) -> None:
    add_run(root, name="x")
    forced = export("x", "--force")
    assert forced.code == 2
    assert "--force" in forced.err
    for words in ((), ("x",), ("x", "a", "b")):
        wrong = run(capsys, "runs", "export", *words)
        assert wrong.code == 2
        assert f"RUN and FILE; {len(words)} given" in wrong.err
        assert "--tensorboard DIR" in wrong.err
    assert export("y").code == 13
    assert not (tmp_path / "logs").exists()


def test_an_empty_store(export) -> None:
    assert export().code == 13
