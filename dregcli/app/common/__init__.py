"""What every use case needs: places, progress, interrupts, running out of memory."""
