"""What a chapter is run with: its profile's parameters, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

DEVICES = ("auto", "cpu", "cuda")


class BadInput(ValueError):
    """Something that a person asked for cannot be had; the message is the whole explanation."""


def load(path: Path, chapters: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The profiles by name.

    Raises:
        BadInput: if the file is not one of profiles, or names a chapter that there is not.
    """
    try:
        profiles = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise BadInput(f"{path.name} is not YAML: {' '.join(str(error).split())}") from error
    known = set(chapters)
    for name, profile in (profiles or {}).items():
        if not isinstance(profile, dict) or set(profile) != {"shared", "chapters"}:
            raise BadInput(f"profile '{name}' in {path.name} must have the two keys 'shared' and 'chapters'")
        if strangers := sorted(set(profile["chapters"]) - known):
            raise BadInput(
                f"profile '{name}' in {path.name} sets parameters of chapter '{strangers[0]}', which is not "
                f"in notebooks/; the chapters are {', '.join(sorted(known))}"
            )
    return dict(profiles or {})


def check_device(device: str) -> None:
    """Raises BadInput unless the device is one that a chapter understands."""
    if device not in DEVICES:
        raise BadInput(f"unknown device '{device}': DEVICE is one of {', '.join(DEVICES)}")


def resolve(profiles: dict[str, dict[str, Any]], profile: str, chapter: str, device: str) -> dict[str, Any]:
    """The parameters of one chapter, ``profile`` and ``device`` among them.

    Raises:
        BadInput: if there is no such profile or device.
    """
    if profile not in profiles:
        raise BadInput(f"unknown profile '{profile}': PROFILE is one of {', '.join(profiles)} (profiles.yaml)")
    check_device(device)
    chosen = profiles[profile]
    return {"profile": profile, "device": device, **chosen["shared"], **chosen["chapters"].get(chapter, {})}
