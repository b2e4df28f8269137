"""A run on Ray Data: its graph and pools, and what travels between them."""
