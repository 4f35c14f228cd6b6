"""Many runs of one request, and the command that starts either."""
