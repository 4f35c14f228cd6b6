"""Defaults that the command line shows. Loads no engine."""

from dregcli.specs.execution import DEFAULT_BACKWARD, DEFAULT_INFLATION, DEFAULT_PRECISION

__all__ = ["DEFAULT_BACKWARD", "DEFAULT_INFLATION", "DEFAULT_PRECISION"]
