"""Samples of finite networks, most of them without weights."""
