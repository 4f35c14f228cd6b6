"""Use cases: build engine objects from specs, drive the engine, hand results to the store."""
