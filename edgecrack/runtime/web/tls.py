"""Certificate and key of an HTTPS page, checked before the server starts.

Uses the standard library only: what `ssl` does not report about a certificate, such as whether it
has expired, comes from a handshake in memory.
"""

from __future__ import annotations

import logging
import ssl
import stat
from pathlib import Path

from edgecrack.errors import ConfigError
from edgecrack.runtime.web.config import TlsFiles

_LOG = logging.getLogger("edgecrack")

_EXPIRED, _NOT_YET_VALID = 10, 9  # OpenSSL's X509_V_ERR_CERT_*
_LARGEST_BYTES = 1 << 20
_PEM = "-----BEGIN "


class RenewableTls:
    """The TLS context for new connections; reloaded when the files change.

    Args:
        files: certificate and key.

    Raises:
        ConfigError: they cannot be used.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._context = server_context(files)
        self._used = self._seen = files.state()
        if is_not_yet_valid(files, self._context):
            _LOG.warning(
                "by this machine's clock the certificate %s is not valid yet", files.certificate
            )

    def context(self) -> ssl.SSLContext:
        """The context for a new connection."""
        return self._context

    def renew(self) -> None:
        """Check for new files; call it periodically from a thread that may wait for a disk.

        Certificate and key are replaced one after the other, so new files are loaded only once
        two calls found them unchanged. Unusable files are logged, and the old ones stay.
        """
        try:
            state = self._files.state()
        except OSError:
            return  # the old file is gone and the new one is not there yet
        settled, self._seen = state == self._seen, state
        if state == self._used or not settled:
            return
        self._used = state
        try:
            self._context = server_context(self._files)
        except ConfigError as error:
            _LOG.warning("the page keeps its old certificate: %s", error)
        else:
            _LOG.info("the page has a new certificate from %s", self._files.certificate)


class _PasswordWantedError(Exception):
    """The key is encrypted."""


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """What a server needs for TLS 1.2 and later.

    Args:
        files: certificate and key.

    Raises:
        ConfigError: a file is missing, unreadable or not PEM, the key is encrypted or another
            certificate's, or the certificate has expired.
    """
    for path, what in ((files.certificate, "certificate"), (files.key, "key")):
        _check_file(path, what)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.certificate, files.key, _no_password)
    except _PasswordWantedError:
        raise ConfigError(
            f"the key {files.key} is encrypted",
            "give one without a password, which only the service's user may read: "
            f"openssl pkey -in {files.key} -out FILE",
        ) from None
    except (ssl.SSLError, ValueError) as error:
        raise _misfit(files, error) from error
    _check_by_handshake(files, context)
    return context


def is_not_yet_valid(files: TlsFiles, context: ssl.SSLContext) -> bool:
    """Whether this machine's clock is before the certificate's first day.

    Not an error: a robot without a battery-backed clock boots in the past.
    """
    return _verify_code(files, context) == _NOT_YET_VALID


def is_open_to_others(path: Path) -> bool:
    """Whether every user of this machine may read a file that holds a secret."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _no_password() -> str:
    raise _PasswordWantedError


def _check_file(path: Path, what: str) -> None:
    try:
        if not path.is_file():
            raise ConfigError(f"the {what} {path} is not a file", f"give a file with the {what}")
        with path.open("rb") as opened:
            content = opened.read(_LARGEST_BYTES)
    except OSError as error:
        raise ConfigError(
            f"the {what} {path} cannot be read: {error.strerror or error}",
            "give a file that this user may read",
        ) from error
    if _PEM.encode() not in content:
        raise ConfigError(
            f"the {what} {path} is not PEM",
            "give one that begins with -----BEGIN; openssl x509 and openssl pkey make it of a DER "
            "file, with -inform der",
        )


def _misfit(files: TlsFiles, error: Exception) -> ConfigError:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return ConfigError(
            f"the key {files.key} does not belong to the certificate {files.certificate}",
            "give the two files that were made together, the machine's own certificate first",
        )
    reason = getattr(error, "reason", None) or error
    return ConfigError(
        f"the certificate {files.certificate} and the key {files.key} cannot be used: {reason}",
        "give a certificate and its key, both as PEM",
    )


def _check_by_handshake(files: TlsFiles, context: ssl.SSLContext) -> None:
    try:
        code = _verify_code(files, context)
    except ssl.SSLError as error:
        raise _misfit(files, error) from error
    if code == _EXPIRED:
        raise ConfigError(
            f"the certificate {files.certificate} has expired",
            "renew it; if it is new, this machine's clock is wrong",
        )


def _verify_code(files: TlsFiles, context: ssl.SSLContext) -> int:
    """The verification error of a client that trusts only these certificates; 0 for none.

    Raises:
        ssl.SSLError: the handshake failed for another reason, such as a key that is too short.
    """
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.load_verify_locations(files.certificate)
    # The machine's own certificate is enough; its issuer may be unknown here.
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(4):
            done = [_go_on(each) for each in (client, server)]
            if all(done):
                return 0
    except ssl.SSLCertVerificationError as error:
        return error.verify_code
    return 0


def _go_on(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
