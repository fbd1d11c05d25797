"""`blake2b`, from where `hashlib` has it: to import that loads OpenSSL's functions as well, half a megabyte of them."""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # a Python that has it elsewhere
    from hashlib import blake2b

__all__ = ["blake2b"]
