"""Gates as learning rates: the library under the book.

Import the module that owns the concept (``from gatelr import cells, jacobian``). Nothing is imported here,
so that a chapter depends on the modules it names and on no others. Symbols, and claims such as C7 that
docstrings name as the source of a formula, are defined in ``book/notation.md``.
"""

__title__ = "Gates as Learning Rates"
__author__ = "The Gates as Learning Rates authors"
__license__ = "MIT"
__version__ = "0.1.0"
