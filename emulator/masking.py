"""What of a secret may be seen: in logs, in the journal, in the account of a choice."""

from __future__ import annotations

SCHEMES = ("bearer", "api-key", "basic")
SECRETS = frozenset(
    {
        "api-key",
        "authorization",
        "authorization-bin",
        "cookie",
        "proxy-authorization",
        "x-access-token",
        "x-api-key",
        "x-auth-token",
        "x-emulator-token",
        "x-yacloud-subjecttoken",
    }
)
"""Keys of metadata that hold credentials: those of the API, of the emulator, and what programs send along."""


SIGNATURE = "X-Amz-Signature"
"""What signs a presigned URL, in its query: who has it may do what the URL is for."""


def mask_signature(text: str) -> str:
    """`text` with the signature of a presigned URL masked, if it is one."""
    before, name, rest = text.partition(f"{SIGNATURE}=")
    signature, more, after = rest.partition("&")
    return f"{before}{name}{mask(signature)}{more}{after}" if name else text


def mask(value: str | bytes) -> str:
    """A credential, masked: a known scheme stays, of the secret the first four characters and `****`."""
    text = value if isinstance(value, str) else value.decode("latin-1")
    scheme, gap, secret = text.partition(" ")
    if scheme.lower() not in SCHEMES:
        scheme, gap, secret = "", "", text
    return f"{scheme}{gap}{secret[:4] if len(secret) > 8 else ''}****"
