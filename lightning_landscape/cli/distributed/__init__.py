"""One run in several processes: one folder for all, and the end of all when one is lost."""
