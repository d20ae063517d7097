"""The parameter server of OSDI'14: ``from sparklab import ps``.

Source: Li et al., "Scaling Distributed Machine Learning with the Parameter Server", OSDI 2014.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparklab import lazy

if TYPE_CHECKING:
    from sparklab.cluster.ps.server import ParameterServer
    from sparklab.ps.consistency import ASP, BSP, SSP
    from sparklab.ps.directory import describe, sessions
    from sparklab.ps.filters import KKT, Compression, Filter, FixedPoint, KeyCaching, SignificantlyModified
    from sparklab.ps.functions import RangeFunction
    from sparklab.ps.group import GroupWorker, TableGroup
    from sparklab.ps.keys import KeyRange, KeySet
    from sparklab.ps.local import LocalGroup
    from sparklab.ps.table import Table
    from sparklab.ps.updates import SGD, AdaGrad, Adam, Add, Assign, FTRLProximal, ProximalGradient, udf
    from sparklab.ps.worker import Worker

_HOMES = {
    "ASP": ".consistency", "BSP": ".consistency", "SSP": ".consistency",
    "describe": ".directory", "sessions": ".directory",
    "Compression": ".filters",
    "Filter": ".filters",
    "FixedPoint": ".filters",
    "KKT": ".filters",
    "KeyCaching": ".filters",
    "SignificantlyModified": ".filters",
    "ParameterServer": "sparklab.cluster.ps.server",
    "RangeFunction": ".functions",
    "GroupWorker": ".group", "TableGroup": ".group",
    "KeyRange": ".keys", "KeySet": ".keys",
    "LocalGroup": ".local",
    "Table": ".table",
    "Worker": ".worker",
    "SGD": ".updates", "Adam": ".updates", "AdaGrad": ".updates", "Add": ".updates", "Assign": ".updates",
    "FTRLProximal": ".updates", "ProximalGradient": ".updates", "udf": ".updates",
}  # fmt: skip

__all__ = [
    "ASP",
    "BSP",
    "KKT",
    "SGD",
    "SSP",
    "AdaGrad",
    "Adam",
    "Add",
    "Assign",
    "Compression",
    "FTRLProximal",
    "Filter",
    "FixedPoint",
    "GroupWorker",
    "KeyCaching",
    "KeyRange",
    "KeySet",
    "LocalGroup",
    "ParameterServer",
    "ProximalGradient",
    "RangeFunction",
    "SignificantlyModified",
    "Table",
    "TableGroup",
    "Worker",
    "describe",
    "sessions",
    "udf",
]

# NumPy and Numba are loaded by what needs them.
__getattr__ = lazy.names(__name__, _HOMES)
