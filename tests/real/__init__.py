"""A real server in a process of its own, and clients of all kinds on real sockets."""
