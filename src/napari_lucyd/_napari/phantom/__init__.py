"""The Phantom panel."""
