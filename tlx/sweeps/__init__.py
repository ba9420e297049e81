"""From many runs to a plan, and from a plan to processes: leases, Ray, SLURM, searches."""
