"""Model FLOPs utilization: how much of the devices' peak the model's own operations use."""

from dataclasses import dataclass


@dataclass
class Utilization:
    """Speed as a share of the peak (Chowdhery et al. 2022, arXiv:2204.02311, appendix B)."""

    flops_per_token: float
    """Of forward and backward together."""
    peak_flops: float
    """FLOP/s of all devices together."""
    is_measured: bool = False
    """A measured peak grows to the best rate of the run, so that the share never exceeds 1."""

    def mfu(self, tokens_per_second: float) -> float:
        rate = tokens_per_second * self.flops_per_token
        if self.is_measured:
            self.peak_flops = max(self.peak_flops, rate)
        return rate / self.peak_flops
