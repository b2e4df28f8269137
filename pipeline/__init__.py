"""The library: everything between source shards and output shards. Only `flow*.py` import ray."""
