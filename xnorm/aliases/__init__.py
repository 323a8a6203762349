"""Further names of concepts: what a terminology lacks, and other resources or the rules of a language know."""
