"""What features explain of activations: designs, fits of all features at once, shares."""
