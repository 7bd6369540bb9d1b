"""Rooms as actors: a task, a mailbox, a log and a roster each. Knows nothing of the network."""
