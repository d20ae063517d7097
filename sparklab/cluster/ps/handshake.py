"""Who is at the other end: both sides show that they hold the session's secret before anything else is read.

The server sends magic, version and a nonce; the client answers with a nonce of its own, its role, its number, and the
HMAC of all that; the server answers with the HMAC of the client's nonce. Lengths are fixed, comparisons take constant
time.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass, field
from typing import Final

from sparklab.cluster.ps.wire import PROTOCOL
from sparklab.errors import ParameterServerError

_GREETING: Final = struct.Struct("<4sH16s")
_ANSWER: Final = struct.Struct("<16sBq32s")
_MAGIC: Final = b"SLPS"
GREETING_BYTES: Final = _GREETING.size
ANSWER_BYTES: Final = _ANSWER.size
PROOF_BYTES: Final = 32

CLIENT, SERVER, MANAGER_ROLE = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a session's processes know. Workers get `work` alone; `control` opens what may carry pickles."""

    work: bytes = field(repr=False)
    control: bytes | None = field(repr=False, default=None)

    def of(self, role: int) -> bytes | None:
        """The secret that this role has to show."""
        return self.work if role == CLIENT else self.control


def new_secrets() -> Secrets:
    """Secrets that no other session has."""
    return Secrets(secrets.token_bytes(32), secrets.token_bytes(32))


def greeting() -> tuple[bytes, bytes]:
    """What a server says first, and the nonce in it."""
    nonce = secrets.token_bytes(16)
    return _GREETING.pack(_MAGIC, PROTOCOL, nonce), nonce


def answer(greeted: bytes, role: int, number: int, known: Secrets) -> tuple[bytes, bytes]:
    """What a client answers, and the proof that the server then has to give.

    Raises
    ------
    ParameterServerError
        The other side is no server, or one of another version.
    """
    magic, version, nonce = _GREETING.unpack(greeted)
    if magic != _MAGIC or version != PROTOCOL:
        raise ParameterServerError(
            "connecting to a parameter server",
            f"protocol {version}, not {PROTOCOL}" if magic == _MAGIC else "no parameter server",
            "run the same version of sparklab on all machines",
        )
    secret = known.of(role)
    assert secret is not None
    own = secrets.token_bytes(16)
    proof = _mac(secret, b"client", nonce, own, role, number)
    return _ANSWER.pack(own, role, number, proof), _mac(secret, b"server", own, nonce, role, number)


def check(answered: bytes, nonce: bytes, known: Secrets) -> tuple[int, int, bytes] | None:
    """Role and number of who answered, and the proof for it; None where the secret is not the session's."""
    own, role, number, proof = _ANSWER.unpack(answered)
    secret = known.of(role) if role in (CLIENT, SERVER, MANAGER_ROLE) else None
    expected = _mac(secret or bytes(32), b"client", nonce, own, role, number)
    if not hmac.compare_digest(proof, expected) or secret is None:
        return None
    return role, number, _mac(secret, b"server", own, nonce, role, number)


def same(proof: bytes, expected: bytes) -> bool:
    """Whether the server's proof is right; takes constant time."""
    return hmac.compare_digest(proof, expected)


def _mac(secret: bytes, side: bytes, first: bytes, second: bytes, role: int, number: int) -> bytes:
    text = side + first + second + struct.pack("<Bq", role, number)
    return hmac.new(secret, text, hashlib.sha256).digest()
