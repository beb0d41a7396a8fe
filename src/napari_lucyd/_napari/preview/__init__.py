"""The live preview of what is on screen."""
