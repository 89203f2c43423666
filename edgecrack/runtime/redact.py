"""Take passwords out of addresses before anyone sees them.

Camera addresses carry credentials; messages, logs and result files must not. When in
doubt this removes too much rather than too little.
"""

from __future__ import annotations

import re

# Greedy up to the last @: a password may itself hold @, / or ?.
_USER_INFO = re.compile(r"^(?P<scheme>[a-z][a-z0-9+.-]*://).*@", re.IGNORECASE | re.DOTALL)
# Many cheap cameras take user=...&password=... or even user=..._password=... in the path.
_SECRET_FIELD = re.compile(
    r"(?P<key>(?:user(?:name)?|login|pass(?:word|wd)?|pwd|token|auth|secret|(?:api_?)?key)=)"
    r"[^&;/#?\s]*",
    re.IGNORECASE,
)


def redact(uri: str) -> str:
    """`uri` with user, password and tokens replaced by `***`; a plain path stays as it is."""
    if "://" not in uri:
        return uri
    without_user = _USER_INFO.sub(r"\g<scheme>***@", uri)
    return _SECRET_FIELD.sub(r"\g<key>***", without_user)
