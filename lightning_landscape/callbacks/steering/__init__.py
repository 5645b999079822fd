"""Callbacks that steer a run, instead of measuring it."""
