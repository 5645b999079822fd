"""Records in, pictures and numbers out."""
