"""Tables and drawings of the Compare panel."""
