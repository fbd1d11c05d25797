"""Certificates: what is made and kept, what is taken as it is given, and what is said of files that won't do."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from emulator import Emulator, tls
from emulator.api import ListApiEndpointsRequest, ListApiEndpointsResponse
from emulator.clock import Wall
from emulator.config import from_values
from emulator.errors import UsageError

if TYPE_CHECKING:
    from conftest import Serve

DAY = 86_400
HOSTS = ("localhost", "127.0.0.1", "::1", "api.cloud.yandex.net", "llm.api.cloud.yandex.net", "storage.yandexcloud.net")


def names_on(identity: tls.Identity) -> set[str]:
    certificate = x509.load_pem_x509_certificate(identity.certificate)
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return {str(name.value) for name in extension.value}


def listed(port: int, ca: Path, host: str = "localhost", **options: Any) -> set[str]:
    """The addresses that discovery tells a client which trusts `ca`."""
    given = [("grpc.use_local_subchannel_pool", 1), *((f"grpc.{k}", v) for k, v in options.items())]
    with grpc.secure_channel(f"{host}:{port}", grpc.ssl_channel_credentials(ca.read_bytes()), given) as channel:
        ask: Any = channel.unary_unary("/yandex.cloud.endpoint.ApiEndpointService/List", None, None)
        raw = ask(ListApiEndpointsRequest().SerializeToString(), timeout=10)
    return {endpoint.address for endpoint in ListApiEndpointsResponse.FromString(raw).endpoints}


# -- what is made


def test_what_is_made_lies_in_the_folder_and_keys_are_for_this_user_alone(tmp_path: Path) -> None:
    identity = tls.own(tmp_path / "new" / "folder")
    assert identity.ca == tmp_path / "new" / "folder" / "ca.pem"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new" / "folder").iterdir()}
    assert modes == {"ca.pem": 0o644, "ca.key": 0o600, "server.pem": 0o644, "server.key": 0o600}


def test_the_same_folder_gives_the_same_identity(tmp_path: Path) -> None:
    assert tls.own(tmp_path) == tls.own(tmp_path)


def test_a_further_name_is_issued_by_the_ca_that_is_there(tmp_path: Path) -> None:
    first = tls.own(tmp_path)
    ca = (tmp_path / "ca.pem").read_bytes()
    second = tls.own(tmp_path, ["emulator", "10.0.0.7"])
    assert names_on(second) - names_on(first) == {"emulator", "10.0.0.7"}
    assert (tmp_path / "ca.pem").read_bytes() == ca
    assert tls.own(tmp_path) == second, "one that is for more will do"


@pytest.mark.parametrize(("days", "renewed"), [(300, False), (380, True), (1000, True)])
def test_what_soon_expires_is_issued_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, renewed: bool
) -> None:
    first, now = tls.own(tmp_path), Wall.now()
    monkeypatch.setattr(Wall, "now", lambda: now + days * DAY)
    second = tls.own(tmp_path)
    assert (second != first) is renewed
    assert second.ca == first.ca


def test_no_client_finds_it_too_long_or_not_begun(tmp_path: Path) -> None:
    certificate = x509.load_pem_x509_certificate(tls.own(tmp_path).certificate)
    begins = certificate.not_valid_before_utc.timestamp()
    assert certificate.not_valid_after_utc.timestamp() - begins < 398 * DAY
    assert Wall.now() - 2 * DAY < begins < Wall.now() - DAY / 2


def test_many_who_begin_at_once_share_one_ca(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        identities = list(pool.map(lambda _: tls.own(tmp_path), range(8)))
    ca = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    for identity in identities:
        x509.load_pem_x509_certificate(identity.certificate).verify_directly_issued_by(ca)
    assert not list(tmp_path.glob(".new-*"))


@pytest.mark.parametrize("host", HOSTS)
def test_strict_clients_take_it_for_each_host(serve: Serve, host: str) -> None:
    emulator = serve(tls=True)
    context = ssl.create_default_context(cafile=str(emulator.ca))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", emulator.tls_port)) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        assert secured.version() == "TLSv1.3"


@pytest.mark.parametrize("host", ["example.org", "a.b.api.cloud.yandex.net", "cloud.yandex.net"])
def test_for_other_hosts_it_is_no_certificate(serve: Serve, host: str) -> None:
    emulator = serve(tls=True)
    context = ssl.create_default_context(cafile=str(emulator.ca))
    with (
        socket.create_connection(("127.0.0.1", emulator.tls_port)) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname=host)


def test_a_folder_that_can_only_be_read_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tls.own(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    second = tls.own(tmp_path, also=["172.17.0.2"])
    assert names_on(second) - names_on(first) == {"172.17.0.2"}
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("options", [{}, {"tls_dir": "tls"}])
def test_where_nothing_can_be_written_it_says_so(
    options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(UsageError, match=r"^tls(_dir)?: .*Read-only file system; give"):
        Emulator(tls=True, **options).__enter__()


def refuse(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


# -- a folder without the CA's key, as it is mounted for many


def test_without_the_key_of_the_ca_what_is_there_is_shown(tmp_path: Path) -> None:
    first = tls.own(tmp_path)
    (tmp_path / "ca.key").unlink()
    assert tls.own(tmp_path, also=["172.17.0.2"]) == first


def ed25519() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


Spoil = Callable[[Path], object]
SPOILT: dict[str, tuple[Spoil, str]] = {
    "no server.pem": (
        lambda d: [(d / name).unlink() for name in ("ca.key", "server.pem")],
        "server.pem in {d} is missing, and there is no ca.key to issue one with",
    ),
    "another CA's": (
        lambda d: [(d / "ca.key").unlink(), (d / "ca.pem").write_bytes(tls.own(d / "b").ca.read_bytes())],  # type: ignore[union-attr]
        "server.pem in {d} lacks a name, has expired or does not go with its key and ca.pem, and there is no ca.key",
    ),
    "another key": (
        lambda d: (d / "ca.key").write_bytes((d / "server.key").read_bytes()),
        "{d}/ca.key is not the key of ca.pem; remove both to have them made anew",
    ),
    "a key of another kind": (
        lambda d: (d / "ca.key").write_bytes(ed25519()),
        "{d}/ca.key is neither an EC key nor an RSA key, and clients of gRPC take no other",
    ),
    "no certificate": (lambda d: (d / "ca.pem").write_text("?"), "{d}/ca.pem holds no certificate in PEM"),
    "no key": (lambda d: (d / "server.key").write_text("?"), "{d}/server.key holds no private key in PEM"),
    "a folder": (lambda d: [(d / "ca.pem").unlink(), (d / "ca.pem").mkdir()], "{d}/ca.pem can't be read"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_folder_that_will_not_do_is_told_in_a_sentence(tmp_path: Path, case: str) -> None:
    spoil, told = SPOILT[case]
    tls.own(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UsageError) as refused:
        Emulator(tls=True, tls_dir=tmp_path).__enter__()
    assert str(refused.value).startswith("tls_dir: " + told.format(d=tmp_path))


def test_a_folder_that_can_not_be_made_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"tls_dir: .*/file/tls can't be made: Not a directory"):
        tls.own(tmp_path / "file" / "tls")


def test_a_folder_that_can_not_be_looked_into_is_told_in_a_sentence() -> None:
    with pytest.raises(UsageError, match=r"tls_dir: /a+ can't be looked into: File name too long; give another folder"):
        tls.own(Path("/" + "a" * 300))


def test_without_cryptography_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UsageError) as refused:
        Emulator(tls=True).__enter__()
    assert str(refused.value) == "tls: certificates need cryptography: pip install 'fm-emulator[tls]'"


# -- files that are given


def test_a_given_certificate_is_shown(serve: Serve, tmp_path: Path) -> None:
    tls.own(tmp_path)
    emulator = serve(tls=True, tls_cert=tmp_path / "server.pem", tls_key=tmp_path / "server.key")
    assert listed(emulator.tls_port, tmp_path / "ca.pem") == {f"localhost:{emulator.tls_port}"}
    assert emulator.ca is None, "its CA is not among what was given"


def test_a_given_certificate_that_signs_itself_is_what_clients_trust(tmp_path: Path) -> None:
    tls.own(tmp_path)
    chain = tmp_path / "chain.pem"
    chain.write_bytes((tmp_path / "server.pem").read_bytes() + (tmp_path / "ca.pem").read_bytes())
    assert tls.given(str(chain), str(tmp_path / "server.key")).ca == chain


def test_given_files_that_will_not_do_are_told_in_a_sentence(tmp_path: Path) -> None:
    identity = tls.own(tmp_path)
    certificate, key, locked = (str(tmp_path / name) for name in ("server.pem", "ca.key", "locked.key"))
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    secret = load_pem_private_key(identity.key, None)
    Path(locked).write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"1")))
    for cert, private, told in [
        (certificate, key, f"tls_key: {key} is not the key of {certificate}; give the two that were made together"),
        (certificate, locked, f"tls_key: the key in {locked} has a password; give one without"),
        (certificate, "no.key", "tls_key: no.key can't be read: No such file or directory"),
        (key.replace("ca.key", "server.key"), key, "tls_cert: "),
    ]:
        with pytest.raises(UsageError) as refused:
            tls.given(cert, private)
        assert str(refused.value).startswith(told)


def test_a_given_certificate_that_has_expired_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls.own(tmp_path)
    later = Wall.now() + 400 * DAY
    monkeypatch.setattr(Wall, "now", lambda: later)
    with pytest.raises(UsageError, match=r"tls_cert: .*server.pem expired on 20\d\d-\d\d-\d\d; have it issued anew"):
        tls.given(str(tmp_path / "server.pem"), str(tmp_path / "server.key"))


# -- options


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tls_port": 0}, "tls_port: it is about TLS, which is off; turn it on with tls"),
        ({"tls_name": "a"}, "tls_name: it is about TLS"),
        ({"tls": True, "tls_cert": "a.pem"}, "tls_cert: it needs tls_key as well"),
        ({"tls": True, "tls_key": "a.key"}, "tls_key: it needs tls_cert as well"),
        (
            {"tls": True, "tls_cert": "a", "tls_key": "b", "tls_dir": "c"},
            "tls_dir: it is for certificates that are made",
        ),
        ({"tls": True, "tls_name": ["a b"]}, "tls_name: 'a b' is neither a host name nor an address"),
        ({"tls": True, "tls_name": ["эмулятор"]}, "tls_name: 'эмулятор' is neither"),
        ({"tls": True, "tls_port": 65536}, "tls_port: 65536 is not a port"),
        ({"tls": True, "advertise_tls": "a"}, "advertise_tls: 'a' is not HOST:PORT, e.g. emulator:50053"),
    ],
)
def test_options_that_can_not_be_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as refused:
        from_values(options)
    assert str(refused.value).startswith(told)


@pytest.mark.parametrize("option", ["advertise", "advertise_tls"])
def test_the_certificate_is_for_what_is_advertised(serve: Serve, option: str) -> None:
    emulator = serve(tls=True, tls_name=["further"], **{option: "emulator.test:4443"})
    told = {"advertise": f"emulator.test:{emulator.tls_port}", "advertise_tls": "emulator.test:4443"}[option]
    assert emulator.ca is not None
    for name in ("emulator.test", "further"):
        assert listed(emulator.tls_port, emulator.ca, ssl_target_name_override=name) == {told}


def test_from_elsewhere_it_is_for_the_address_that_is_told(serve: Serve) -> None:
    names = [name for name in tls.names_of_this_machine() if not name.startswith(("127.", "::1"))]
    addresses = [name for name in names if name.replace(".", "").isdecimal()]
    if not addresses:
        pytest.skip("this machine has no address beside the loopback")
    emulator = serve(tls=True, host="0.0.0.0")
    assert emulator.ca is not None
    told = listed(emulator.tls_port, emulator.ca, addresses[0])
    assert told == {f"{addresses[0]}:{emulator.tls_port}"}
    assert listed(emulator.tls_port, emulator.ca) == {f"localhost:{emulator.tls_port}"}


# -- listening


def test_a_tls_port_that_is_taken_is_told_and_nothing_stays(serve: Serve) -> None:
    first = serve(tls=True)
    second = Emulator(tls=True, tls_port=first.tls_port)
    with pytest.raises(
        UsageError, match=f"port {first.tls_port} on 127.0.0.1 is taken; .* give --tls-port 0 for a free"
    ):
        second.__enter__()
    assert second.ca is None
    assert second.tls_port == second.port == 0


def test_a_folder_of_its_own_goes_with_it() -> None:
    with Emulator(tls=True) as emulator:
        ca = emulator.ca
        assert ca is not None
        assert ca.exists()
    assert not ca.parent.exists()
    assert emulator.ca is None


def test_without_tls_there_is_none(serve: Serve) -> None:
    emulator = serve()
    assert (emulator.tls_target, emulator.ca, emulator.tls_port) == (None, None, 0)


def test_it_stays_when_the_emulator_begins_again(serve: Serve) -> None:
    emulator = serve(tls=True)
    emulator.renew(from_values({"seed": 2}))
    assert emulator.ca is not None
    assert listed(emulator.tls_port, emulator.ca) == {f"localhost:{emulator.tls_port}"}


def test_who_trusts_another_ca_is_not_served(serve: Serve, tmp_path: Path) -> None:
    emulator = serve(tls=True)
    with pytest.raises(grpc.RpcError) as refused:
        listed(emulator.tls_port, tls.own(tmp_path).ca)  # type: ignore[arg-type]
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]


def test_plaintext_is_not_taken_for_tls(serve: Serve) -> None:
    emulator = serve(tls=True)
    with socket.create_connection(("127.0.0.1", emulator.tls_port)) as plain:
        plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        plain.settimeout(10)
        assert plain.recv(100)[:1] in (b"\x15", b""), "an alert, or the end"
    assert emulator.ca is not None
    assert listed(emulator.tls_port, emulator.ca)
