"""Writing and recovering MCAP files, on the records of the `mcap` library (the extra "record")."""

from edgecrack.extras import require

for _name in ("lz4.frame", "zstandard", "mcap.records"):
    require(_name, extra="record", purpose="a recording")
