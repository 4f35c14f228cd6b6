"""The short bias check of a user's model."""

import pytest
import torch
from torch import nn

from dregcli.engine.checks.comparison import Compared, compare
from dregcli.engine.diagnostics import bias_check
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.names import Severity, Verdict
from tests.support import planted_models as planted
from tests.support.plain_models import SmallModel, TwoLayers, small_data


@pytest.fixture(autouse=True)
def _early_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bias_check, "FIRST_LOOK", 96)


def compared(module: nn.Module, *, batches: int) -> Compared:
    data = small_data()
    uniform = torch.rand(4, 16, generator=torch.Generator().manual_seed(0))
    return compare(ProgramModel(module, data), (uniform < 0.3).float(), seconds=60.0, batches=batches)


def test_a_support_that_moves_makes_the_estimators_differ() -> None:
    torch.manual_seed(0)
    found = compared(planted.MovingSupport(small_data()), batches=96)
    assert found.words == ("dreg", "reparam")
    assert found.result is not None
    assert found.result.verdict is Verdict.BIASED
    assert [(each.key, each.severity) for each in found.findings] == [("biased", Severity.ERROR)]


def test_a_sound_model_has_no_finding() -> None:
    torch.manual_seed(0)
    found = compared(planted.Sound(small_data()), batches=96)
    assert found.result is not None
    assert found.result.n == 96
    assert found.findings == ()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda data: SmallModel(data, "categorical"), ("vimco", "reinforce")),
        (lambda data: TwoLayers(data, "categorical"), ("dreg", "reparam")),
    ],
    ids=["discrete", "both kinds"],
)
def test_discrete_latents_are_compared_by_estimators_without_a_path(make, words) -> None:
    torch.manual_seed(0)
    found = compared(make(small_data()), batches=2)
    assert found.words == words
    assert found.result is not None
    assert found.result.verdict is Verdict.INCONCLUSIVE


def test_without_parameters_in_q_there_is_nothing_to_compare() -> None:
    torch.manual_seed(0)
    found = compared(planted.DetachedPosterior(small_data()), batches=2)
    assert found.result is None
    assert found.reason == "q has no parameters, so that all estimators are the same"
