"""What S seeds say about an effect: ``gatelr.statistics``, which the record needs too."""

from gatelr.statistics import Estimate, Power, estimate, holm, power

__all__ = ["Estimate", "Power", "estimate", "holm", "power"]
