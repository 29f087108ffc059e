"""Domain shift and what to do about it: measure it, weight it away, estimate new class shares, align two domains."""
