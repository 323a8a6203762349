"""Who orders candidates: one reranker a file."""
