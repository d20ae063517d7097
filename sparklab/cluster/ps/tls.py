"""TLS contexts from the certificate and key that the Dask cluster uses."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path


def context(pem: dict[str, str], *, server: bool) -> ssl.SSLContext:
    """Both sides show a certificate that the authority signed; TLS 1.3. `pem` has ``cert``, ``key`` and ``ca``."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False  # one certificate for the whole cluster, as with Dask's own connections
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=pem["ca"])
    with tempfile.TemporaryDirectory(prefix="sparklab-tls-") as own:  # OpenSSL reads keys from files alone
        path = Path(own) / "pem"
        path.touch(mode=0o600)
        path.write_text(pem["cert"] + "\n" + pem["key"])
        made.load_cert_chain(path)
    return made
