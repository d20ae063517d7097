"""A Run whose training goes on says the latest of it, and is in all else the Run that it was made from."""

from __future__ import annotations

import dataclasses
import pickle

from sparklab.events.lasting import LastingRun
from sparklab.events.learning import Trained
from sparklab.events.run import Run


def trained(status: str, run: int = 3) -> Trained:
    return Trained(run, "ps, sgd", status, 2, 7, 1_000, 0.5, 4, 1, 0.25)


def test_training_is_that_of_the_moment_and_what_is_forgotten_stays_as_it_was_last() -> None:
    now: list[tuple[Trained, ...]] = [()]
    run = LastingRun.of(Run(), lambda: now[0], "value")
    assert (run.training, run.value) == ((), "value")
    assert run.headline == "0 jobs: nothing has run (lazy)"
    now[0] = (trained("running"),)
    assert run.training == now[0]
    assert run.headline == "Training ps, sgd: running after 1,000 rows, loss 0.500, idle 25%, at most 1 ahead"
    now[0] = (trained("finished"),)
    assert "training 3" in repr(run)
    now[0] = (trained("running", 4),)
    assert run.training == (trained("finished"), trained("running", 4))


def test_a_lasting_run_equals_a_run_of_the_same_numbers_and_its_copies_stay_as_they_are() -> None:
    now = [(trained("running"),)]
    run = LastingRun.of(Run(tasks=2), lambda: now[0], None)
    plain = Run(tasks=2, training=now[0])
    assert run == plain
    assert plain == run
    assert run != Run(tasks=3, training=now[0])
    copies = pickle.loads(pickle.dumps(run)), dataclasses.replace(run, value=1)
    now[0] = (trained("finished"),)
    assert [copy.training[0].status for copy in copies] == ["running", "running"]
    assert run.training[0].status == "finished"
