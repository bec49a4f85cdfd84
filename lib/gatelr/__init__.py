"""Gates as learning rates: the library under the book.

Import the module that owns the concept (``from gatelr import cells, jacobian``). Nothing is imported here,
so that a chapter depends on the modules it names and on no others.
"""

__version__ = "0.1.0"
