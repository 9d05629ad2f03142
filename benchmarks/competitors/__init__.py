"""What ``benchmarks/peers.py`` compares: other programs, other networks and other trackers, on the same inputs."""
