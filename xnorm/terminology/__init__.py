"""Where concepts come from: one parser a file format."""
