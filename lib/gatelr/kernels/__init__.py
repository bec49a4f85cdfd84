"""What is fast; :func:`gatelr.kernels.build.which` says whether a CPU gets it compiled."""

from gatelr.kernels.build import plain, which

__all__ = ["plain", "which"]
