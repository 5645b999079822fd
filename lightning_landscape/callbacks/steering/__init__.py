"""Callbacks that steer: they change the trajectory or end the run."""
