"""The method: network, both losses, pseudo-labels, the shape prior."""
