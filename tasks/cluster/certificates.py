"""Certificates by which the scheduler, the workers and the runs of a cluster know each other.

Who has none of the cluster's own authority is refused before a word is read: Dask unpickles what it
is sent. Encrypting and checking is Dask's business; here is what it is configured with.
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dask
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from meldflow.models.files import write_atomically
from meldflow.models.schema.errors import UsageError

TRUSTED, AUTHORITY, NODE = "ca.pem", "ca-key.pem", "node.pem"
"""What everybody trusts; the authority with its key, which only signs; the certificate with its
key that everybody shows. The first and the last are what other machines need."""

LIFE = timedelta(days=365)
"""How long a certificate is valid; the authority lives ten times as long."""

Key = ec.EllipticCurvePrivateKey


def make(folder: Path) -> datetime:
    """Signs a certificate with a new key, and makes the authority for it where there is none.

    What runs goes on by the one that it has, and understands whoever comes with the new one.

    Returns:
        The time until which it is valid.

    Raises:
        UsageError: the folder cannot be written, or holds no authority but something else.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / AUTHORITY).exists():
            key = ec.generate_private_key(ec.SECP256R1())
            authority = _signed("meldflow authority", key, key)
            _keep(folder / AUTHORITY, authority, key)
            write_atomically(folder / TRUSTED, authority.public_bytes(Encoding.PEM))
        authority, key = _read(folder / AUTHORITY), ec.generate_private_key(ec.SECP256R1())
        signer: Any = load_pem_private_key((folder / AUTHORITY).read_bytes(), None)
        made = _signed("meldflow", key, signer, authority)
        _keep(folder / NODE, made, key)
    except OSError as error:
        raise UsageError(f"certificates {folder}: cannot be written ({error.strerror})") from error
    return made.not_valid_after_utc


def tls(folder: Path) -> dict[str, Any]:
    """Dask's configuration: everybody shows the certificate in a folder, and asks for one."""
    shown = {
        f"distributed.comm.tls.{role}.{part}": str(folder / NODE)
        for role in ("scheduler", "worker", "client")
        for part in ("cert", "key")
    }
    trusted = {"distributed.comm.tls.ca-file": str(folder / TRUSTED)}
    return {"distributed.comm.require-encryption": True} | trusted | shown


@contextlib.contextmanager
def trusting(folder: Path | None) -> Iterator[None]:
    """Has what this process opens of Dask use a folder's certificates; without one, nothing.

    Raises:
        UsageError: there are none, or their time is over.
    """
    if folder is None:
        yield
        return
    folder = folder.expanduser().absolute()
    until = _read(folder / NODE).not_valid_after_utc
    if until < datetime.now(UTC):
        raise UsageError(
            f"certificates {folder}: valid until {until:%Y-%m-%d}; `meldflow certificates {folder} "
            "--rotate` renews them: copy them to whoever takes part"
        )
    with dask.config.set(tls(folder)):
        yield


def _signed(
    name: str, key: Key, signer: Key, authority: x509.Certificate | None = None
) -> x509.Certificate:
    """A certificate of that name; without an authority, of one."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=authority.subject if authority else subject,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1),  # the clocks of nodes differ
        not_valid_after=now + LIFE * (1 if authority else 10),
    )
    basics = x509.BasicConstraints(ca=authority is None, path_length=None)
    return builder.add_extension(basics, critical=True).sign(signer, SHA256())


def _keep(file: Path, certificate: x509.Certificate, key: Key) -> None:
    """In one file, so that nobody finds one without the other, and for its owner alone."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomically(file, certificate.public_bytes(Encoding.PEM) + private, mode=0o600)


def _read(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no certificate"
        raise UsageError(
            f"certificates {file}: {why}; `meldflow certificates` makes them"
        ) from error
