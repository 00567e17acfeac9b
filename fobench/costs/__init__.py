"""What units and runs cost, counted in FLOPs and measured; what a method should save."""
