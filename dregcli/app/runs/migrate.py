"""``dreg runs migrate``: a store of an older format becomes one that is written."""

from pathlib import Path

from dregcli.store.layout import FORMAT_VERSION
from dregcli.store.migrate import Migration, migrate
from dregcli.store.runs import RunStore

__all__ = ["FORMAT_VERSION", "Migration", "migrate_runs"]


def migrate_runs(runs_dir: Path) -> Migration:
    """Migrate a store; see :func:`dregcli.store.migrate.migrate`."""
    return migrate(RunStore(runs_dir))
