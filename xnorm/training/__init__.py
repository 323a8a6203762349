"""What learns from annotated mentions: one trainer a file."""
