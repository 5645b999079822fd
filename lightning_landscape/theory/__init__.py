"""What is known exactly about glasses and random matrices: no simulation, no network."""
