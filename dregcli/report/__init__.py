"""Tables and figures of stored runs. This package sees plain numbers and arrays only."""
