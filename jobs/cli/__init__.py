"""The command line. Each command imports its job when it is called."""
