"""`noiseloom verify`: the index against the shards, and samples made again."""
