"""What is fast; :func:`which` says whether a CPU gets it compiled."""

from gatelr.kernels.build import plain, which

__all__ = ["plain", "which"]
