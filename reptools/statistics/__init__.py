"""What metrics are computed from: folds, designs, cross-products, distances."""
