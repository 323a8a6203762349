"""Stages that make a corpus fit to be judged: one file a variant."""
