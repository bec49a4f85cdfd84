"""What a chapter writes: one object, :class:`~gatelr.record.chapter.Chapter`, and the look of its figures."""

try:
    from gatelr.record.chapter import Chapter, CheckFailed
    from gatelr.record.claims import Finding
    from gatelr.record.forms import show
except ModuleNotFoundError as error:
    missing = str(error.name).partition(".")[0]
    raise ImportError(f"gatelr.record needs {missing}: pip install 'gatelr[record]'") from error

__all__ = ["Chapter", "CheckFailed", "Finding", "show"]
