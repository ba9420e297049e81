"""Effect sizes of paired differences."""

from math import exp, lgamma, log


def cohens_dz(mean: float, std: float | None) -> float | None:
    """Cohen's d_z = mean ÷ std of the paired differences (Cohen 1988, § 2.3.5); None without spread."""
    return None if not std else mean / std


def hedges_gz(mean: float, std: float | None, n: int) -> float | None:
    """Hedges' g_z: d_z without its bias at small n, × J(n − 1), J(m) = Γ(m/2) ÷ (sqrt(m/2) Γ((m − 1)/2)) (Hedges 1981).

    At n = 5 it is 0.80 d_z. None without spread, and below three pairs, where J is 0.
    """
    dz = cohens_dz(mean, std)
    m = n - 1
    if dz is None or m < 2:
        return None
    return dz * exp(lgamma(m / 2) - log(m / 2) / 2 - lgamma((m - 1) / 2))
