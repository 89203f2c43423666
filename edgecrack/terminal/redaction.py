"""Removes passwords from addresses before they appear in messages, logs or result files.

When in doubt, it removes too much rather than too little.
"""

from __future__ import annotations

import re

# Greedy up to the last @: a password may contain @, / or ?.
_USER_INFO = re.compile(r"^(?P<scheme>[a-z][a-z0-9+.-]*://).*@", re.IGNORECASE | re.DOTALL)
# Many cheap cameras use user=...&password=... or even user=..._password=... in the path.
_SECRET_FIELD = re.compile(
    r"(?P<key>(?:user(?:name)?|login|pass(?:word|wd)?|pwd|token|auth|secret|(?:api_?)?key)=)"
    r"[^&;/#?\s]*",
    re.IGNORECASE,
)


# Without // or a scheme: a mistyped address that still contains a password.
_BARE_USER_INFO = re.compile(
    r"^(?P<scheme>(?:[a-z][a-z0-9+.-]*:/?)?)[^/:@\s]+:[^/@\s]+@", re.IGNORECASE
)
# Cameras have dozens of names for a password (pas, psw, loginpas, sig), so this lists harmless
# names instead.
_QUERY_VALUE = re.compile(r"(?P<key>[^?&;=#\s]+)=(?P<value>[^&;#\s]*)")
_HARMLESS = frozenset(
    """action camera cam channel codec fps frames height live profile quality rate res resolution
    seed size stream streamtype subtype topic transport type unicast
    width w h x y""".split()  # noqa: SIM905
)


def redact(uri: str) -> str:
    """The address with user, password and tokens replaced by `***`; a plain path is unchanged.

    Only query values with known harmless names are kept.
    """
    if "://" not in uri:
        return _BARE_USER_INFO.sub(r"\g<scheme>***@", uri)
    without_user = _USER_INFO.sub(r"\g<scheme>***@", uri)
    address, mark, query = without_user.partition("?")
    query = _QUERY_VALUE.sub(_harmless, query)
    return _SECRET_FIELD.sub(r"\g<key>***", address) + mark + query


def _harmless(field: re.Match[str]) -> str:
    key = field["key"]
    return field[0] if key.lower() in _HARMLESS else f"{key}=***"
