"""Everything that is served over HTTP, on one port: datasets' object storage. aiohttp is imported with the first
connection.
"""
