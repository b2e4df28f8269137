"""What the images of a source look like, so that no copy shows them again."""
