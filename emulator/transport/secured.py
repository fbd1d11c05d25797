"""TLS beside plaintext: which certificate is shown, in whose folder it lies, and on which port."""

from __future__ import annotations

import contextlib
from pathlib import Path

from .. import tls
from ..addresses import check_free, on_every_loopback
from ..config import Config
from ..errors import UsageError
from ..folders import Folder
from .engines import Server


class Secured:
    """The certificate that a `Config` asks for. Raises UsageError where it can't be had."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._folder: Folder | None = None
        if config.tls_cert is not None and config.tls_key is not None:
            self.identity = tls.given(config.tls_cert, config.tls_key)
            return
        folder = config.tls_dir
        if folder is None:
            tls.check_available()
            try:
                self._folder = Folder("tls")
            except OSError as failed:
                raise UsageError(f"tls: there is no folder to write certificates to: {failed}; give tls_dir") from None
            folder = str(self._folder.path)
        try:
            self.identity = tls.own(Path(folder), _names(config), _more_names(config))
        except BaseException:
            self.close()
            raise

    def bind(self, server: Server) -> int:
        """Listen; the port. Unless one is given it is 50053 if that is free. Raises UsageError if it is taken."""
        config, port = self._config, self._config.tls_port
        if port is None and config.port:
            with contextlib.suppress(UsageError):
                on_every_loopback(_free, config.host, tls.DEFAULT_PORT)
                return server.bind_tls(config.host, tls.DEFAULT_PORT, self.identity)
        return server.bind_tls(config.host, port or 0, self.identity)

    def close(self) -> None:
        """Take the folder away, if it is its own."""
        if self._folder is not None:
            self._folder.remove()


def _names(config: Config) -> tuple[str, ...]:
    """What the operator has named."""
    told = (address for address in (config.advertise, config.advertise_tls) if address is not None)
    return (*(address.rpartition(":")[0].strip("[]") for address in told), *config.tls_name)


def _more_names(config: Config) -> tuple[str, ...]:
    """What discovery tells callers from elsewhere, and may be another each time the machine starts."""
    if config.loopback_only:
        return ()
    host = config.host.strip("[]")
    return tls.names_of_this_machine() if host in ("0.0.0.0", "::") else (host, *tls.names_of_this_machine())


def _free(host: str, port: int) -> int:
    check_free(host, port)
    return port
