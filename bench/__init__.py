"""The benchmark suite: `python -m bench` runs every workload for scanlib, its peers and the limit."""
