"""What a distortion does to each class, told before any long training by small networks that never saw it."""
