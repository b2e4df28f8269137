"""The library: everything between source shards and output shards. Only `flow.py` imports ray."""
