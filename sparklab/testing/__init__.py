"""Faults on purpose: kill, stop, delay, drop, corrupt and a full disk, at a named step of a job's tasks.

>>> from sparklab.testing import inject, kill
>>> words = sc.parallelize("to be or not to be".split(), 3).map(lambda w: (w, 1))
>>> with inject(sc, kill("fetch")) as injection:
...     counts = dict(words.reduceByKey(lambda a, b: a + b).collect())
>>> counts["be"], [strike.action for strike in injection.strikes]
(2, ['kill'])
"""

from sparklab.steps import STEPS
from sparklab.testing.injection import Injection, Reached, Strike, inject
from sparklab.testing.schedule import Fault, corrupt, delay, disk_full, drop, kill, random_faults, stop

__all__ = [
    "STEPS",
    "Fault",
    "Injection",
    "Reached",
    "Strike",
    "corrupt",
    "delay",
    "disk_full",
    "drop",
    "inject",
    "kill",
    "random_faults",
    "stop",
]
