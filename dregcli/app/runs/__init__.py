"""List, show, compare, check, move and remove the runs of a store."""
