"""Where mentions come from: one reader a file format."""
