"""HTTP/2 (RFC 9113) as gRPC's servers need it, in Python alone, on asyncio's protocols and transports.

`frames` has what travels, `huffman` and `hpack` how header fields are compressed (RFC 7541), `request` what a request's
header says, `stream` a call's messages in both directions, `sending` what goes out on a connection, in which turn, and
`connection` everything else that happens on it.
"""
