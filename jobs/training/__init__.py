"""`noiseloom train` and `quality`: models made, and what they are worth."""
