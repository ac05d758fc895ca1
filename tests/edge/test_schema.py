"""The API's documentation is generated, whole, and what is served."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from rest_framework.utils.encoders import JSONEncoder

PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    made = SchemaGenerator().get_schema(request=None, public=True)
    return json.loads(json.dumps(made, cls=JSONEncoder))


def operations(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{m} {path}": found for path, methods in schema["paths"].items() for m, found in methods.items()}


def test_it_is_generated_without_a_warning_and_valid():
    call_command("spectacular", validate=True, fail_on_warn=True, stdout=StringIO())


def test_it_is_what_is_served(schema, db):
    answer = Client().get("/api/v1/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})
    assert json.loads(answer.content) == schema


def test_every_operation_says_what_it_takes_and_answers(schema):
    for name, operation in operations(schema).items():
        assert operation["description"], name
        for status, answer in operation["responses"].items():
            assert answer["description"] or status.startswith("2"), name
            if status.startswith("2"):
                shapes = [content["schema"] for content in answer.get("content", {}).values()]
                assert status == "204" or (shapes and all("$ref" in shape for shape in shapes)), name
            else:
                assert answer["content"] == PROBLEM, name
        assert {"400", "401", "503"} <= set(operation["responses"]), name
        assert ("404" in operation["responses"]) or "{" not in name, name
        assert {"token": []} in operation["security"], name
        if name.startswith("post"):
            assert "$ref" in operation["requestBody"]["content"]["application/json"]["schema"], name
            assert "Idempotency-Key" in [parameter["name"] for parameter in operation["parameters"]], name


def test_no_shape_in_it_is_left_open(schema):
    """Free are the figures of a reason, and the members that a problem may have besides."""
    for name, shape in schema["components"]["schemas"].items():
        if name.endswith("Request"):
            assert shape["additionalProperties"] is False, name
        if shape.get("type") == "object":
            for field, found in shape.get("properties", {}).items():
                assert {"type", "$ref", "allOf", "oneOf"} & set(found), (name, field)
