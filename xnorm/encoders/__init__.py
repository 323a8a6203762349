"""Text to vectors: one encoder a file."""
