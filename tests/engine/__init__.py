"""Choosing, loading and explaining, without a server."""
