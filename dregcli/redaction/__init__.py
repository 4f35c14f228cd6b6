"""Finds texts that look like a password, a token or a key, and removes them before they are kept or shown to others.

Standard library only.
"""

from dregcli.redaction.shapes import is_secret_name
from dregcli.redaction.texts import (
    FILE_MARK,
    LINE_MARK,
    MARK,
    has_secret,
    redacted,
    redacted_diff,
    redacted_values,
    redacted_words,
)

__all__ = [
    "FILE_MARK",
    "LINE_MARK",
    "MARK",
    "has_secret",
    "is_secret_name",
    "redacted",
    "redacted_diff",
    "redacted_values",
    "redacted_words",
]
