"""Shared parts of all use cases: folders, progress, interrupts, running out of memory."""
