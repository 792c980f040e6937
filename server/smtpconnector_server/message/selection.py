"""Which template serves a mail: by usage type, then by language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from smtpconnector_server.failure import Failure, Reason, Stage, Violation

if TYPE_CHECKING:
    from collections.abc import Sequence

GENERIC: Final = "Generic"
"""The usage type that serves where the wanted one is missing."""


class Selectable(Protocol):
    """What the choice depends on."""

    @property
    def usage_type(self) -> str:
        """What the mail is for."""

    @property
    def language_tag(self) -> str | None:
        """The language of the mail (BCP 47). None: every language."""


_MAX_SUBTAGS: Final = 8

_T = TypeVar("_T", bound=Selectable)


def select_template(templates: Sequence[_T], usage_type: str, locale: str | None = None) -> _T:
    """Return the template for a usage type, else the one for ``Generic``.

    Among several, the one in the language that fits the locale best serves (RFC 4647, section 3.4), then the first one
    without a language, then the first.

    Raises:
        Failure: TEMPLATE_NOT_FOUND, if there is neither.
    """
    for wanted in (usage_type, GENERIC):
        fitting = [template for template in templates if template.usage_type == wanted]
        if fitting:
            return _in_language(fitting, locale)
    raise Failure(
        Reason.TEMPLATE_NOT_FOUND,
        "The configuration has no template for this usage type, and none for Generic.",
        stage=Stage.COMPOSE,
        violations=(Violation("type", "has no template in the configuration, and there is none for Generic either"),),
    )


def _in_language(templates: Sequence[_T], locale: str | None) -> _T:
    for language_range in _look_up_ranges(locale) if locale else ():
        for template in templates:
            if template.language_tag and template.language_tag.lower() == language_range:
                return template
    return next((template for template in templates if not template.language_tag), templates[0])


def _look_up_ranges(locale: str) -> list[str]:
    """Return a locale and what is left of it as its last subtag goes: ``zh-hant-tw``, ``zh-hant``, ``zh``."""
    subtags = locale.lower().replace("_", "-").split("-")[:_MAX_SUBTAGS]
    ranges: list[str] = []
    while subtags:
        ranges.append("-".join(subtags))
        subtags.pop()
        while subtags and len(subtags[-1]) == 1:  # an extension's letter says nothing by itself
            subtags.pop()
    return ranges
