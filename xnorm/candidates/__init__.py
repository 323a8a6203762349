"""Who proposes concepts: one candidate generator a file."""
