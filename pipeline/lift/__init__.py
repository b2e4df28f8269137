"""The lift test: whether augmentation helps, by the same student trained under several arms."""
