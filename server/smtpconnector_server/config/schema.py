"""The JSON Schema (2020-12) of the configuration document.

Types and lengths come from the shapes, texts from the table of keys, and the few rules about which keys go together are
added here. It accepts what the validator accepts, as far as a schema can tell. It cannot tell whether a host, an
address, a URL, a header, a certificate, a key, a cipher, a service, a notification, an origin, a signature or a
template is a good one; how many octets a text has and how many headers there are; whether TLS goes with the port and
the provider; and what only a profile may do.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any, Final

from smtpconnector_server.config.auth import MICROSOFT_LOGIN
from smtpconnector_server.config.keys import MEMBER_SHAPES, keys
from smtpconnector_server.config.model import LoginMechanism, TokenMechanism
from smtpconnector_server.config.options import UNUSED
from smtpconnector_server.config.shape import (
    ClientKeyShape,
    DkimKeyShape,
    DkimShape,
    DocumentShape,
    DsnShape,
    LoginShape,
    OAuth2Shape,
    OtpShape,
    PrivateKeyShape,
    Shape,
    TemplateShape,
    TlsShape,
    key_names,
)
from smtpconnector_server.config.templates import REQUIRED

# Any: JSON Schema.
Schema = dict[str, Any]

_SHAPE_REFERENCE: Final = re.compile(r'(#/\$defs/\w+)Shape"')
_OFF: Final[Schema] = {"enum": [None, False, 0, ""]}
_TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_NOTHING: Final[Schema] = {"anyOf": [{"enum": [None, ""]}, {"type": "array", "items": {"const": ""}}]}
_OAUTH2_KEYS: Final = ("serviceClient", "privateKey", "clientId", "clientSecret", "refreshToken", "accessToken")


@functools.cache
def config_schema() -> Schema:
    """Return the schema. It is shared: do not change it."""
    definitions = {
        _name(shape): _shape_schema(shape)
        for shape in (
            LoginShape,
            OAuth2Shape,
            PrivateKeyShape,
            TlsShape,
            ClientKeyShape,
            TemplateShape,
            DsnShape,
            OtpShape,
            DkimKeyShape,
            DkimShape,
        )
    }
    _add_rules(definitions)
    document = _shape_schema(DocumentShape)
    for key in keys():
        document["properties"][key.name]["description"] = key.description["en"]
        if key.deprecated:
            document["properties"][key.name]["deprecated"] = True
    _describe_members(definitions)
    properties = document["properties"]
    properties["auth"] |= {"anyOf": [_auth_schema(), {"type": "null"}]}
    properties["templates"]["anyOf"][0]["allOf"] = [
        {"contains": _having("usageType", {"const": usage_type})} for usage_type in REQUIRED
    ]
    properties["customHeaders"]["anyOf"][0]["propertyNames"] = {"pattern": "^[A-Za-z0-9-]{1,64}$"}
    properties["authMethod"] |= _method_schema(*LoginMechanism, *TokenMechanism)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "SMTP connector configuration",
        **document,
        "allOf": [
            {"anyOf": [_having("host", _TEXT), _having("service", _TEXT)]},
            _having("fromEmail", _TEXT),
            _having("templates", {"type": "array"}),
            {"anyOf": [_having("auth", {"type": "object"}), _having_both("username", "password")]},
            _not_both("requireTLS", "ignoreTLS"),
            _not_both("secure", "ignoreTLS"),
        ],
        "$defs": definitions,
    }


def _shape_schema(shape: type[Shape]) -> Schema:
    text = json.dumps(shape.model_json_schema(by_alias=True, ref_template="#/$defs/{model}"))
    schema: Schema = json.loads(_SHAPE_REFERENCE.sub(r'\1"', text))
    schema.pop("$defs", None)
    schema.pop("description", None)
    _drop(schema, "title", "default")
    schema["properties"] |= {name: _OFF for name, option in UNUSED.get(shape, {}).items() if option.is_refused}
    return schema


def _name(shape: type[Shape]) -> str:
    return shape.__name__.removesuffix("Shape")


def _add_rules(definitions: dict[str, Schema]) -> None:
    login, oauth2, template = definitions["Login"], definitions["OAuth2"], definitions["Template"]
    login["properties"]["method"] |= _method_schema(*LoginMechanism)
    login["anyOf"] = [
        {"allOf": [_having("user", _TEXT), _having("pass", _TEXT)]},
        {"allOf": [_lacking("user"), _lacking("pass")]},
    ]
    # As strict as Logto's guard: a login that says so, or has no user, may hold nothing else.
    login["if"] = {"anyOf": [_having("type", {"type": "string"}), _lacking("user")]}
    login["then"] = {"propertyNames": {"enum": key_names(LoginShape)}}
    oauth2["properties"]["method"] |= _method_schema(*TokenMechanism)
    oauth2["allOf"] = [_having("user", _TEXT), _grant_schema()]
    definitions["PrivateKey"]["allOf"] = [_having("key", _TEXT)]
    definitions["ClientKey"]["allOf"] = [_having("pem", _TEXT)]
    tls = definitions["Tls"]
    tls["anyOf"] = [
        {"allOf": [{"not": _lacking("cert")}, {"not": _lacking("key")}]},
        {"allOf": [_lacking("cert"), _lacking("key")]},
    ]
    key, dkim = definitions["DkimKey"], definitions["Dkim"]
    key["allOf"] = [*_having_both("domainName", "keySelector")["allOf"], _having("privateKey", {"not": _NOTHING})]
    dkim["anyOf"] = [
        _having("keys", {"anyOf": [{"type": "object"}, {"type": "array", "minItems": 1}]}),
        {"allOf": key["allOf"]},
        {"allOf": [_lacking("domainName"), _lacking("keySelector"), _lacking("privateKey")]},
    ]
    dkim["properties"]["hashAlgo"] |= {"pattern": f"^({_any_case('sha256')})?$"}
    template["allOf"] = [
        _having("usageType", _TEXT),
        _having("contentType", {"type": "string"}),
        _having("subject", {"type": "string"}),
        _having("content", {"type": "string"}),
    ]


def _auth_schema() -> Schema:
    """Tell the arms of the union apart as ``auth_union`` does."""
    any_oauth2_key = {"anyOf": [_having(key, {"not": {"enum": [None, ""]}}) for key in _OAUTH2_KEYS]}
    is_oauth2 = {
        "anyOf": [
            _having("type", {"enum": ["oauth2", "OAuth2", "OAUTH2"]}),
            {"allOf": [_empty("type"), _empty("pass"), any_oauth2_key]},
        ]
    }
    return {
        "type": "object",
        "if": is_oauth2,
        "then": {"$ref": "#/$defs/OAuth2"},
        "else": {"$ref": "#/$defs/Login"},
    }


def _grant_schema() -> Schema:
    """Require what the grant that the keys ask for needs."""
    service_account = {"anyOf": [_having("serviceClient", _TEXT), _having("privateKey", {"not": _NOTHING})]}
    scope_is_known = _having(
        "accessUrl", {"pattern": f"^https://{_any_case(re.escape(MICROSOFT_LOGIN))}(:[0-9]*)?(/|$)"}
    )
    client_credentials = {
        "allOf": [
            _having_both("clientId", "accessUrl"),
            _having("clientSecret", _TEXT),
            {"anyOf": [_having("scope", _TEXT), scope_is_known]},
        ]
    }
    return {
        "if": service_account,
        "then": {"allOf": [_having("serviceClient", _TEXT), _having("privateKey", {"not": _NOTHING})]},
        "else": {
            "if": _having("refreshToken", _TEXT),
            "then": _having("clientId", _TEXT),
            "else": {"anyOf": [_having("accessToken", _TEXT), client_credentials]},
        },
    }


def _describe_members(definitions: dict[str, Schema]) -> None:
    for key in keys():
        for shape in MEMBER_SHAPES.get(key.name, ()):
            properties = definitions[_name(shape)]["properties"]
            for member in key_names(shape):
                properties[member] = {**properties[member], "description": key.members[member]}


def _method_schema(*mechanisms: LoginMechanism | TokenMechanism) -> Schema:
    names = "|".join(_any_case(mechanism.value) for mechanism in mechanisms)
    return {"pattern": rf"^\s*({names})?\s*$"}


def _any_case(pattern: str) -> str:
    """JSON Schema's patterns have no flags."""
    return re.sub(r"[A-Za-z]", lambda letter: f"[{letter[0].upper()}{letter[0].lower()}]", pattern)


def _having(key: str, schema: Schema) -> Schema:
    return {"required": [key], "properties": {key: schema}}


def _having_both(first: str, second: str) -> Schema:
    return {"allOf": [_having(first, _TEXT), _having(second, _TEXT)]}


def _lacking(key: str) -> Schema:
    return {"properties": {key: _NOTHING}}


def _empty(key: str) -> Schema:
    return {"properties": {key: {"enum": [None, ""]}}}


def _not_both(first: str, second: str) -> Schema:
    return {"not": {"required": [first, second], "properties": {first: {"const": True}, second: {"const": True}}}}


def _drop(schema: Any, *keywords: str) -> None:  # noqa: ANN401 - any part of a schema
    """Remove keywords that pydantic writes and no one needs."""
    if isinstance(schema, list):
        for item in schema:
            _drop(item, *keywords)
    elif isinstance(schema, dict):
        for keyword in keywords:
            if not isinstance(schema.get(keyword), dict):  # a property may have that name
                schema.pop(keyword, None)
        for item in schema.values():
            _drop(item, *keywords)
