"""The library timed beside its peers: ``python -m benchmarks`` measures, ``python -m benchmarks.report`` reads.

The result is one JSON file for each kind of processor and number of threads,
``results/<cpu>-<level>-<threads>-threads.json``, whose form is ``schema.json``. The book draws what those files hold.
"""
