"""What programs import of Shotfarm: `shotfarm.client`."""
