"""The form for the configuration document, in Logto's terms and order."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.example import example_value
from smtpconnector_server.config.keys import keys
from smtpconnector_server.config.presets import presets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpconnector_server.config.intake import Json
    from smtpconnector_server.config.keys import Key

_ENGLISH: Final = "en"
_SERVICE: Final = "service"
_SHOWN_WITHOUT_SECURE: Final = ("ignoreTLS", "requireTLS")


class FormItemType(Enum):
    """The kind of an input."""

    TEXT = "Text"
    NUMBER = "Number"
    MULTILINE_TEXT = "MultilineText"
    SWITCH = "Switch"
    SELECT = "Select"
    MULTI_SELECT = "MultiSelect"
    JSON = "Json"


@dataclass(frozen=True, slots=True)
class ShowCondition:
    """Shows an input only while another one has a certain value."""

    target_key: str
    expect_value: Json


@dataclass(frozen=True, slots=True)
class SelectItem:
    """One choice of an input."""

    value: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormItem:
    """The input for one key of the document."""

    key: str
    label: str
    localized_labels: Mapping[str, str]
    """In other languages than English, by language tag."""
    type: FormItemType
    required: bool
    placeholder: str
    default_value: Json
    """None: there is none."""
    description: str
    localized_descriptions: Mapping[str, str]
    show_conditions: tuple[ShowCondition, ...]
    is_confidential: bool
    select_items: tuple[SelectItem, ...]


@functools.cache
def form_items() -> tuple[FormItem, ...]:
    """Return the inputs, in the order of the form."""
    return tuple(_item(key) for key in keys() if key.form is not None)


def _item(key: Key) -> FormItem:
    return FormItem(
        key=key.name,
        label=key.label[_ENGLISH],
        localized_labels=_in_other_languages(key.label),
        type=FormItemType(key.form),
        required=key.required,
        placeholder=key.placeholder,
        default_value=None if key.default is None else example_value(key, key.default),
        description=key.description[_ENGLISH],
        localized_descriptions=_in_other_languages(key.description),
        show_conditions=(ShowCondition("secure", expect_value=False),) if key.name in _SHOWN_WITHOUT_SECURE else (),
        is_confidential=key.confidential,
        select_items=_select_items(key),
    )


def _select_items(key: Key) -> tuple[SelectItem, ...]:
    if key.name != _SERVICE:
        return tuple(SelectItem(value, value) for value in key.select)
    return tuple(SelectItem(preset.id, preset.display_name) for preset in presets())


def _in_other_languages(texts: Mapping[str, str]) -> dict[str, str]:
    return {language: text for language, text in texts.items() if language != _ENGLISH}
