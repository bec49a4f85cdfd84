"""Recurrent networks of torch, seen as this book's family: their runs, Jacobians, rates and time-scales.

``networks.run``, ``terms`` and ``blocks`` take a ``torch.nn.RNN``, ``GRU`` or ``LSTM`` and its inputs as they are. What
begins with a record of a run is in :mod:`~gatelr.networks.measures`, what needs products of Jacobians in
:mod:`~gatelr.networks.transports`, and what a loss sends back in :mod:`~gatelr.networks.gradients`.
``networks.diagnose`` says what is wrong with a network, and :mod:`~gatelr.networks.remedies` mends it.
"""

from gatelr.networks.diagnosis import Diagnosis, Finding, diagnose
from gatelr.networks.gradients import costates, gradient_by_lag
from gatelr.networks.layers import blocks, run, stream, terms
from gatelr.networks.measures import budget, effective, retention, time_constants, unspent
from gatelr.networks.state import State
from gatelr.networks.transports import lyapunov, sensitivities, transport

__all__ = [
    "Diagnosis",
    "Finding",
    "State",
    "blocks",
    "budget",
    "costates",
    "diagnose",
    "effective",
    "gradient_by_lag",
    "lyapunov",
    "retention",
    "run",
    "sensitivities",
    "stream",
    "terms",
    "time_constants",
    "transport",
    "unspent",
]
