"""Options of a command in sections: dataclasses whose fields are the options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints


def with_sections(function: Callable[..., None]) -> Callable[..., None]:
    """Turn each dataclass parameter of a command into one option for each of its fields.

    typer reads options from a function's signature. The function returned has the fields in its signature;
    when it is called, it builds the dataclasses and passes them on.

    Parameters
    ----------
    function
        The command. A dataclass has a ``title``, under which the help lists its options.
    """
    hints = get_type_hints(function, include_extras=True)
    sections: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in sections:
            parameters += _options_of(sections[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name]))

    @wraps(function)
    def command(**given: Any) -> None:
        built = {
            name: section(**{entry.name: given.pop(entry.name) for entry in fields(section)})
            for name, section in sections.items()
        }
        function(**given, **built)

    # typer passes all by name, so options without a default may stand behind others.
    by_name = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    command.__signature__ = inspect.Signature(by_name)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _options_of(section: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(section, include_extras=True)
    options = []
    for entry in fields(section):
        hint = hints[entry.name]
        if get_origin(hint) is Annotated:
            get_args(hint)[1].rich_help_panel = section.title
        default = inspect.Parameter.empty if entry.default is MISSING else entry.default
        options.append(
            inspect.Parameter(entry.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
        )
    return options
