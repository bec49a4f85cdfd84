"""What a chapter is run with: its profile's parameters, checked before anything runs."""

from __future__ import annotations

import ast
import functools
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fewer_imports  # noqa: F401
import jsonschema
import yaml

DEVICES = ("auto", "cpu", "cuda")
#: Of a profile: parameters of all chapters and of single ones; and, if it likes, how many seeds one run has, and which
#: runs alone are made.
NEEDED, MAY = {"shared", "chapters"}, {"block", "only"}


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
        if not isinstance(profile, dict) or not NEEDED <= set(profile) <= NEEDED | MAY:
            raise BadInput(
                f"profile '{name}' in {path.name} must have the two keys 'shared' and 'chapters', and may have 'block' "
                "and 'only'"
            )
        if "only" in profile and (
            not isinstance(profile["only"], dict) or profile["only"].get("chapter") not in profile["chapters"]
        ):
            raise BadInput(
                f"'only' of profile '{name}' in {path.name} must name, as 'chapter', one that the profile sets "
                "parameters of"
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


def schema(default: Any) -> dict[str, Any]:
    """What a parameter may be by its default alone, in the words of JSON Schema."""
    if isinstance(default, list):
        items = schema(default[0]) if default else {}
        return {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": items | MEMBERS.get(items.get("type"), {}),
        }
    for kind, says in KINDS.items():
        if isinstance(default, kind):
            return says
    return {}


#: A chapter's numbers are counts, sizes and rates, of which a list may have a zero.
KINDS: dict[type, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 1},
    float: {"type": "number", "exclusiveMinimum": 0},
    str: {"type": "string", "minLength": 1},
}
MEMBERS: dict[Any, dict[str, Any]] = {"integer": {"minimum": 0}}


def _merged(one: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return one | more | ({"items": one["items"] | more["items"]} if "items" in one and "items" in more else {})


@functools.cache
def _validator() -> Any:
    """JSON Schema with Python's numbers: 3.0 is no whole number, and NaN none at all."""
    numbers = {
        "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda _, value: (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ),
    }
    draft = jsonschema.Draft202012Validator
    return jsonschema.validators.extend(draft, type_checker=draft.TYPE_CHECKER.redefine_many(numbers))


@functools.cache
def _further() -> dict[str, Any]:
    return dict(yaml.safe_load((Path(__file__).parent / "schema.yaml").read_text()))


def check(source: Path, values: dict[str, Any]) -> None:
    """Refuse parameters that a chapter does not take, or values that one cannot have.

    Args:
        source: of the chapter.
        values: what its profile sets; those that it leaves as declared are looked at too.

    Raises:
        BadInput: for a parameter that it does not declare, a value of another type, or one outside its range or names.
    """
    known, more = declared(source), _further()
    more = more["every"] | more["chapters"].get(source.stem, {})
    for name, value in (known | values).items():
        if name not in known:
            raise BadInput(
                f"parameter '{name}' is not declared by {source.name}, which declares "
                f"{', '.join(known) or 'none'}: add it to the cell tagged 'parameters', or take it out of "
                "profiles.yaml"
            )
        default = known[name]
        wrong = jsonschema.exceptions.best_match(
            _validator()(_merged(schema(default), more.get(name, {}))).iter_errors(value)
        )
        if wrong and wrong.validator == "type" and not wrong.path:
            raise BadInput(
                f"parameter '{name}' is {value!r}, but {source.name} declares {default!r}: give it the same type in "
                "profiles.yaml and in the cell tagged 'parameters'"
            )
        if wrong:
            raise BadInput(
                f"parameter '{name}' of {source.name} is {value!r}: {wrong.message} (workflow/schema.yaml): correct it "
                "in profiles.yaml or in the cell tagged 'parameters'"
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
