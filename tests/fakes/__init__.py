"""Services the project talks to, as real servers on loopback that speak the real wire formats."""
