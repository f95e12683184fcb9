"""The variables that readers narrow dashboards by."""

from __future__ import annotations

from dashboards.panel import Variable

__all__ = ["ALL", "CLUSTER", "ENVIRONMENT", "MODEL", "PROJECT", "TEAM"]


def _variable(name: str, label: str, description: str) -> Variable:
    return Variable(
        name=name,
        label=label,
        description=description,
        sql=f"SELECT DISTINCT {name} FROM cost_window WHERE window_seconds = 86400 AND {name} != '' "
        f"AND window_start >= toStartOfDay($__fromTime) AND window_start <= $__toTime ORDER BY {name}",
    )


TEAM = _variable("team", "Team", "Only the spend of these teams")
PROJECT = _variable("project", "Project", "Only the spend of these projects")
ENVIRONMENT = _variable("environment", "Environment", "Only spend in these environments")
MODEL = _variable("model", "Model", "Only calls of these models; Kubernetes is not narrowed by it")
CLUSTER = _variable("cluster", "Cluster", "Only these clusters; calls of models are not narrowed by it")
ALL = (TEAM, PROJECT, ENVIRONMENT, MODEL, CLUSTER)
