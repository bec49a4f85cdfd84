"""The old name of ``record.reference``, until the last chapter is converted."""

from gatelr.record.reference import Compared as Settled
from gatelr.record.reference import compare as settle

__all__ = ["Settled", "settle"]
