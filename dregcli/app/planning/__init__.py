"""From what was asked for to a run that can work: spec, data, execution."""
