"""A folded sweep fails wherever one of its cases would have failed, and names every such case."""

import pytest

from tests.support.sweep import swept

CASES = [("a", 1), ("b", 2), ("c", 3), ("d", 4)]


def test_every_case_runs_with_the_fixtures_and_nothing_is_reported_when_all_pass() -> None:
    seen: list[tuple[str, int, str]] = []

    @swept("word, number", CASES)
    def test(fixture: str, word: str, number: int) -> None:
        seen.append((word, number, fixture))

    test(fixture="f")
    assert seen == [(word, number, "f") for word, number in CASES]


def test_every_failing_case_is_named_and_those_that_pass_are_not() -> None:
    seen: list[str] = []

    @swept("word, number", CASES, named=lambda word, number: f"{word}/{number}")
    def test(word: str, number: int) -> None:
        seen.append(word)
        if word == "a":
            with pytest.raises(ValueError, match="no such"):
                pass
        assert number != 2
        if word == "d":
            raise KeyError(word)

    with pytest.raises(pytest.fail.Exception, match=r"^3 of 4 cases fail: a/1, b/2, d/4\n") as caught:
        test()
    assert seen == ["a", "b", "c", "d"]
    assert "c/3" not in str(caught.value)
    assert "KeyError: 'd'" in str(caught.value)


def test_a_case_cannot_skip_the_others() -> None:
    @swept("number", [1, 2, 3])
    def test(number: int) -> None:
        if number == 2:
            pytest.skip("not here")
        assert number != 3

    with pytest.raises(pytest.fail.Exception, match=r"^2 of 3 cases fail: 2, 3\n"):
        test()


def test_sweeps_can_be_folded_twice() -> None:
    @swept("inner", [1, 2])
    @swept("outer", ["x", "y"])
    def test(inner: int, outer: str) -> None:
        assert (inner, outer) != (2, "x")

    with pytest.raises(pytest.fail.Exception, match="1 of 2 cases fail: 2\n") as caught:
        test()
    assert "1 of 2 cases fail: x\n" in str(caught.value)


def test_a_sweep_without_cases_is_refused() -> None:
    with pytest.raises(ValueError, match="claims nothing"):
        swept("word", [])


@pytest.mark.parametrize("letter", ["x", "y"])
@swept("number", [1, 2])
def test_what_is_left_of_the_signature_is_for_pytest(letter: str, number: int, tmp_path) -> None:
    assert letter in "xy"
    assert number in (1, 2)
    assert tmp_path.is_dir()
