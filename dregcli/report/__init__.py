"""Tables and figures from what the store holds. It sees plain numbers and arrays."""
