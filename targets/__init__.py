"""Chips: what they are, how kernels are scheduled for them, how source becomes a binary."""
