"""Certificates for serving with TLS: a CA of the emulator's own, or files that are given.

Clients trust `ca.pem`; the server shows `server.pem`. Both lie in one folder, with their keys, and stay the same as
long as the folder does. The names are those that clients of the cloud call, so that a client which is led here at its
default hosts is satisfied. Lifetimes are our choice: ten years for the CA, and for a server what the strictest clients
take, which refuse more than 398 days.

`cryptography` is an extra of the package, and imported when a certificate is asked for.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from .clock import Wall
from .errors import UsageError

EXTRA = "fm-emulator[tls]"
DEFAULT_PORT = 50053
CLOUD = ("api.cloud.yandex.net", "*.api.cloud.yandex.net", "*.api.yandexcloud.net", "*.yandexcloud.net")
"""The hosts that clients of the cloud call by default; a star is one label."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DAY = datetime.timedelta(days=1)
_CA_LASTS, _SERVER_LASTS, _LEFT = 3652 * _DAY, 397 * _DAY, 30 * _DAY


@dataclass(frozen=True)
class Identity:
    """What a server shows, in PEM, and the file that clients check it with: None where it is not for us to know."""

    certificate: bytes
    key: bytes
    ca: Path | None


def check_available() -> None:
    """Raise UsageError where `cryptography` is not installed."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise UsageError(f"tls: certificates need cryptography: pip install '{EXTRA}'") from None


def given(certificate: str, key: str) -> Identity:
    """The identity in two files of the operator's. Raises UsageError for files that are none, or don't go together."""
    check_available()
    chain, private = _certificates(Path(certificate), "tls_cert"), _private(Path(key), "tls_key")
    leaf = chain[0]
    if leaf.public_key() != private.public_key():
        raise UsageError(f"tls_key: {key} is not the key of {certificate}; give the two that were made together")
    if _ends(leaf) <= _now():
        raise UsageError(f"tls_cert: {certificate} expired on {_ends(leaf):%Y-%m-%d}; have it issued anew")
    own = chain[-1].issuer == chain[-1].subject
    return Identity(_pem(*chain), _pem_of_key(private), Path(certificate).absolute() if own else None)


def own(folder: Path, names: Iterable[str] = (), also: Iterable[str] = ()) -> Identity:
    """An identity for the loopback, the cloud's hosts, and `names`: what lies in `folder`, or is made there.

    A certificate that soon expires, or lacks a name, is issued anew by the CA that is there. Without the CA's key it
    can't be; then one that lacks only some of `also` will do. Raises UsageError for a folder or files that won't.
    """
    check_available()
    authority = _authority(folder)
    wanted = dict.fromkeys([*LOOPBACK, *CLOUD, *names])
    found = _found(folder, authority.certificate)
    if found is not None and _will_do(found, {*wanted, *also}):
        return found[1]
    if authority.key is not None:
        return _issued(folder, authority, dict.fromkeys([*wanted, *also]))
    if found is not None and _will_do(found, set(wanted), datetime.timedelta()):
        return found[1]
    there = (folder / "server.pem").exists()
    why = "lacks a name, has expired or does not go with its key and ca.pem" if there else "is missing"
    raise UsageError(
        f"tls_dir: server.pem in {folder} {why}, and there is no ca.key to issue one with; remove ca.pem, and all are "
        "made anew"
    )


# -- the CA


@dataclass(frozen=True)
class _Authority:
    certificate: Any
    key: Any
    """None where only the certificate is there."""


def _authority(folder: Path) -> _Authority:
    certificate, key = folder / "ca.pem", folder / "ca.key"
    _look_into(folder)
    if not key.exists() and not certificate.exists():
        _make_folder(folder)
        _make_authority(key)
    if not key.exists():
        return _Authority(_certificates(certificate, "tls_dir")[0], None)
    private = _private(key, "tls_dir")
    if not certificate.exists():  # the key's file has the certificate as well: two who begin at once share one CA
        _write(certificate, _pem(_certificates(key, "tls_dir")[0]), 0o644)
    authority = _certificates(certificate, "tls_dir")[0]
    if authority.public_key() != private.public_key():
        raise UsageError(f"tls_dir: {key} is not the key of ca.pem; remove both to have them made anew")
    if _ends(authority) <= _now():
        raise UsageError(f"tls_dir: {certificate} has expired; remove ca.pem and ca.key to have them made anew")
    return _Authority(authority, private)


def _make_authority(path: Path) -> None:
    from cryptography import x509

    key = _new_key()
    name = _name("fm-emulator CA")
    usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
    builder = (
        _begun(name, name, key.public_key(), _CA_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    _write(path, _pem_of_key(key) + _pem(_signed(builder, key)), 0o600, first=True)


# -- the server's certificate


def _found(folder: Path, authority: Any) -> tuple[Any, Identity] | None:
    """The server's certificate in `folder` if it is of this CA and its key is there."""
    from cryptography.exceptions import InvalidSignature

    certificate, key = folder / "server.pem", folder / "server.key"
    if not certificate.exists() or not key.exists():
        return None
    leaf, private = _certificates(certificate, "tls_dir")[0], _private(key, "tls_dir")
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return None
    if leaf.public_key() != private.public_key():
        return None
    return leaf, Identity(_pem(leaf), _pem_of_key(private), (folder / "ca.pem").absolute())


