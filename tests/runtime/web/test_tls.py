"""HTTPS: what is refused before anything starts, and what a page does with a certificate."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgecrack.commands.shared_options import serve_config
from edgecrack.errors import ConfigError
from edgecrack.runtime.web import server, uvicorn_server
from edgecrack.runtime.web.config import ServeConfig, TlsFiles
from edgecrack.runtime.web.tls import RenewableTls, server_context
from tests.runtime.web.certificates import (
    certificate,
    encrypted_pem,
    old_encrypted_pem,
    rsa_key,
    write_pair,
)
from tests.runtime.web.guarded_pages import (
    BEARER,
    KINDS,
    TOKEN,
    GuardedPage,
    guarded_page,
    reviewed_run,
)
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return write_pair(tmp_path, rsa_key(), certificate(rsa_key()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reviewed_run(tmp_path_factory.mktemp("wall"))


def run_for(request: pytest.FixtureRequest) -> Path | None:
    """Made for the review page alone."""
    return request.getfixturevalue("run") if request.param == "review" else None


@pytest.fixture(params=KINDS)
def page(request: pytest.FixtureRequest, files: TlsFiles) -> Iterator[GuardedPage]:
    config = ServeConfig(port=0, token=TOKEN, tls=files)
    with guarded_page(request.param, run_for(request), config) as page:
        yield page


def trusting(files: TlsFiles) -> ssl.SSLContext:
    """A client that trusts this certificate alone, and looks at name and time."""
    return ssl.create_default_context(cafile=files.certificate)


def test_a_program_opens_either_page(page: GuardedPage, files: TlsFiles) -> None:
    assert page.server.url == f"https://127.0.0.1:{page.server.port}/"
    with page.client(verify=trusting(files)) as http:
        assert http.get("healthz").text == "ok\n"
        assert http.get(page.secret).status_code == 401
        answer = http.post("login", data={"token": TOKEN})
        cookie = answer.headers["set-cookie"]
        # No unencrypted page of this host can set or read a cookie of this name.
        assert cookie.startswith(f"__Host-edgecrack_session_{page.server.port}=")
        assert "; Secure" in cookie
        assert http.get(page.secret).status_code == 200
        origin = {"Origin": page.server.url.replace("https", "http").rstrip("/")}
        assert http.get(page.secret, headers=origin).status_code == 403
    with pytest.raises(httpx.ConnectError), page.client() as http:
        http.get("healthz")  # who signed it is unknown here
    with page.connect() as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in raw.recv(100)  # nothing is served in the clear


@pytest.mark.parametrize(
    ("version", "is_spoken"),
    [
        (ssl.TLSVersion.TLSv1, False), (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_versions(files: TlsFiles, version: ssl.TLSVersion, is_spoken: bool) -> None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = version
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server),
        server_context(files).wrap_bio(to_server, to_client, server_side=True),
    ]
    with contextlib.nullcontext() if is_spoken else pytest.raises(ssl.SSLError):
        for _ in range(3):
            for side in sides:
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        assert sides[0].version() == version.name.replace("_", ".")


def missing(files: TlsFiles) -> None:
    files.certificate.unlink()


def a_folder(files: TlsFiles) -> None:
    files.key.unlink()
    files.key.mkdir()


def expired(files: TlsFiles) -> None:
    old = certificate(rsa_key(), timedelta(days=-9), timedelta(days=-1))
    files.certificate.write_text(old)


def of_another_key(files: TlsFiles) -> None:
    files.key.write_text(rsa_key(1).pem())


def encrypted(files: TlsFiles) -> None:
    files.key.write_text(encrypted_pem())


def encrypted_as_before(files: TlsFiles) -> None:
    files.key.write_text(old_encrypted_pem())


def der(files: TlsFiles) -> None:
    files.certificate.write_bytes(b"\x30\x82\x01\x0a\x02")


def torn(files: TlsFiles) -> None:
    files.certificate.write_text(files.certificate.read_text()[:300])


def swapped(files: TlsFiles) -> None:
    text = files.certificate.read_text()
    files.certificate.write_text(files.key.read_text())
    files.key.write_text(text)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (missing, r"the certificate .*fullchain.pem is not a file; give a file"),
        (a_folder, r"the key .*privkey.pem is not a file; give a file"),
        (expired, r"the certificate .*fullchain.pem has expired; renew it"),
        (of_another_key, r"privkey.pem does not belong to the certificate .*made together"),
        (encrypted, r"the key .*privkey.pem is encrypted; give one without a password"),
        (encrypted_as_before, r"the key .*privkey.pem is encrypted; give one without a password"),
        (der, r"the certificate .*fullchain.pem is not PEM; .*-inform der"),
        (torn, r"fullchain.pem and the key .* cannot be used: .*give a certificate and its key"),
        (swapped, r"cannot be used: .*give a certificate and its key"),
    ],
)
def test_what_cannot_be_used(
    files: TlsFiles, spoil: Callable[[TlsFiles], None], sentence: str
) -> None:
    spoil(files)
    with pytest.raises(ConfigError, match=sentence):
        serve_config("8080", None, files.certificate, files.key)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_that_this_user_may_not_read(files: TlsFiles) -> None:
    files.key.chmod(0)
    with pytest.raises(ConfigError, match=r"privkey.pem cannot be read: Permission denied"):
        server_context(files)


def test_a_key_that_the_system_does_not_give(
    files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def refuse(self: Path, *arguments: Any, **settings: Any) -> Any:
        if self == files.key:
            raise PermissionError(13, "Permission denied")
        return real(self, *arguments, **settings)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match=r"privkey.pem cannot be read: Permission denied; give"):
        server_context(files)


def test_one_without_the_other(files: TlsFiles) -> None:
    with pytest.raises(ConfigError, match="`tls_key` is not given"):
        serve_config("8080", None, files.certificate, None)
    with pytest.raises(ConfigError, match="`tls_cert` is not given"):
        serve_config("8080", None, None, files.key)
    with pytest.raises(ConfigError, match="a certificate is given without a page"):
        serve_config(None, None, files.certificate, files.key)
    both = files.certificate.with_name("both.pem")
    both.write_text(files.certificate.read_text() + files.key.read_text())
    config = serve_config("8080", None, both, both)
    assert config is not None
    assert config.tls == TlsFiles(both, both)


def test_a_robot_without_a_clock_serves_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    later = certificate(rsa_key(), timedelta(days=1), timedelta(days=2))
    RenewableTls(write_pair(tmp_path, rsa_key(), later))
    assert "is not valid yet" in caplog.text


def test_the_command_line_says_it_before_anything_starts(files: TlsFiles) -> None:
    of_another_key(files)
    done = subprocess.run(
        [
            sys.executable, "-m", "edgecrack", "stream", "--source", "/no/such/video.mp4",
            "--serve", "0", "--tls-cert", str(files.certificate), "--tls-key", str(files.key),
        ],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 2
    assert "does not belong to the certificate" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def shown_serial(page: GuardedPage, files: TlsFiles) -> int:
    """Serial number of the certificate that a new connection gets."""
    context = ssl.create_default_context(cafile=files.certificate)
    with page.connect() as raw, context.wrap_socket(raw, server_hostname="127.0.0.1") as secure:
        found = secure.getpeercert()
        assert found is not None
        return int(str(found["serialNumber"]), 16)


def test_a_renewed_certificate_is_taken_without_a_restart(
    monkeypatch: pytest.MonkeyPatch, files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "RENEW_S", 0.05)
    config = ServeConfig(port=0, token=TOKEN, tls=files)
    with guarded_page("live", None, config) as page, page.client(verify=trusting(files)) as before:
        assert before.get(page.secret, headers=BEARER).status_code == 200
        assert shown_serial(page, files) == 1
        # What cannot be used changes nothing but the log.
        good = files.certificate.read_text()
        files.certificate.write_text(certificate(rsa_key(1), serial=2))
        wait_until(lambda: "keeps its old certificate" in caplog.text)
        files.certificate.write_text(good)
        assert shown_serial(page, files) == 1
        files.certificate.write_text(certificate(rsa_key(), serial=3))

        def is_renewed() -> bool:
            with contextlib.suppress(ssl.SSLError):
                return shown_serial(page, files) == 3
            return False

        wait_until(is_renewed)
        assert before.get(page.secret, headers=BEARER).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"])
def test_five_hundred_handshakes_that_do_not_go_on(
    page: GuardedPage, files: TlsFiles, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.ExitStack() as stack, page.client(verify=trusting(files)) as operator:
        page.sign_in(operator)
        for _ in range(500):
            raw = stack.enter_context(page.connect())
            with contextlib.suppress(OSError):
                raw.sendall(sent)
        assert operator.get(page.secret).status_code == 200
        with page.client(verify=trusting(files)) as another:
            assert another.get("healthz").text == "ok\n"
            page.sign_in(another)
        assert page.server._server is not None
        connections = page.server._server.open_connections
        assert len(connections) <= connections.limits.total
    assert [each for each in caplog.records if not each.name.startswith("http")] == []


def test_a_handshake_that_does_not_go_on_is_given_up(
    monkeypatch: pytest.MonkeyPatch, files: TlsFiles
) -> None:
    monkeypatch.setattr(uvicorn_server, "_HANDSHAKE_S", 0.2)
    config = ServeConfig(port=0, token=TOKEN, tls=files)
    with guarded_page("live", None, config) as page, page.connect() as raw:
        with contextlib.suppress(ConnectionResetError):
            assert raw.recv(100) == b""
        assert page.server._server is not None
        assert len(page.server._server.open_connections) == 0


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_signs_in_and_watches(page: GuardedPage) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_context(ignore_https_errors=True).new_page()
        tab.set_default_timeout(1000 * PATIENCE_S)
        tab.goto(page.server.url)
        tab.fill("#token", TOKEN)
        tab.click("button")
        tab.wait_for_selector("h1:not(:text('edgecrack: sign in'))", state="attached")
        # Not wait_for_function: the page's policy forbids what that evaluates a second time.
        title = playwright.expect(tab)
        title.not_to_have_title("edgecrack: sign in", timeout=1000 * PATIENCE_S)
        (cookie,) = tab.context.cookies()
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
        if page.secret == "api/status":
            tab.get_by_text("test camera").first.wait_for()
        else:
            tab.locator("canvas, img").first.wait_for(state="attached")
        browser.close()


def test_ports_are_not_kept(files: TlsFiles) -> None:
    with guarded_page("live", None, ServeConfig(port=0, token=TOKEN, tls=files)) as page:
        port = page.server.port
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
        assert again.getsockname()[1] == port
