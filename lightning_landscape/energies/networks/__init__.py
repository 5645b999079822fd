"""Networks with a replica axis, and their losses."""
