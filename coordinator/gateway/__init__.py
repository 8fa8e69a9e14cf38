"""The gateway: all that nodes outside of the network reach, and through it nothing but their calls."""
