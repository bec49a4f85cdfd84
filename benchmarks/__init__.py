"""The library timed beside its peers: ``python -m benchmarks`` measures, ``python -m benchmarks.report`` reads.

The result is one JSON file for each machine and number of threads, ``results/<cpu>-<threads>-threads.json``, whose form
is ``schema.json``. The book's last chapter draws what those files hold.
"""
