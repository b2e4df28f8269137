"""Source shards: which there are, what is in them, and their samples in chunks."""
