"""The library: all between source and output shards. Only `flow/` and `metering.py` import ray."""
