"""What the documentation adds to sphinx: pages from the package, code that is run, links."""
