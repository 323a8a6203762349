"""Texts to texts in another language: one translator a file."""
