"""Training runs as jobs of a cluster, through submitit."""
