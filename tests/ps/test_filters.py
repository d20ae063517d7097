"""Filters: lossless ones are the identity, lossy ones say their error, all of them keep the clocks right."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparklab import ps
from sparklab.errors import ParameterServerError
from sparklab.ps.filterchain import FilterChain
from sparklab.ps.filters import KeyMissError
from sparklab.ps.frames import Frame, Kind
from sparklab.ps.keys import digest

KEYS = st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=200).map(
    lambda keys: np.array(sorted(keys), np.uint64)
)
LOSSLESS = [
    [ps.KeyCaching()],
    [ps.Compression("lz4", 0)],
    [ps.Compression("snappy", 0)],
    [ps.KeyCaching(), ps.Compression("lz4", 0)],
    [ps.KeyCaching(2), ps.Compression("snappy", 0), ps.Compression("lz4", 0)],
]


@pytest.mark.parametrize("filters", LOSSLESS)
@given(data=st.data())
def test_lossless_filters_are_the_identity(filters: list[ps.Filter], data: Any) -> None:
    here, there = FilterChain(filters, own=True), FilterChain(filters)
    for seq in range(1, 4):
        keys = data.draw(KEYS)
        width = data.draw(st.integers(1, 3))
        dtype = data.draw(st.sampled_from([np.float32, np.float64]))
        values = data.draw(hnp.arrays(dtype, (len(keys), width)))
        kept, same, notes = here.select(keys, values)
        assert kept is keys
        assert same is values
        for again in range(3):
            frame = Frame(Kind.PUSH, seq=10 * seq + again, keys=keys, values=values)
            here.encode(frame, "server", notes)
            there.decode(frame, "client")
            here.confirmed("server", frame.seq)
            assert frame.keys.tobytes() == keys.tobytes()
            assert frame.values is not None
            assert frame.values.tobytes() == values.tobytes()
            assert frame.values.shape == values.shape


@pytest.mark.parametrize("codec", ["lz4", "snappy"])
def test_zeros_travel_compressed_and_noise_as_it_is(codec: str) -> None:
    """Source: Li et al. 2014, section 4.2."""
    compression, noise = ps.Compression(codec), np.random.default_rng(0).integers(0, 2**64, (2, 1000), np.uint64)
    zeros = Frame(Kind.PUSH, keys=np.arange(1000, dtype=np.uint64), values=np.zeros((1000, 1)))
    assert compression.encode(zeros, {}, {}) is not None
    assert zeros.values is not None
    assert zeros.keys.nbytes + zeros.values.nbytes < 0.1 * 16_000
    random = Frame(Kind.PUSH, keys=np.sort(noise[0]), values=noise[1].view(np.float64).reshape(-1, 1))
    assert compression.encode(random, {}, {}) is None
    assert random.values is not None
    assert random.keys.nbytes + random.values.nbytes == 16_000


def test_known_keys_travel_as_their_digest_and_a_miss_is_said() -> None:
    here, there = FilterChain([ps.KeyCaching()], own=True), FilterChain([ps.KeyCaching()])
    keys = np.arange(1000, dtype=np.uint64)
    sizes = []
    for seq in range(3):
        frame = Frame(Kind.PULL, seq=seq, keys=keys)
        here.encode(frame, 0, {})
        sizes.append(len(frame.keys))
        there.decode(frame, "c")
        assert len(frame.keys) == 1000
        here.confirmed(0, seq)
    assert sizes == [1000, 0, 0]
    frame = Frame(Kind.PULL, seq=9, keys=keys)
    here.encode(frame, 0, {})
    with pytest.raises(KeyMissError):
        there.decode(frame, "somebody else")


def test_keys_that_come_again_are_hashed_once_and_other_keys_are_not_taken_for_them() -> None:
    caching, peer = ps.KeyCaching(), {}
    names = []
    for _ in range(100):  # arrays come and go, some where another was
        keys = np.arange(len(names), 10_000, dtype=np.uint64)
        for _ in range(2):
            names.append(caching.encode(Frame(Kind.PULL, keys=keys), peer, {}))
            assert names[-1] == digest(keys).hex()
        del keys
    assert len(set(names)) == 100
    assert len(peer["digests"]) <= 64


def test_what_is_not_significantly_modified_comes_later_and_nothing_is_lost() -> None:
    chain = FilterChain([ps.SignificantlyModified(1.0)], own=True)
    keys = np.arange(4, dtype=np.uint64)
    total = np.zeros(4)
    sent = np.zeros(4)
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.normal(size=(4, 1)) * [[0.01], [0.3], [1.0], [5.0]]
        total += values[:, 0]
        kept, changes, _ = chain.select(keys, values)
        sent[kept.astype(int)] += changes[:, 0]
    facts = chain.facts()["significantly_modified"]
    assert np.abs(total - sent).max() <= 1.0 + 1e-9
    assert facts["largest_held_back"] == pytest.approx(np.abs(total - sent).max())
    assert facts["sent"] < facts["seen"]


@pytest.mark.parametrize("bits", [8, 16])
def test_fixed_point_with_error_feedback_adds_up_to_what_was_pushed(bits: int) -> None:
    here, there = FilterChain([ps.FixedPoint(bits)], own=True), FilterChain([ps.FixedPoint(bits)])
    keys = np.arange(100, dtype=np.uint64)
    rng = np.random.default_rng(1)
    total = np.zeros((100, 1))
    got = np.zeros((100, 1))
    for _ in range(200):
        values = rng.normal(size=(100, 1))
        total += values
        kept, said, notes = here.select(keys, values)
        frame = Frame(Kind.PUSH, keys=kept, values=said)
        here.encode(frame, 0, notes)
        assert frame.values is not None
        assert frame.values.nbytes == 100 * bits // 8
        there.decode(frame, 1)
        got += frame.values
    one_step = 5.0 / (2 ** (bits - 1) - 1)
    assert np.abs(total - got).max() <= one_step
    assert 0 < here.facts()["fixed_point"]["relative_error"] < one_step


def test_kkt_leaves_out_what_stays_zero_and_nothing_else() -> None:
    chain = FilterChain([ps.KKT(l1=1.0, delta=0.1)], own=True)
    keys = np.arange(4, dtype=np.uint64)
    gradients = np.array([[0.5], [0.5], [0.95], [2.0]])
    assert len(chain.select(keys, gradients)[0]) == 4, "nothing is known before the first pull"
    chain.heard(keys, np.array([[0.0], [3.0], [0.0], [0.0]]))
    assert chain.select(keys, gradients)[0].tolist() == [1, 2, 3]
    assert chain.select(keys[1:], gradients[1:])[0].tolist() == [1, 2, 3]


def all_filters() -> list[ps.Filter]:
    return [ps.SignificantlyModified(1e-3), ps.FixedPoint(16), ps.KeyCaching(), ps.Compression()]


@pytest.mark.parametrize("replicas", [0, 1])
def test_clocks_advance_and_lags_stay_bounded_under_all_filters(replicas: int) -> None:
    with ps.LocalGroup(num_servers=2, replicas=replicas) as group:
        table = group.table(
            "w", num_keys=500, update=ps.SGD(lr=0.1), workers=2, consistency=ps.SSP(1), filters=all_filters()
        )
        target = np.linspace(-1, 1, 500, dtype=np.float32)
        facts: list[Any] = []

        def work(rank: int) -> None:
            keys = np.arange(rank, 500, 2, dtype=np.uint64)
            with table.worker(rank) as w:
                for clock in range(60):
                    w.push(keys, w.get(keys) - target[keys.astype(int)])
                    w.clock()
                    if rank == 0 and clock == 20 and replicas:
                        group.kill_server(0)
                facts.append(w.facts())

        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert np.abs(table.weights() - target).max() < 0.02
        assert max(table.facts()["lags"]) <= 1
        caching = facts[0]["filters"]["key_caching"]
        assert caching["bytes_after"] < caching["bytes_before"]


def test_a_push_whose_keys_the_server_forgot_counts_before_its_tick() -> None:
    with ps.LocalGroup(num_servers=1) as group:
        table = group.table("w", num_keys=100, update=ps.Add(), workers=1, filters=[ps.KeyCaching()])
        keys = np.arange(100)
        with table.worker(0) as w:
            for clock in range(6):
                if clock == 3:
                    for shard in group._shards.values():
                        shard.tables[0].filters.forget_all()
                w.push(keys, np.ones(100))
                w.clock()
                assert (w.get([1, 2, 3]) == clock + 1).all()
            assert w.facts()["resent"] > 0
        assert (table.weights() == 6).all()


def test_a_filter_of_the_users_own_runs_at_both_ends() -> None:
    class Halves(ps.Filter):
        name, lossless = "halves", False

        def encode(self, frame: Frame, peer: dict[str, Any], notes: dict[str, Any]) -> Any:
            if frame.values is None:
                return None
            frame.values = frame.values.astype(np.float32)
            return []

        def decode(self, frame: Frame, config: Any, peer: dict[str, Any]) -> None:
            assert frame.values is not None
            frame.values = frame.values.astype(np.float64)

    with ps.LocalGroup(num_servers=2) as group:
        table = group.table("w", num_keys=10, dtype="float64", update=ps.Add(), workers=1, filters=[Halves()])
        with table.worker(0) as w:
            w.push([1, 9], [1 / 3, 2.0])
            w.clock()
            assert w.get([1, 9]).tolist() == [float(np.float32(1 / 3)), 2.0]
            assert w.facts()["filters"]["halves"]["bytes_after"] < w.facts()["filters"]["halves"]["bytes_before"]


class Needs(ps.Filter):
    """A filter that needs a module which only some have: `servers` or `workers`, to `decode` or to `encode`."""

    name = "needs"

    def __init__(self, who: str, what: str, here: str = "servers") -> None:
        self.who, self.what, self.here = who, what, here

    def fresh(self) -> Needs:
        return Needs(self.who, self.what, "workers")

    def lacks(self, what: str) -> None:
        if (self.who, self.what) == (self.here, what):
            raise ModuleNotFoundError("No module named 'zstd'")

    def encode(self, frame: Frame, peer: dict[str, Any], notes: dict[str, Any]) -> Any:
        self.lacks("encode")
        if frame.values is None:
            return None
        frame.values = -frame.values
        return []

    def decode(self, frame: Frame, config: Any, peer: dict[str, Any]) -> None:
        self.lacks("decode")
        assert frame.values is not None
        frame.values = -frame.values


@pytest.mark.parametrize("what", ["encode", "decode"])
@pytest.mark.parametrize("who", ["servers", "workers"])
@pytest.mark.parametrize("replicas", [0, 1])
def test_a_filter_that_one_side_cannot_load_is_left_out_between_the_two(who: str, what: str, replicas: int) -> None:
    filters = [ps.KeyCaching(), Needs(who, what), ps.Compression("lz4", 0)]
    with ps.LocalGroup(num_servers=2, replicas=replicas) as group:
        table = group.table("w", num_keys=500, update=ps.Add(), workers=1, filters=filters)
        keys = np.arange(500)
        with table.worker(0) as w:
            again = []
            for clock in range(1, 6):
                w.push(keys, np.ones(500))
                w.clock()
                assert (w.get(keys) == clock).all()
                again.append(w.facts()["resent"])
            assert again[-1] == again[1] <= 4  # said once, heeded from then on
        assert (table.weights() == 5).all()


def test_nothing_is_kept_of_a_peer_that_is_gone() -> None:
    class Connection:
        """A peer that can be referred to weakly."""

    chain, peer = FilterChain([ps.KeyCaching(), Needs("workers", "decode")]), Connection()
    chain.decode(Frame(Kind.PUSH, keys=np.arange(9, dtype=np.uint64), meta={"filters": [], "without": [1]}), peer)
    chain.missed(peer, {"lacks": 0})
    gone = weakref.ref(peer)
    chain.forget(peer)
    del peer

    assert gone() is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: ps.Compression("zip"),
        lambda: ps.FixedPoint(7),
        lambda: ps.KKT(-1.0),
        lambda: ps.KKT("much"),  # type: ignore[arg-type]
        lambda: ps.SignificantlyModified("much"),  # type: ignore[arg-type]
        lambda: ps.SignificantlyModified(float("nan")),
    ],
)
def test_filters_refuse_parameters_that_make_no_sense(make: Any) -> None:
    with pytest.raises(ParameterServerError, match="making"):
        make()
