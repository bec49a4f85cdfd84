"""Old names, for modules that have not moved yet: see ``protocol``, ``effective_rates`` and ``joint_anisotropy``."""

from gatelr.experiments.protocol import (
    FRESH,
    NULL,
    PROBE,
    RATES,
    TRAINING,
    Optimiser,
    Records,
    in_float64,
    losses,
    network,
    optimised,
)

__all__ = ["FRESH", "NULL", "PROBE", "RATES", "TRAINING", "Optimiser", "Records"]
__all__ += ["in_float64", "losses", "network", "optimised"]

_MOVED = {
    "effective_rates": ("effective_rates", "measure"),
    "sensitivities": ("effective_rates", "sensitivities"),
    "joint_anisotropy": ("joint_anisotropy", "measure"),
    "windows": ("joint_anisotropy", "windows"),
    "propagation": ("joint_anisotropy", "propagation"),
    "update": ("joint_anisotropy", "update"),
}


def __getattr__(name: str) -> object:
    import importlib

    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _MOVED[name]
    return getattr(importlib.import_module(f"gatelr.experiments.{module}"), attribute)
