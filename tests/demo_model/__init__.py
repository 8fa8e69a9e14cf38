"""Training and evaluation of the demo model, whose weights ship in `gpu_node/demo_model`."""
