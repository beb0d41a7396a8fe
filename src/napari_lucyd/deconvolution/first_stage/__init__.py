"""First stage of a network that is told the blur: Richardson-Lucy, whose estimate is the network's input."""
