"""One throw-away certificate for one cluster: whoever holds its key is inside, nobody else gets in."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

_LIFETIME_DAYS = 365


@dataclass(frozen=True, slots=True)
class Credentials:
    """A self-signed certificate and its key, in PEM; every process of one cluster presents and demands this one.

    They exist in memory and on pipes only, never in arguments, the environment or (longer than it takes to load
    them) in a file. The key does not appear in the representation.
    """

    certificate: str
    key: str = field(repr=False)
    tls: bool = True  # without, connections are neither encrypted nor authenticated

    @property
    def protocol(self) -> str:
        """What Dask calls the connections."""
        return "tls" if self.tls else "tcp"


def temporary_credentials(tls: bool = True) -> Credentials:
    """Fresh credentials that no other cluster shares; takes about 2 ms after the import of ``cryptography`` (50 ms).

    An elliptic-curve key, because generating an RSA key of 2,048 bits takes 10 to 80 ms, by luck.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sparklab-local-cluster")])
    now = datetime.datetime.now(tz=datetime.UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # a clock set back must not lock the cluster out
        .not_valid_after(now + datetime.timedelta(days=_LIFETIME_DAYS))
        # Python 3.13 verifies strictly: a certificate that is its own authority has to say so.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("sparklab-local-cluster")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Credentials(
        certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key=key.private_bytes(
            encoding=serialization.Encoding.PEM,
            format=serialization.PrivateFormat.PKCS8,
            encryption_algorithm=serialization.NoEncryption(),
        ).decode(),
        tls=tls,
    )
