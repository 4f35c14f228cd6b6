import pytest

from dregcli.store.run import Run
from tests.crash.harness import uninterrupted


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of each variant that nobody disturbed."""
    return uninterrupted(tmp_path_factory.mktemp("uninterrupted"))
