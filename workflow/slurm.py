"""What Snakemake must be told of the SLURM that is here."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec

from parameters import BadInput


def arguments() -> list[str]:
    """The options that depend on the cluster.

    Raises:
        BadInput: if no job can be submitted from here.
    """
    if find_spec("snakemake_executor_plugin_slurm") is None:
        raise BadInput("ON=slurm needs the package snakemake-executor-plugin-slurm: run `make env`")
    if shutil.which("sbatch") is None:
        raise BadInput("ON=slurm, but there is no sbatch here: run it where jobs are submitted from")
    if subprocess.run(["sinfo", "--noheader"], capture_output=True, check=False).returncode:
        raise BadInput("ON=slurm, but sinfo gets no answer from the scheduler: is it up?")
    # Without an accounting database sacct knows no job, and whoever asks it waits for ever.
    accounting = subprocess.run(["sacct", "--noheader", "--allocations"], capture_output=True, check=False)
    return [] if accounting.returncode == 0 else ["--slurm-status-command", "squeue"]
