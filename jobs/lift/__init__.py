"""`noiseloom evaluate`: the lift test."""