def _will_do(found: tuple[Any, Identity], names: set[str], left: datetime.timedelta = _LEFT) -> bool:
    from cryptography import x509

    leaf = found[0]
    if _ends(leaf) <= _now() + left:
        return False
    try:
        there = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return all(_general(name) in there for name in names)


def _issued(folder: Path, authority: _Authority, names: Iterable[str]) -> Identity:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = _new_key()
    usage = dict.fromkeys(_USAGES, False) | {"digital_signature": True}
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.certificate.public_key())
    builder = (
        _begun(_name("fm-emulator"), authority.certificate.subject, key.public_key(), _SERVER_LASTS)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
    )
    certificate = _signed(builder, authority.key)
    with contextlib.suppress(UsageError):  # kept where it can be; a folder that is mounted read-only will do
        _write(folder / "server.key", _pem_of_key(key), 0o600)
        _write(folder / "server.pem", _pem(certificate), 0o644)
    return Identity(_pem(certificate), _pem_of_key(key), (folder / "ca.pem").absolute())


def names_of_this_machine() -> tuple[str, ...]:
    """Its host name and addresses, as far as it knows them: those that callers from elsewhere are told."""
    host, found = socket.gethostname(), []
    with contextlib.suppress(OSError):
        found += [str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(host, None)]
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))  # nothing is sent
            found.append(str(probe.getsockname()[0]))
    return tuple(dict.fromkeys([*([host] if _is_name(host) else []), *found]))


def check_name(name: Any) -> str:
    """A host name, with a star for its first label perhaps, or an address. Raises UsageError."""
    if not isinstance(name, str) or not (_is_address(name) or _is_name(name)):
        raise UsageError(
            f"tls_name: {name!r} is neither a host name nor an address; give one such as emulator or 10.0.0.7"
        )
    return name


# -- how they are written


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _now() -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(Wall.now()), datetime.timezone.utc)


def _ends(certificate: Any) -> datetime.datetime:
    end: datetime.datetime | None = getattr(certificate, "not_valid_after_utc", None)
    return end or certificate.not_valid_after.replace(tzinfo=datetime.timezone.utc)  # before cryptography 42


def _new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _name(text: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "fm-emulator"), x509.NameAttribute(NameOID.COMMON_NAME, text)]
    )


def _begun(subject: Any, issuer: Any, public: Any, lasts: datetime.timedelta) -> Any:
    """Valid from a day ago, for machines whose clocks are behind."""
    from cryptography import x509

    begins = _now() - _DAY
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(begins + lasts)


def _signed(builder: Any, key: Any) -> Any:
    from cryptography.hazmat.primitives.hashes import SHA256

    return builder.sign(key, SHA256())


def _general(name: str) -> Any:
    from cryptography import x509

    return x509.IPAddress(ip_address(name)) if _is_address(name) else x509.DNSName(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_name(name: str) -> bool:
    labels = name.removeprefix("*.").split(".")
    return len(name) <= 253 and all(
        0 < len(label) < 64 and label.isascii() and label.replace("-", "").replace("_", "").isalnum()
        for label in labels
    )


def _pem(*certificates: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _pem_of_key(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


# -- files


def _certificates(path: Path, option: str) -> list[Any]:
    from cryptography import x509

    text = _read(path, option)
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError:
        raise UsageError(f"{option}: {path} holds no certificate in PEM") from None


def _private(path: Path, option: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = _read(path, option)
    try:
        key = load_pem_private_key(text, None)
    except TypeError:
        raise UsageError(f"{option}: the key in {path} has a password; give one without") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"{option}: {path} holds no private key in PEM") from None
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise UsageError(f"{option}: {path} is neither an EC key nor an RSA key, and clients of gRPC take no other")
    return key


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as failed:
        raise UsageError(f"{option}: {path} can't be read: {failed.strerror}") from None


def _look_into(folder: Path) -> None:
    try:
        (folder / "server.pem").stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as failed:
        raise UsageError(f"tls_dir: {folder} can't be looked into: {failed.strerror}; give another folder") from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failed:
        raise UsageError(f"tls_dir: {folder} can't be made: {failed.strerror}") from None


def _write(path: Path, content: bytes, mode: int, first: bool = False) -> None:
    """Write a file in one step; `first` leaves one that another has written meanwhile."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # for this user alone
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, mode)
        if first and hasattr(os, "link"):
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        else:
            os.replace(temporary, path)
    except OSError as failed:
        raise UsageError(f"tls_dir: {path} can't be written: {failed.strerror}; give a folder that can") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
