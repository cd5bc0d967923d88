"""What all servers here share: sockets, bodies, images that strangers send, and refusals."""
