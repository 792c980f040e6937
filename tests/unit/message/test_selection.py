from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.message.selection import select_template
from smtpconnector_server.message.template import ContentType, Template

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "template-selection.json").read_text(encoding="utf-8"))[
    "vectors"
]


def template(usage_type: str, subject: str, language_tag: str | None = None) -> Template:
    return Template(
        usage_type=usage_type, content_type=ContentType.HTML, subject=subject, content="", language_tag=language_tag
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_a_template_is_chosen_as_logto_chooses_it(vector: dict[str, Any]) -> None:
    templates = [template(given["usageType"], given["subject"]) for given in vector["templates"] or ()]
    if "error" in vector["expected"]:
        with pytest.raises(Failure) as raised:
            select_template(templates, vector["type"])
        failure = raised.value
        assert (failure.reason, failure.stage) == (Reason.TEMPLATE_NOT_FOUND, Stage.COMPOSE)
        assert failure.outcome is Outcome.NOT_SENT
        assert [violation.field for violation in failure.violations] == ["type"]
    else:
        assert select_template(templates, vector["type"]).subject == vector["expected"]["subject"]


TEMPLATES = [
    template("SignIn", "de", "de"),
    template("SignIn", "any"),
    template("SignIn", "zh", "zh"),
    template("SignIn", "zh-Hant", "zh-Hant"),
    template("SignIn", "pt-BR", "pt-BR"),
    template("SignIn", "second any"),
    template("Register", "fr", "fr"),
    template("Register", "it", "it"),
    template("Generic", "generic"),
    template("Generic", "generic fr", "fr"),
]


@pytest.mark.parametrize(
    ("usage_type", "locale", "subject"),
    [
        ("SignIn", None, "any"),
        ("SignIn", "", "any"),
        ("SignIn", "de", "de"),
        ("SignIn", "de-AT", "de"),
        ("SignIn", "DE-at", "de"),
        ("SignIn", "zh-Hant-TW", "zh-Hant"),
        ("SignIn", "zh-CN", "zh"),
        ("SignIn", "zh_CN", "zh"),
        ("SignIn", "pt-BR", "pt-BR"),
        ("SignIn", "pt", "any"),
        ("SignIn", "pt-PT", "any"),
        ("SignIn", "de-x-private", "de"),
        ("SignIn", "fr", "any"),
        ("SignIn", "-" * 100_000, "any"),
        ("Register", "it", "it"),
        ("Register", "de", "fr"),
        ("Register", None, "fr"),
        ("MfaVerification", "fr-CA", "generic fr"),
        ("MfaVerification", "de", "generic"),
    ],
)
def test_among_templates_of_one_usage_type_the_language_decides(
    usage_type: str, locale: str | None, subject: str
) -> None:
    assert select_template(TEMPLATES, usage_type, locale).subject == subject
