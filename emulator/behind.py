"""A program with the emulator behind its back: what goes into its environment, so that it needs no change.

Its proxies are ours, and the roots that it trusts are the emulator's CA, in each way that programs are told of either.
Where hosts are allowed that are not the emulator's, the roots of this machine are among them.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import ssl
import subprocess
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import UsageError
from .folders import Folder
from .proxy import Proxy, Traffic
from .sdk import FOLDER
from .server import Emulator

KEY = "test-key"
BUNDLES = (
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
)
"""What replaces the roots of gRPC, OpenSSL and Go, requests, curl, boto."""

PROXIES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
CREDENTIALS = ("YC_IAM_TOKEN", "YC_OAUTH_TOKEN")
"""What the official SDK calls with where there is no API key, which comes before them."""

DIRECT = "localhost,127.0.0.1,::1"
_PASSWORD = "changeit"
_ROOTS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


class Behind:
    """The proxy before an emulator that serves with TLS, and the files that programs are told of. `allowed` are hosts,
    or globs of them, that are let through.
    """

    def __init__(self, emulator: Emulator, allowed: Sequence[str] = ()) -> None:
        self._emulator, self._allowed = emulator, tuple(allowed)
        self._proxy = Proxy(emulator.tls_port, self._allowed)
        self._port = 0

    @property
    def traffic(self) -> Traffic:
        """What was led to the emulator, and what was refused."""
        return self._proxy.traffic

    async def start(self) -> None:
        """Listen, in the running loop. Raises UsageError where the roots of this machine are needed and not found, or
        nothing can be written.
        """
        ca = self._emulator.ca
        if ca is None:
            raise RuntimeError("the emulator does not serve with TLS, by a CA of its own; begin it with tls=True")
        own = ca.read_bytes()
        roots = own + _roots_of_this_machine() if self._allowed else own
        try:
            self._folder = Folder("exec")
        except OSError as failed:
            raise UsageError(f"exec: there is no folder to write roots to: {failed}; name one in TMPDIR") from None
        self._bundle, self._store = (self._folder.path / name for name in ("roots.pem", "roots.p12"))
        self._bundle.write_bytes(roots)
        store = _java_store(roots)
        if store is not None:
            self._store.write_bytes(store)
        self._ca = ca
        self._port = await self._proxy.start()

    async def stop(self) -> None:
        """End what goes through the proxy, and take the files away."""
        await self._proxy.stop()
        self._folder.remove()

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """The environment of a program that would have had `given`."""
        config = self._emulator.config
        proxy = f"http://127.0.0.1:{self._port}"
        result = {key: value for key, value in given.items() if key not in ("no_grpc_proxy", "SSL_CERT_DIR")}
        result |= dict.fromkeys(PROXIES, proxy) | {"no_proxy": DIRECT, "NO_PROXY": DIRECT}
        result |= dict.fromkeys(BUNDLES, str(self._bundle))
        result |= {"NODE_EXTRA_CA_CERTS": str(self._ca), "NODE_USE_ENV_PROXY": "1"}
        result["JAVA_TOOL_OPTIONS"] = f"{given.get('JAVA_TOOL_OPTIONS', '')} {self._java()}".strip()
        result["FM_EMULATOR_TARGET"] = self._emulator.target
        if config.token is not None:
            result["FM_EMULATOR_TOKEN"] = config.token
        result.setdefault("YC_FOLDER_ID", FOLDER)
        if not any(given.get(key) for key in CREDENTIALS):
            result.setdefault("YC_API_KEY", config.api_key[0] if config.api_key else KEY)
        if self._emulator.http_target is not None:
            result.setdefault("YC_METADATA_ADDR", self._emulator.http_target)
        return result

    def _java(self) -> str:
        host, direct = "127.0.0.1", "localhost|127.*|[::1]"
        options = {"https.proxyHost": host, "https.proxyPort": self._port, "http.proxyHost": host}
        options |= {"http.proxyPort": self._port, "http.nonProxyHosts": direct}
        if self._store.exists():
            options |= {"javax.net.ssl.trustStore": str(self._store), "javax.net.ssl.trustStoreType": "PKCS12"}
            options["javax.net.ssl.trustStorePassword"] = _PASSWORD
        return " ".join(shlex.quote(f"-D{name}={value}") for name, value in options.items())


class Completed(subprocess.CompletedProcess[str]):
    """A program that has ended, with its output as text; and how often each `host:port` that it asked for was taken to
    the emulator, or refused, or was taken and is no gRPC.
    """

    taken: dict[str, int]
    refused: dict[str, int]
    not_grpc: dict[str, int]


def run(
    emulator: Emulator,
    command: Sequence[str | os.PathLike[str]],
    *,
    allow: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    **more: Any,
) -> Completed:
    """Run a program to its end with this emulator behind its back, which serves in a thread of its own, with TLS.

    `allow` are hosts, or globs, that are let through; `env` is laid over the environment of this process; `more` is for
    `subprocess.run` (`cwd`, `input`, `timeout`). Raises what that raises: FileNotFoundError, TimeoutExpired.
    """
    behind = Behind(emulator, (allow,) if isinstance(allow, str) else allow)
    emulator.place.wait(behind.start(), "run")
    try:
        environment = behind.environment({**os.environ, **(env or {})})
        pipes = {} if "capture_output" in more else {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        done = subprocess.run(command, env=environment, **{**pipes, "encoding": "utf-8", **more})
    finally:
        emulator.place.wait(behind.stop(), "run")
    completed = Completed(done.args, done.returncode, done.stdout, done.stderr)
    traffic = behind.traffic
    completed.taken, completed.refused = dict(traffic.taken), dict(traffic.refused)
    completed.not_grpc = dict(traffic.not_grpc)
    return completed


def _roots_of_this_machine() -> bytes:
    """The roots that programs here trust, in PEM. Raises UsageError where there are none."""
    paths: list[str | None] = [
        ssl.get_default_verify_paths().cafile,
        *_ROOTS,
    ]  # the first is SSL_CERT_FILE, where that is set
    with contextlib.suppress(ImportError):
        import certifi

        paths.append(certifi.where())
    for path in paths:
        if path is None:
            continue
        with contextlib.suppress(OSError):
            return b"\n" + Path(path).read_bytes()
    raise UsageError(
        "allow: hosts outside are verified with the roots of this machine, and there are none; install ca-certificates "
        "or certifi, or name a file in SSL_CERT_FILE"
    )


def _java_store(roots: bytes) -> bytes | None:
    """A trust store with these roots; None where `cryptography` can't write one, before 45."""
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    if not hasattr(pkcs12, "serialize_java_truststore"):
        return None
    entries = [pkcs12.PKCS12Certificate(each, str(n).encode()) for n, each in enumerate(_each(roots))]
    return pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(_PASSWORD.encode()))


def _each(roots: bytes) -> list[Any]:
    """The certificates in a bundle; one that can't be read, as some old roots, is left out."""
    from cryptography import x509

    end, certificates = b"-----END CERTIFICATE-----", []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of serial numbers that are nobody's business here
        for text in roots.split(end)[:-1]:
            with contextlib.suppress(ValueError):
                certificates.append(x509.load_pem_x509_certificate(text + end))
    return certificates
