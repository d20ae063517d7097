"""Random seeds for as long as one likes: ``python -m tests.ps.soak SECONDS [FIRST_SEED]``.

A seed says how bad the network is, how many servers there are, which of them die, come, leave or are cut off, and which
workers join or are succeeded, and when. Whatever happens, :func:`tests.ps.test_under_failures.check` holds in the end.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable

from sparklab.ps.frames import MANAGER
from tests.ps.network import BAD, CALM, Network, Weather
from tests.ps.test_under_failures import MODES, WORKERS, build, program, run

WEATHERS = (BAD, BAD, CALM, Weather(delay_s=0.02), Weather(0.15, 0.1, 0.2, in_order=False))
EVENTS = ("kill", "kill", "add", "remove", "cut", "tau", "join", *("split",) * 3, *("merge",) * 3)
# A worker and its server may not both die at once.
PEACEFUL = ("add", "remove", "tau", "join", "succeed", "succeed", "split", "split", "merge")


def planned(seed: int) -> tuple[Network, int]:
    """The network of `seed`, with all that is going to happen in it; and its bound."""
    chance = random.Random(seed)
    aggregate, tau = chance.choice(MODES)
    replicas, servers = chance.choice([1, 1, 2]), chance.choice([3, 4])
    net = build(seed, chance.choice(WEATHERS), aggregate, tau, servers, replicas)
    numbers, ranks = iter(range(servers, 1000)), iter(range(WORKERS, 1000))
    bound = tau if tau >= 0 else None
    events = PEACEFUL if aggregate and chance.random() < 0.3 else EVENTS

    def survivable(server: int) -> bool:
        """Whether each range has a copy that stays without `server`; who is cut off from the manager counts as dead."""
        cut = {each for pair in net.cut for each in pair}
        left = set(net.manager._staying()) - cut - {server}
        return all(left & set(chain) for table in net.manager.layout.tables.values() for chain in table.chains)

    def happens(event: str) -> Callable[[], None]:
        def now() -> None:
            server = chance.choice(net.manager.layout.servers)
            staying = net.manager._staying()
            match event:
                case "kill" if survivable(server):
                    net.kill(server)
                case "add":
                    net.add_server(next(numbers))
                case "remove" if server in staying and len(staying) > replicas + 1 and survivable(server):
                    net.manage(lambda manager: manager.remove_server(server))
                case "cut" if survivable(server):
                    net.cut.add(frozenset((server, MANAGER)))
                case "split":
                    layout = net.manager.layout.tables[0]
                    range_id = chance.choice(layout.ids)
                    low, high = layout.interval(range_id)
                    net.manage(lambda manager: manager.split(0, range_id, (low + min(high, low + 200)) // 2))
                case "merge":
                    lefts = list(net.manager.layout.tables[0].ids)
                    chance.shuffle(lefts)
                    net.manage(lambda manager: any(manager.merge(0, left) for left in lefts))
                case "join":
                    rank = next(ranks)
                    net.player(rank, program(rank, bound, attaches=True))
                case "succeed":
                    dead = chance.choice(list(net.players.values()))
                    leaving = any(request.clock < 0 for request in dead.client._requests.values())
                    if not dead.finished and not leaving:
                        rank, incarnation = dead.client.client, dead.client.incarnation + 1
                        net.drop_player(dead)
                        exact = rank < WORKERS and tau == 0
                        net.player(rank, program(rank, bound, exact, attaches=True), incarnation)
                case "tau" if tau > 0:
                    net.manage(lambda manager: manager.set_tau(0, chance.randint(0, tau)))

        return now

    for _ in range(chance.randint(1, 8)):
        net.at_step[chance.randint(5, 900)] = happens(chance.choice(events))
    return net, tau


def main(seconds: float, seed: int) -> int:
    """Seeds from `seed` on, until the time is up; the number of those that failed."""
    end_s, first, failed = time.monotonic() + seconds, seed, 0
    while time.monotonic() < end_s:
        net, tau = planned(seed)
        try:
            run(net, tau)
        except Exception as error:
            failed += 1
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:2000]}", flush=True)
        seed += 1
    print(f"{seed - first} seeds from {first} on, {failed} failed", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0) else 0)
