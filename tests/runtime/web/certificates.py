"""Self-signed certificates for the tests of HTTPS, made when they are needed.

A certificate that lies in the repository expires one day, and the standard library makes none. RSA
needs no more than whole numbers. Not for anything but tests: the keys are known to everybody.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
import textwrap
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edgecrack.runtime.web.config import TlsFiles

_EXPONENT = 65537


@dataclass(frozen=True)
class RsaKey:
    """An RSA key of 2048 bits."""

    p: int
    q: int

    @property
    def modulus(self) -> int:
        return self.p * self.q

    @property
    def private(self) -> int:
        return pow(_EXPONENT, -1, (self.p - 1) * (self.q - 1))

    def sign(self, data: bytes) -> bytes:
        """PKCS #1 v1.5 with SHA-256."""
        digest = sequence(sequence(oid("2.16.840.1.101.3.4.2.1"), NULL), tagged(0x04, sha256(data)))
        padded = b"\x00\x01" + b"\xff" * (256 - 3 - len(digest)) + b"\x00" + digest
        return pow(int.from_bytes(padded, "big"), self.private, self.modulus).to_bytes(256, "big")

    def pem(self) -> str:
        p, q, private = self.p, self.q, self.private
        numbers = (
            0, self.modulus, _EXPONENT, private, p, q,
            private % (p - 1), private % (q - 1), pow(q, -1, p),
        )  # fmt: skip
        return pem("RSA PRIVATE KEY", sequence(*map(integer, numbers)))


# No secrets: made for these tests, so that none has to look for primes.
_KEYS = (
    RsaKey(
        int(
            "e565efe323dd94c800742d0214eeeea511ad4899b39c3944197ab6d7396a258a48e3b55c618566ba10a0a9"
            "7bb3fb25b7038e18d4470b61ab841ce4a3a5de82414e3d1ab729ebd3b755ade43d9c19248c438da55c4b15"
            "608c80dd24a3758a2235867b9e1fcb92458fdafb5bfa504233aa4d104356f39575c3ad1261ef6b591b7f",
            16,
        ),
        int(
            "e295ba259352490ae8b63763bd2475019df24856e5a30869c13352793f0a06f40b4cb74b4bbd8414babb2b"
            "fc46043213ce2e19d18ad909d5a0742486b4e1851830039a6d5a74cfe5b5a7aaee1fd82d21080e7ee861a8"
            "ee7c73e4d3bc6a63687fe4ad3b24b90d206424c19fe39887915fa0d337d0860b0ccbb5f65065ac5466cf",
            16,
        ),
    ),
    RsaKey(
        int(
            "d23575bf327bb1fd99338e9296c43c3c7dfde5ee569e99a86f9b5ad5e103a32a71916e4d729f5caad406eb"
            "f8be4e92ef39f1ff5cbff7b39df337fac6fecf9569edaf679f9d542d69c8d73edb6bac3b277dc7f3dc66e9"
            "0be0c6d85b7120c441c901a6108b1baffe52b13afb41cfc1af7ba3a54e253659fba1263054c5bf8436c1",
            16,
        ),
        int(
            "c9c71ab3e2da6ea4598bca007ba81436a104ed6cc96c8ca9b023ea2170bddaeb2e32e42e5795c0cb25adf3"
            "cfc5f8e5057a4f3068ba476dad2f63eb4e7bd2fdc7714be63c33301ec86fb6f65f950f5cd8a05d9921f8bc"
            "33e81523364b52f8bed41064175d8fba41b79397ef02523c650b7f9df26c8fe1df906368cae7f395d229",
            16,
        ),
    ),
)


def rsa_key(number: int = 0) -> RsaKey:
    """The first or the second key."""
    return _KEYS[number]


def certificate(
    key: RsaKey,
    starts: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=1),
    serial: int = 1,
) -> str:
    """A self-signed certificate for localhost and the loopback as PEM.

    Args:
        key: whose.
        starts: when its time begins, from now.
        ends: when it ends.
        serial: tells one from another.
    """
    now = datetime.now(timezone.utc)
    name = sequence(tagged(0x31, sequence(oid("2.5.4.3"), tagged(0x0C, b"edgecrack test"))))
    signed_by = sequence(oid("1.2.840.113549.1.1.11"), NULL)
    public = sequence(
        sequence(oid("1.2.840.113549.1.1.1"), NULL),
        tagged(0x03, b"\x00" + sequence(integer(key.modulus), integer(_EXPONENT))),
    )
    names = sequence(
        tagged(0x82, b"localhost"), tagged(0x87, ipaddress.ip_address("127.0.0.1").packed)
    )
    of_authority = sequence(oid("2.5.29.19"), tagged(0x04, sequence(tagged(0x01, b"\xff"))))
    extensions = sequence(of_authority, sequence(oid("2.5.29.17"), tagged(0x04, names)))
    body = sequence(
        tagged(0xA0, integer(2)), integer(serial), signed_by, name,
        sequence(_time(now + starts), _time(now + ends)), name, public, tagged(0xA3, extensions),
    )  # fmt: skip
    return pem("CERTIFICATE", sequence(body, signed_by, tagged(0x03, b"\x00" + key.sign(body))))


def encrypted_pem() -> str:
    """A key that asks for a password before anything else, as OpenSSL writes it; PKCS #8."""
    derivation = sequence(
        oid("1.2.840.113549.1.5.12"),
        sequence(
            tagged(0x04, b"saltsalt"), integer(2048), sequence(oid("1.2.840.113549.2.9"), NULL)
        ),
    )
    cipher = sequence(oid("2.16.840.1.101.3.4.1.42"), tagged(0x04, bytes(16)))
    scheme = sequence(oid("1.2.840.113549.1.5.13"), sequence(derivation, cipher))
    return pem("ENCRYPTED PRIVATE KEY", sequence(scheme, tagged(0x04, secrets.token_bytes(1232))))


def old_encrypted_pem() -> str:
    """The same in OpenSSL's older form."""
    head = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
    body = _lines(secrets.token_bytes(1200))
    return f"{head}DEK-Info: AES-256-CBC,{'0F' * 16}\n\n{body}\n-----END RSA PRIVATE KEY-----\n"


def write_pair(folder: Path, key: RsaKey, pem_text: str) -> TlsFiles:
    """Certificate and key as files."""
    files = TlsFiles(folder / "fullchain.pem", folder / "privkey.pem")
    files.certificate.write_text(pem_text)
    files.key.write_text(key.pem())
    files.key.chmod(0o600)
    return files


def pem(label: str, content: bytes) -> str:
    return f"-----BEGIN {label}-----\n{_lines(content)}\n-----END {label}-----\n"


def _lines(content: bytes) -> str:
    return "\n".join(textwrap.wrap(base64.b64encode(content).decode(), 64))


def tagged(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big") + content


def sequence(*parts: bytes) -> bytes:
    return tagged(0x30, b"".join(parts))


def integer(value: int) -> bytes:
    return tagged(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(text: str) -> bytes:
    first, second, *rest = map(int, text.split("."))
    content = bytearray([40 * first + second])
    for value in rest:
        groups = [value & 0x7F]
        while value := value >> 7:
            groups.append(0x80 | value & 0x7F)
        content += bytes(reversed(groups))
    return tagged(0x06, bytes(content))


NULL = tagged(0x05, b"")


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _time(when: datetime) -> bytes:
    return tagged(0x18, when.strftime("%Y%m%d%H%M%SZ").encode())
