"""What a farm hands to machines that join it: a script, its twin for Windows, and the program of a node."""
