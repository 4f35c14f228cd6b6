"""Checks of a user's model, before it is trained: each finds one fault that would ruin a training silently."""
