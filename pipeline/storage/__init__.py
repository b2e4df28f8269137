"""Where bytes are: folders and object stores, their errors, and trying again."""
