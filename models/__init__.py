"""The training stage: networks, their training, and the dump of what they represent."""
