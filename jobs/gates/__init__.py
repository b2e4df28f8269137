"""`noiseloom gates` and `regate`: scores looked at, and thresholds changed afterwards."""
