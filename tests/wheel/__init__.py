"""The wheel, as those get it who install it."""
