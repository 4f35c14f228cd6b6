"""``python -m dregcli`` is ``dreg``."""

from dregcli.cli.main import entry

if __name__ == "__main__":
    entry()
