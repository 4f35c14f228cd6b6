"""Data sets: the catalogue, readers, splits, downloads and the HDF5 cache. No torch."""
