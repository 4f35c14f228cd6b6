"""The guard's comparison, its file, and its name for a kind of processor. Nothing is measured here."""

import json
from pathlib import Path

from tests.benchmarks.guard import SPEEDS, compare, read, speeds, write
from tests.benchmarks.support.contestants import NETWORKS
from tests.benchmarks.support.processor import features_of, model_of

AMX = "processor\t: 0\nmodel name\t: Some Xeon\nflags\t\t: fpu avx avx2 avx512f amx_tile amx_bf16 avx_vnni\n"


def test_a_ratio_has_fallen_that_lost_more_than_a_seventh_or_is_not_there() -> None:
    kept = {"a little less": 2.0, "much less": 2.0, "more": 2.0, "gone": 2.0}
    changes = compare(kept, {"a little less": 1.71, "much less": 1.69, "more": 9.0, "new": 0.1})
    assert [each.name for each in changes if each.has_fallen] == ["much less", "gone"]
    assert [each.name for each in changes] == list(kept)


def test_a_ratio_is_the_median_over_rounds_of_steps_per_second() -> None:
    contestants = [{"name": "dense", "ms": [20.0, 10.0, 40.0]}, {"name": "hook", "ms": [30.0, 40.0, 40.0]}]
    raced = {"mlp": {"k": {"64": {"contestants": contestants}}}}
    # The second ratio names a contestant that failed.
    assert speeds(raced, {"kept": ("mlp", "dense", "hook"), "lost": ("mlp", "tracked", "hook")}) == {"kept": 1.5}


def test_ratios_name_contestants_that_there_are() -> None:
    for network, *both in SPEEDS.values():
        assert set(both) <= set(NETWORKS[network].contestants)


def test_writing_keeps_other_kinds_and_leaves_nothing_beside(tmp_path: Path) -> None:
    file = tmp_path / "ratios.json"
    assert read(file) == {}
    write(file, "AVX2", {"screened / dense": 1.23456})
    write(file, "AMX", {"screened / dense": 2.0})
    write(file, "AVX2", {"screened / dense": 1.5})
    assert read(file) == {"AMX": {"screened / dense": 2.0}, "AVX2": {"screened / dense": 1.5}}
    assert [path.name for path in tmp_path.iterdir()] == ["ratios.json"]
    assert json.loads(file.read_text())["AMX"]


def test_features_are_those_of_the_first_processor() -> None:
    assert features_of(AMX + AMX.replace("amx_tile ", "")) == ["AVX2", "AVX-512", "VNNI", "BF16", "AMX"]
    assert features_of("Features\t: fp asimd i8mm\n") == ["NEON", "I8MM"]
    assert features_of("") == []
    assert model_of(AMX) == "Some Xeon"
