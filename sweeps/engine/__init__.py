"""What the studies share, in the order of a sweep: spec, prepare, folder, search, asha, progress, run, cli."""
