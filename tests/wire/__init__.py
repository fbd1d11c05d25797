"""What travels, seen by a client that knows gRPC and bytes and nothing of any SDK."""
