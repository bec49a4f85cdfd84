"""How long a job may take, and how much memory it asks a scheduler for: ``limits.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from parameters import BadInput

#: The table.
TABLE = Path(__file__).with_name("limits.yaml")


@dataclass(frozen=True)
class Limit:
    """Of one job."""

    minutes: float
    megabytes: int


def load(path: Path = TABLE) -> dict[str, dict[str, Limit]]:
    """The limits by kind, ``chapters`` and ``runs``, and by name.

    Raises:
        BadInput: if the table lacks one, or says what is no limit.
    """
    table = yaml.safe_load(path.read_text())
    limits: dict[str, dict[str, Limit]] = {}
    for kind in ("chapters", "runs"):
        try:
            limits[kind] = {name: Limit(**limit) for name, limit in table[kind].items()}
            limits[kind]["default"]
            positive = all(limit.minutes > 0 and limit.megabytes > 0 for limit in limits[kind].values())
        except (KeyError, TypeError, AttributeError) as error:
            raise BadInput(
                f"'{kind}' in {path.name} must have a 'default', and for each name minutes and megabytes"
            ) from error
        if not positive:
            raise BadInput(f"'{kind}' in {path.name} must have minutes and megabytes above 0")
    return limits


def of(limits: dict[str, dict[str, Limit]], kind: str, name: str) -> Limit:
    """The limit of one chapter, or of the runs of one experiment."""
    return limits[kind].get(name, limits[kind]["default"])
