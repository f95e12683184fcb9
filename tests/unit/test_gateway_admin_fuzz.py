"""The admin API against its own description: whatever is sent, it answers as it says it does."""

from __future__ import annotations

from itertools import count
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings

from tests.fixtures.administration import KEY, NOW, Admin

# What a JSON Schema cannot say: rates of currencies, dates that conflict, shares that a strategy needs.
_BETWEEN_FIELDS = [200, 201, 204, 400, 404, 409, 412]
_CONFIG = schemathesis.Config.from_dict(
    {
        "checks": {
            "positive_data_acceptance": {"expected-statuses": [200, 201, 204, 404, 409, 412]},
            "negative_data_rejection": {"expected-statuses": [400, 401, 404, 405, 409, 412, 413]},
        },
        "operations": [
            {
                "include-method": "PUT",
                "include-path": path,
                "checks": {"positive_data_acceptance": {"expected-statuses": _BETWEEN_FIELDS}},
            }
            for path in ("/budgets/{name}", "/prices/{name}", "/routes/{name}")
        ],
    }
)


class Hurried(Admin):
    """A gateway whose clock goes on by a minute whenever it is read, so that nobody fails too often."""

    _times = count(NOW, 60_000_000)

    @property
    def now(self) -> int:
        return next(self._times)

    @now.setter
    def now(self, _: int) -> None:
        pass


schema = schemathesis.openapi.from_asgi("/admin/openapi.json", Hurried().app, config=_CONFIG)


@schema.auth()
class AdminKey:
    def get(self, case: schemathesis.Case, context: Any) -> str:
        del case, context
        return KEY

    def set(self, case: schemathesis.Case, data: str, context: Any) -> None:
        del context
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_the_admin_api_keeps_to_its_description(case: schemathesis.Case) -> None:
    case.call_and_validate()
