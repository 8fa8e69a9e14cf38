"""The client of a farm for programs, public as `shotfarm.client`."""
