"""Options of the command line from a pydantic model: names, defaults, ranges and help have one place.

Values given stay text until all of them are known: then pydantic checks them together and all problems are told.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from elman.cli.verbs import refuse
from elman.errors import UsageError

Config = TypeVar("Config", bound=BaseModel)
WITHOUT_LIMIT = 1e9
SHORTER = {"hidden_size": "--hidden"}
"""Fields that may also be given by a shorter option."""


class FieldText(click.types.StringParamType):
    """The text of an option that pydantic will check; knows its choices for completion."""

    name = "text"

    def __init__(self, metavar: str, choices: tuple[str, ...] = ()) -> None:
        self.metavar, self.choices = metavar, choices

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return what the help shows in place of the value."""
        return self.metavar

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Return the choices that begin with what is there."""
        return [click.shell_completion.CompletionItem(c) for c in self.choices if c.startswith(incomplete)]


def options_of(config: type[BaseModel], without: Iterable[str] = ()) -> list[click.Option]:
    """Return one option for every field of a config, in the fields' order.

    Args:
        config: A pydantic model whose fields have descriptions.
        without: Fields that the command gets in another way.
    """
    skipped = set(without)
    return [_option(name, info) for name, info in config.model_fields.items() if name not in skipped]


def _option(name: str, info: FieldInfo) -> click.Option:
    flag = flag_of(name)
    help_text = _help(info)
    if _plain_type(info.annotation) is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}", name], default=None, help=help_text)
    many = get_origin(_plain_type(info.annotation)) in (tuple, list, dict)
    flags = [flag, SHORTER[name]] if name in SHORTER else [flag]
    return click.Option([*flags, name], type=_text_type(info), default=None, multiple=many, help=help_text)


def flag_of(name: str) -> str:
    """Return the option for a field: "hidden_size" gives "--hidden-size"."""
    return "--" + name.replace("_", "-")


def is_table(info: FieldInfo) -> bool:
    """Return whether the value of a field is given as NAME=VALUE, and as a table in a recipe."""
    return get_origin(_plain_type(info.annotation)) is dict


def _plain_type(annotation: Any) -> Any:
    """The type of a field without `None`; of several alternatives, the first."""
    if get_origin(annotation) in (Union, types.UnionType):
        return _plain_type(next(kind for kind in get_args(annotation) if kind is not type(None)))
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _text_type(info: FieldInfo) -> FieldText:
    kind = _plain_type(info.annotation)
    origin = get_origin(kind)
    if origin is Literal:
        choices = tuple(map(str, get_args(kind)))
        return FieldText(f"[{'|'.join(choices)}]", choices)
    if origin is dict:
        return FieldText("NAME=VALUE")
    if origin in (tuple, list):
        kind = _plain_type(get_args(kind)[0])
    names = {int: "NUMBER", float: "NUMBER", Path: "PATH"}
    return FieldText(names.get(kind, "TEXT"))


def _help(info: FieldInfo) -> str:
    description = info.description or ""
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    extra = [f"default: {_shown(default)}"] if default not in (None, (), {}) else []
    if limits := _limits(info):
        extra.append(limits)
    return f"{description}  [{'; '.join(extra)}]" if extra else description


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _limits(info: FieldInfo) -> str:
    marks = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
    found = []
    for constraint in info.metadata:
        for attribute, sign in marks:
            limit = getattr(constraint, attribute, None)
            if isinstance(limit, int | float) and abs(limit) < WITHOUT_LIMIT:
                found.append(f"{sign} {limit:g}")
    return ", ".join(found)


def checked(
    config: type[Config], given: Mapping[str, Any], written: Mapping[str, Any] | None = None, recipe: str = ""
) -> tuple[Config | None, list[str]]:
    """Return a config, or None and what is wrong with it.

    Args:
        config: The pydantic model; names that it does not have are left alone.
        given: Values of options by field; None for options that were not given.
        written: Values of a recipe file, which stand over the defaults and under the options.
        recipe: The recipe's name, for errors.
    """
    own = config.model_fields
    chosen = {name: value for name, value in given.items() if name in own and value not in (None, ())}
    below = {name: value for name, value in (written or {}).items() if name in own and name not in chosen}
    try:
        values = {name: _structured(config, name, value) for name, value in chosen.items()}
        return config.model_validate({**below, **values}), []
    except UsageError as error:
        return None, error.message.splitlines()
    except ValidationError as error:
        origin = {name: f"{recipe}: {name}" for name in below}
        found = [_problem(config, details, origin) for details in error.errors(include_url=False)]
        return None, [line for text in found for line in text.splitlines()]


def configured(config: type[Config], given: Mapping[str, Any], where: str) -> Config:
    """Return the config that options describe.

    Raises:
        UsageError: lists every value that is outside its range or contradicts another.
    """
    made, problems = checked(config, given)
    refuse(where, problems, f"see: {where} --help")
    assert made is not None
    return made


def _structured(config: type[BaseModel], name: str, value: Any) -> Any:
    """Repeated NAME=VALUE options as a dictionary, other repeated ones as a list, the rest as it is."""
    if not isinstance(value, tuple):
        return value
    if get_origin(_plain_type(config.model_fields[name].annotation)) is dict:
        pairs = [item.partition("=") for item in value]
        refuse(flag_of(name), [f"must be NAME=VALUE; got {item!r}" for item in value if not all(item.partition("="))])
        return {key: item for key, _, item in pairs}
    return list(value)


def _problem(config: type[BaseModel], details: ErrorDetails, origin: Mapping[str, str]) -> str:
    location = [str(part) for part in details["loc"]]
    name = location[0] if location else ""
    where = origin.get(name, flag_of(name) if name else "")
    said = _sentence(details)
    if not name:
        return with_flags(said, config)
    return f"{where}: {said}; got {_got(details['input'])}"


def _got(value: Any) -> str:
    text = repr(value) if not isinstance(value, str) or not re.fullmatch(r"[\w.+-]+", value) else value
    return text if len(text) <= 60 else text[:57] + "..."


SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than_equal": lambda c: f"must be at least {c['ge']:g}",
    "greater_than": lambda c: f"must be more than {c['gt']:g}",
    "less_than_equal": lambda c: f"must be at most {c['le']:g}",
    "less_than": lambda c: f"must be less than {c['lt']:g}",
    "int_parsing": lambda c: "must be a whole number",
    "int_parsing_size": lambda c: "must be a whole number of fewer digits",
    "int_from_float": lambda c: "must be a whole number",
    "int_type": lambda c: "must be a whole number",
    "float_parsing": lambda c: "must be a number",
    "float_type": lambda c: "must be a number",
    "bool_parsing": lambda c: "must be true or false",
    "bool_type": lambda c: "must be true or false",
    "finite_number": lambda c: "must be a finite number",
    "literal_error": lambda c: f"must be one of {str(c['expected']).replace(chr(39), '').replace(' or ', ', ')}",
    "missing": lambda c: "must be given",
}


def _sentence(details: ErrorDetails) -> str:
    known = SENTENCES.get(details["type"])
    if known is not None:
        return known(details.get("ctx", {}))
    said = details["msg"].removeprefix("Value error, ")
    return said[0].lower() + said[1:] if details["type"] != "value_error" else said


def with_flags(text: str, config: type[BaseModel]) -> str:
    """Return a text about fields with the fields written as options: "optimizer=sgd" becomes "--optimizer sgd"."""
    for name in sorted(config.model_fields, key=len, reverse=True):
        text = re.sub(rf"(?<![\w-]){name}=(\w+)", rf"{flag_of(name)} \1", text)
        if "_" in name or text.startswith(name + " "):
            text = re.sub(rf"(?<![\w-]){name}(?!\w)", flag_of(name), text)
        # One word may be meant as a word; after these it is what an option depends on.
        text = re.sub(rf"\b(at least|at most|with|without) {name}(?![\w-])", rf"\1 {flag_of(name)}", text)
    return text
