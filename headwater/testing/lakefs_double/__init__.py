"""A lakeFS server for tests: real HTTP on loopback, REST subset and S3 gateway, lakeFS's semantics, faults on demand.

    with LakeFSDouble() as server:
        lake = LakeFSLake.open(LakeFSSettings(endpoint=server.endpoint, access_key=server.access_key, ...))
        server.faults.add(Fault(method="POST", path="/merge/", drop=Drop.AFTER))

It imports no test framework, so anyone can use it. What it speaks and what it leaves out: docs/adr/0003-lakefs.md.
"""

from headwater.testing.lakefs_double._faults import Drop, Fault, Faults
from headwater.testing.lakefs_double._server import ACCESS_KEY, SECRET_KEY, LakeFSDouble, Served
from headwater.testing.lakefs_double._store import Store

__all__ = ["ACCESS_KEY", "SECRET_KEY", "Drop", "Fault", "Faults", "LakeFSDouble", "Served", "Store"]
