"""What a chapter is run with: its profile's parameters, checked before anything runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

DEVICES = ("auto", "cpu", "cuda")
#: Of a profile: parameters of all chapters and of single ones, and how many seeds one run has.
KEYS = ({"shared", "chapters"}, {"shared", "chapters", "block"})


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
        if not isinstance(profile, dict) or set(profile) not in KEYS:
            raise BadInput(
                f"profile '{name}' in {path.name} must have the two keys 'shared' and 'chapters', and may have 'block'"
            )
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


def declared(source: Path) -> dict[str, Any]:
    """What the cell tagged ``parameters`` declares, with its values; nothing if there is none or it cannot be read."""
    cells = re.split(r"^(?=# %%)", source.read_text(), flags=re.MULTILINE)
    tagged = [cell for cell in cells if re.match(r"# %%.*tags=\[.*[\"']parameters[\"']", cell)]
    try:
        body = [node for cell in tagged for node in ast.parse(cell).body if isinstance(node, ast.Assign)]
        return {ast.unparse(node.targets[0]): ast.literal_eval(node.value) for node in body}
    except (SyntaxError, ValueError):
        return {}  # papermill, and then the chapter itself, will say what is wrong


def check(source: Path, values: dict[str, Any]) -> None:
    """Refuse parameters that a chapter does not take.

    Args:
        source: of the chapter.
        values: what its profile sets.

    Raises:
        BadInput: for a parameter that it does not declare, or a value of another type.
    """
    known = declared(source)
    for name, value in values.items():
        if name not in known:
            raise BadInput(
                f"parameter '{name}' is not declared by {source.name}, which declares "
                f"{', '.join(known) or 'none'}: add it to the cell tagged 'parameters', or take it out of "
                "profiles.yaml"
            )
        default = known[name]
        kinds = (int, float) if isinstance(default, float) else type(default)
        if default is not None and not isinstance(value, kinds):
            raise BadInput(
                f"parameter '{name}' is {value!r}, but {source.name} declares {default!r}: give it the same type in "
                "profiles.yaml and in the cell tagged 'parameters'"
            )


def resolve(profiles: dict[str, dict[str, Any]], profile: str, source: Path, device: str) -> dict[str, Any]:
    """The parameters of one chapter, ``profile`` and ``device`` among them, and ``block`` where it has runs.

    Raises:
        BadInput: if there is no such profile or device.
    """
    if profile not in profiles:
        raise BadInput(f"unknown profile '{profile}': PROFILE is one of {', '.join(profiles)} (profiles.yaml)")
    check_device(device)
    chosen = profiles[profile]
    values = {"profile": profile, "device": device, **chosen["shared"]}
    if "block" in chosen and "block" in declared(source):
        values["block"] = chosen["block"]
    return {**values, **chosen["chapters"].get(source.stem, {})}
