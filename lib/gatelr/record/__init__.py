"""What a chapter writes: one object, :class:`Chapter`, and the look of its figures."""

from gatelr.record.chapter import Chapter, CheckFailed, Finding
from gatelr.record.forms import show

__all__ = ["Chapter", "CheckFailed", "Finding", "show"]
