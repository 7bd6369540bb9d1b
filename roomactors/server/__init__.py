"""The network: listening, connections, frames, and the one ordered way out of each."""
