"""Start what ``dreg train`` asks for: one run, or a study of many runs."""
