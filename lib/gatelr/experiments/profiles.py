"""Old names, for a chapter that has not moved yet: see ``effective_rates``."""

from gatelr.experiments.effective_rates import NULLS, PREDICTORS, Sums, predictions, sums
from gatelr.experiments.effective_rates import explain as measure

__all__ = ["NULLS", "PREDICTORS", "Sums", "measure", "predictions", "sums"]
