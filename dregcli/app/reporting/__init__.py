"""Report on runs: tables, figures, pages, exports."""
