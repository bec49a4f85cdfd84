"""``import peers`` as a script in benchmarks/ would."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
