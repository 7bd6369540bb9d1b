"""What the wire says: values to bytes and back. No trio and no sockets here."""
