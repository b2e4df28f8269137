"""`noiseloom run`: plan, run, publish, record."""
