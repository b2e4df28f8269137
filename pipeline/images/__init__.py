"""Image files and their pixels: formats read and written, EXIF orientation, bits per pixel."""
