"""The book's experiments, a module each, and how their runs are kept."""

from importlib.util import find_spec

for _name in ("pandas", "scipy"):
    if find_spec(_name) is None:
        raise ImportError(f"gatelr.experiments needs {_name}: pip install 'gatelr[experiments]'")
